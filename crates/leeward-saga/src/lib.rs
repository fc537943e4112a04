//! Durable sagas in a service's own database: definitions, a pure decider, a journal, an executor, operator verbs.
//!
//! ```
//! use leeward_saga::{Action, Definition, Outcome, Undo};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Trip { city: String, car: Option<String> }
//!
//! let trip = Definition::<Trip>::builder("trip")
//!     .step(
//!         "book-car",
//!         Action::call(async |cx, trip: Trip| Outcome::Done(Trip { car: Some(format!("car {}", cx.key())), ..trip })),
//!         Undo::call(async |_cx, trip| Outcome::Done(Trip { car: None, ..trip })),
//!     )
//!     .pivot("pay", Action::call(async |_cx, trip| Outcome::Done(trip)))
//!     .build()?;
//! # assert_eq!(trip.plan().steps().len(), 2);
//! # Ok::<(), leeward_saga::definition::Error>(())
//! ```
//!
//! Then [`Sagas::register`] it, [`Sagas::run`] the engine, and [`Sagas::start`] a saga in the transaction that writes the order.
//!
//! # What it is
//! A saga is compensatable steps, one pivot, retriable steps. Each step has an [`Action`] and, before the pivot, its [`Undo`] beside it,
//! and comes to an [`Outcome`]: done, rejected (the business says no), transient (try again), unknown (find out first). An outside
//! call starts when the results before it are on disk; what lies between two calls (taking a reply, sending a command, steps of the own
//! database) shares one commit, and many sagas share the database's group commit. Resuming goes by the
//! step's name; nothing is replayed, so the code between two steps may do what it likes.
//!
//! # What it is not
//! No workflow language, no server, no branches in parallel, and no exactly-once for the outside world: an outside effect happens
//! once because the other side keeps the [key](StepCx::key) or can be asked ([`StepCx::reconcile`]). Only [`Action::tx`] is exactly once by
//! itself.
//!
//! # Invariants
//! - A saga that was started ends, or is listed as waiting, stuck or refused with the reason: none is lost.
//! - Nothing is undone after the pivot is done. Undos run in the reverse order of the actions, and only for what was done.
//! - While an outcome is unknown the saga neither goes on nor compensates.
//! - All attempts of a step that must have one effect have one key.
//! - Each write carries the lease's epoch and the row's version: what a superseded engine writes is refused.
//! - A signal is taken by one step, in the transaction that records it; until then it is stored, also before the saga exists.
//! - A bad saga (code that panics, a changed definition, an unreadable state) stops itself alone.
//!
//! # Testing
//! The feature `testing` adds `leeward_saga::testing`: one call runs a user's saga through a crash before, after and beyond every step, and
//! every outcome of every step and undo.

pub mod decide;
pub mod definition;
mod error;
mod executor;
mod journal;
pub mod metrics;
pub mod operator;
mod options;
pub mod outcome;
pub mod plan;
mod retry;
mod sagas;
mod status;
mod step;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use definition::{Action, Definition, State, Undo};
pub use error::Error;
pub use journal::{COMPONENT, Entry, MIGRATIONS};
pub use options::Options;
pub use outcome::{End, Fault, Outcome, Reason, Rejection};
pub use retry::Retry;
pub use sagas::{PAYLOAD_BYTES_MAX, Sagas, Signalled, Started};
pub use status::Status;
pub use step::{EndCx, ID_BYTES_MAX, Signal, StepCx};

/// The crates whose types stand in this one's signatures, so that a user needs no dependency beside it.
pub use {leeward_runtime as runtime, leeward_store as store, leeward_telemetry as telemetry};
