//! The public behaviour of leeward-runtime.
#![allow(clippy::unwrap_used, reason = "tests")]

mod config;
mod datadir;
mod layers;
mod policies;
mod signals;
mod tasks;
