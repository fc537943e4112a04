//! Orders over real HTTP, with real payments and a real provider; inventory, shipping and catalog are stood in for.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod carts;
mod checkouts;
mod contract;
mod http;
mod outages;
mod peers;
mod returns;
mod sagas;
mod world;
