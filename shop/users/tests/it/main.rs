//! The users service over real HTTP.
#![allow(clippy::unwrap_used, reason = "tests")]

mod accounts;
mod admin;
mod contract;
mod keys;
mod logins;
mod shop;
