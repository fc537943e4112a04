//! Hosts of the shop over real sockets.
#![allow(clippy::unwrap_used, reason = "tests")]

mod peers;
