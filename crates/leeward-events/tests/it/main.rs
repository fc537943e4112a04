//! Public behaviour of leeward-events.
#![allow(clippy::unwrap_used, reason = "tests")]

mod backends;
mod crash;
mod envelope;
mod inbox;
mod order;
mod outbox;
mod projection;
mod remote;
mod status;
mod world;
