//! What a host gives its services, seen from outside.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod subscriptions;
mod trust;
