//! What operators see and decide.
//!
//! The verbs go through the same decider as everything else, are written with the version that they were decided on, and stand in
//! the history with their reason. The engine picks the change up at once; it works in a process without an engine, too.

mod verbs;
mod view;

pub use view::{Check, Counts, Detail, Filter, HeldSignal, Listing, Page, RefusedSaga, Summary, Unclaimed};
