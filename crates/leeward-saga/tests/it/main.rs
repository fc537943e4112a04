//! What a user of the crate sees.
#![allow(clippy::unwrap_used, reason = "tests")]

mod ahead;
mod exhaustive;
mod happy;
mod operators;
mod recovery;
mod seen;
mod shop;
mod signals;
mod world;
