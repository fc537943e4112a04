//! Notifications: a pure consumer that turns events into messages in the way each user wants to be reached.
//!
//! It is deliberately not a mail server: messages go into a mailbox, which is where a carrier would fetch them. It knows
//! user ids and no addresses.
//!
//! Invariants:
//! - One message an event and channel: the inbox absorbs repeats.
//! - Nobody is written to on a channel that they switched off, nor after their account was erased.

mod api;
mod handlers;
mod mailbox;
mod schema;
mod start;
mod templates;

pub use start::{NAME, StartError, build};
