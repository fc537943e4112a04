//! The public behaviour of leeward-runtime.
#![allow(clippy::unwrap_used, reason = "tests")]

mod config;
mod datadir;
mod signals;
mod tasks;
