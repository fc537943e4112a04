//! Payments over real HTTP, with a real provider behind it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod charges;
mod contract;
mod customers;
mod expectations;
mod health;
mod outages;
mod refunds;
mod world;
