//! The provider through its router, as a merchant and as an auditor see it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bench;
mod books;
mod faults;
mod keys;
