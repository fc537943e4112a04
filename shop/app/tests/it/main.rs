//! Hosts of the shop over real sockets, and what a host gives its services.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod peers;
mod subscriptions;
mod trust;
