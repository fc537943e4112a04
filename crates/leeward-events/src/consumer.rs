//! Consumers: typed handlers whose effect, inbox row and position commit together.
//!
//! Events that queued up share one transaction. When a handler fails, that event alone is rolled back and parked in a table of the
//! consumer's database: it is tried again after a jittered delay, later events of the same key wait behind it in order, and all other keys
//! go on. After its last attempt, or at once when the handler calls it poison, it is a dead letter: its key stays parked until somebody
//! replays or drops it (see [`dead`](crate::dead)).

mod acknowledge;
mod apply;
mod build;
mod handler;
pub(crate) mod parking;
mod retry;
mod run;
pub(crate) mod schema;
mod work;

use std::sync::Arc;

use leeward_resilience::{Clock, Rng};
use leeward_runtime::Stop;
use leeward_store::Db;
use tokio::sync::Mutex;

use self::handler::Routes;
use crate::bus::{self, Bus, Start};
use crate::inbox::Dedupe;
use crate::metrics::ConsumerMetrics;
use crate::pattern::Patterns;

pub use self::build::{Builder, Error as BuildError};
pub(crate) use self::handler::{Handler, HandlerFuture};
pub use self::handler::{HandlerError, Received};
pub use self::retry::Redelivery;

/// The component under which the tables of consumers, inbox and dead letters are migrated.
pub const COMPONENT: &str = "events.consumer";

/// Most events in one transaction: the database's other writers wait for it, about a millisecond.
pub const TRANSACTION_EVENTS_MAX: usize = 64;

/// A group's handlers over one database and one bus. Made by [`Consumer::builder`].
#[derive(Debug)]
pub struct Consumer {
    core: Arc<Core>,
    bus: Bus,
    patterns: Patterns,
    start: Start,
    gate: Gate,
}

/// What the transactions of a consumer share.
#[derive(Debug)]
pub(crate) struct Core {
    group: Arc<str>,
    service: Arc<str>,
    db: Db,
    dedupe: Arc<dyn Dedupe>,
    routes: Routes,
    redelivery: Redelivery,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    metrics: ConsumerMetrics,
}

/// Held by the consumer around each transaction; whoever takes it stops the consumer between two.
pub(crate) type Gate = Arc<Mutex<()>>;

/// Why a consumer ended before it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bus does not go on with it: another subscriber took the group over, or the bus was closed.
    #[error("consumer `{group}` has ended: {cause}")]
    Bus {
        /// The consumer's group.
        group: String,
        /// Why.
        cause: bus::Error,
    },
    /// The database does not go on with it.
    #[error("consumer `{group}` has ended: {cause}")]
    Store {
        /// The consumer's group.
        group: String,
        /// Why.
        cause: leeward_store::Error,
    },
}

impl Consumer {
    /// Begins a consumer of the group `group`, a name like `catalog.stock`, over its database and a bus.
    pub fn builder(group: &str, db: Db, bus: Bus) -> Builder {
        Builder::new(group, db, bus)
    }

    /// Makes the tables of consumers, inbox and dead letters in a database.
    ///
    /// # Errors
    /// Those of [`Db::migrate`].
    pub async fn migrate(db: &Db) -> Result<(), leeward_store::Error> {
        db.migrate(COMPONENT, schema::MIGRATIONS).await
    }

    /// Handles events until it is stopped. While the bus or the database is away it tries again with growing, jittered delays.
    ///
    /// # Errors
    /// [`Error`]: another subscriber took the group over, or bus or database were closed underneath.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what was not committed comes again.
    pub async fn run(self, stop: Stop) -> Result<(), Error> {
        run::run(self, stop).await
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &Arc<str> {
        &self.core.group
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &ConsumerMetrics {
        &self.core.metrics
    }

    /// The kinds and wildcards that its handlers take, for a test of who listens to what.
    #[must_use]
    pub fn patterns(&self) -> &Patterns {
        &self.patterns
    }
}
