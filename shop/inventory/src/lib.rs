//! The inventory: what lies on the shelves, what is set aside for orders, and goods that come back.
//!
//! Reservations come as commands over the bus; a shipment turns one into an issue; returned goods are held until their
//! refund has gone through.
//!
//! It is deliberately not the catalog: it knows ids and numbers, no names and no prices.
//!
//! Invariants:
//! - What is set aside never exceeds what is on the shelf; the table itself refuses it.
//! - An order's lines are set aside all or none, and once.
//! - A release leaves a tombstone: a reservation that it overtook is refused.
//! - The sum of a product's movements is its level.

mod announce;
mod api;
mod handlers;
mod reservations;
mod returns;
mod schema;
mod service;
mod start;
mod stock;

pub use start::{NAME, StartError, build};
