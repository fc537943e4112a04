//! What a process needs around its work: named tasks with a stop order, signals, configuration with good
//! errors, the environment, and a data folder.
//!
//! It is deliberately not a place for leftovers: clocks and randomness are `leeward-resilience`'s, logs and
//! metrics
//! `leeward-telemetry`'s, and no business of any service belongs here. It does not print and does not exit;
//! the binary does.
//!
//! ```
//! use leeward_runtime::{Stage, Tasks};
//! use std::time::Duration;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let tasks = Tasks::new();
//! tasks.spawn(Stage::Work, "orders.relay", |stop| async move { stop.requested().await });
//! tasks.spawn(Stage::Store, "orders.db", |stop| async move { stop.requested().await });
//! // Here a process would wait for `signals::terminated()` or `tasks.failure()`.
//! let report = tasks.shutdown(Duration::from_secs(5)).await;
//! assert_eq!(report.to_string(), "2 tasks stopped");
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Invariants:
//! - Every task has a name, an owner and a stage; no stage is asked to stop before the ones above it have
//!   come to rest or have used up their share of the budget.
//! - [`Env`] is the only reader of the process environment.
//! - Reading a configuration never stops at the first mistake, and a key that nothing reads is one.
//! - A [`Secret`](config::Secret) is never part of a message.

pub mod config;
pub mod datadir;
pub mod env;
pub mod panics;
pub mod signals;
pub mod tasks;

pub use datadir::DataDir;
pub use env::Env;
/// Numbers with units: the grammar of the policies' own options.
pub use leeward_resilience::config::units;
pub use panics::unpanicked;
pub use tasks::{Failure, Hold, Stage, Stop, StopReport, Stopper, TaskEnd, Tasks};
