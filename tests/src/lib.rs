//! What the system tests stand on: the shop as real processes, customers over real HTTP, and an oracle outside of both.
//!
//! Nothing here sees the inside of a running service. A test starts the shipped binary, speaks HTTP to its gateway, kills
//! it, starts it again, and lets the [`oracle`] read the databases and the provider's ledger once all is quiet.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::missing_panics_doc,
    reason = "test support: it panics to fail a test, runs on real time, reads the environment and reports as it goes"
)]

pub mod collector;
pub mod crash;
pub mod customer;
pub mod files;
pub mod http;
pub mod load;
pub mod openapi;
pub mod oracle;
pub mod ports;
pub mod process;
mod quiet;
pub mod shop;
pub mod strace;

pub use customer::Customer;
pub use http::{Answer, Http, Witness};
pub use oracle::Claims;
pub use process::Process;
pub use shop::{Options, Shop, Topology};
