//! The journal: sagas with their history, and their signals, as rows in the service's own database.
//!
//! Every statement of the crate stands here. All but the reads take a [`Tx`](leeward_store::Tx) of the caller.

pub(crate) mod history;
pub(crate) mod listing;
pub(crate) mod saga;
mod schema;
pub(crate) mod signals;
pub(crate) mod stored;

pub use history::Entry;
pub use schema::{COMPONENT, MIGRATIONS};
