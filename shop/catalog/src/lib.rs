//! The catalog: what is sold, in which categories, for how much, and whether it is in stock.
//!
//! The stock is a view of its own, filled by the inventory's events: the catalog answers when the inventory is down.
//!
//! It is deliberately not the inventory: it reserves nothing and promises nothing.
//!
//! Invariants:
//! - A product's version grows with each change; consumers ignore what they have.
//! - A change and its event are one transaction.
//! - The shelf can be built again from the inventory's log, while readers see the old one.

mod api;
mod products;
mod schema;
mod shelf;
mod start;

pub use products::{Category, Draft};
pub use start::{NAME, StartError, build};
