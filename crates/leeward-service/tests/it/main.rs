#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod audit;
mod client;
mod events;
mod identity;
mod inbound;
mod operator;
mod routes;
mod workers;
mod world;
