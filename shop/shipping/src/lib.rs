//! Shipping: one shipment an order, made on command, tracked by a code.
//!
//! It is deliberately not a carrier: an administrator moves a shipment on.
//!
//! Invariants:
//! - An order has at most one shipment; a repeated command answers with the one that exists.
//! - A tracking code tells nothing about order or customer, and cannot be guessed.
//! - A shipment only goes forward.

mod api;
mod schema;
mod shipments;
mod start;

pub use start::{NAME, StartError, build};
