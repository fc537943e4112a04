//! What must hold for the tree as a whole, and the binary as its users meet it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod arrows;
mod gateway;
mod keys;
mod operators;
mod process;
mod secrets;
mod tools;
mod upgrade;
