//! The outbox: events appended in the transaction that made them true, and the log of what this database ever published.
//!
//! An append is one row in the caller's [`Tx`]: committed with the caller's changes or not at all. The [`Relay`](crate::Relay) publishes
//! the rows in their order and moves a mark behind them. Rows stay for a while after that, as the service's event log: see
//! [`Outbox::read_log`] and [`Retention`].
//!
//! # Invariants
//! - Sequence numbers follow the order of commits: one process writes a database, and its transactions run one after the other.
//! - The newest row is never deleted, so that no number and no running total of bytes is given twice.
//! - Nothing that has not been relayed is ever deleted; instead [`Error::Full`] refuses the append, before anything has changed.

mod log;
mod schema;
mod status;

use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::{Clock, FastRng, Rng};
use leeward_store::{Db, Tx, params};
use leeward_telemetry::Correlation;

use crate::bucket::bucket;
use crate::envelope::{self, Attributes, Envelope};
use crate::event::Event;
use crate::ids::new_id;

pub use self::log::{LOG_PAGE_MAX, LogEntry, LogPage};
pub(crate) use self::schema::{Cleaned, Mark, clean, load_mark, pending, save_mark};
pub use self::status::Status;

/// Woken by every append, for the relay.
pub(crate) const TOPIC: &str = "events.outbox";

/// The component under which the outbox's tables are migrated.
pub const COMPONENT: &str = "events.outbox";

/// Most bytes of events waiting for the relay, unless told otherwise: an hour without the bus at 70 kB a second.
pub const LIMIT_BYTES: u64 = 256 << 20;

/// How long, and how much, the log keeps of what has been relayed. Whichever is reached first deletes the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long. Default 30 days.
    pub age: Duration,
    /// How many bytes of events. Default 1 GiB.
    pub bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: Duration::from_secs(30 * 24 * 3600), bytes: 1 << 30 }
    }
}

/// Where a service puts its events. A clone is the same outbox.
#[derive(Clone, Debug)]
pub struct Outbox {
    pub(crate) config: Arc<Config>,
    pub(crate) status: Arc<Status>,
}

#[derive(Clone, Debug)]
pub(crate) struct Config {
    source: Arc<str>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    limit_bytes: u64,
    pub(crate) retention: Retention,
}

/// Why an event was not appended. The transaction can only be given up.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Too many bytes wait for the relay, which cannot reach the bus. It recovers by itself; a server answers 503.
    #[error(
        "the outbox holds {pending_bytes} of at most {limit_bytes} bytes not yet relayed; try again later"
    )]
    Full {
        /// What waits.
        pending_bytes: u64,
        /// What may wait.
        limit_bytes: u64,
    },
    /// The event is not one that a bus takes: a defect of the caller.
    #[error(transparent)]
    Event(#[from] envelope::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] leeward_store::Error),
}

impl Error {
    /// Whether the same transaction can succeed after a while without anybody changing it.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Event(_) => false,
            Self::Store(cause) => cause.is_temporary(),
        }
    }
}

impl Outbox {
    /// An outbox of the service `source`, which stands in every envelope.
    #[must_use]
    pub fn new(source: &str, clock: Arc<dyn Clock>) -> Self {
        let config = Config {
            source: source.into(),
            clock,
            rng: Arc::new(FastRng::from_entropy()),
            limit_bytes: LIMIT_BYTES,
            retention: Retention::default(),
        };
        Self { config: Arc::new(config), status: Arc::default() }
    }

    /// The same with another limit of bytes that wait for the relay.
    #[must_use]
    pub fn limit_bytes(mut self, limit_bytes: u64) -> Self {
        Arc::make_mut(&mut self.config).limit_bytes = limit_bytes;
        self
    }

    /// The same with another retention of the log.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        Arc::make_mut(&mut self.config).retention = retention;
        self
    }

    /// The same with another source of randomness for ids and jitter.
    #[must_use]
    pub fn rng(mut self, rng: Arc<dyn Rng>) -> Self {
        Arc::make_mut(&mut self.config).rng = rng;
        self
    }

    /// Makes the outbox's tables in a database.
    ///
    /// # Errors
    /// Those of [`Db::migrate`].
    pub async fn migrate(db: &Db) -> Result<(), leeward_store::Error> {
        db.migrate(COMPONENT, schema::MIGRATIONS).await
    }

    /// Appends an event to the caller's transaction; gives its id.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Event`], [`Error::Store`]: give the transaction up.
    pub async fn append<E: Event>(
        &self,
        tx: &mut Tx,
        event: &E,
        cause: &Correlation,
    ) -> Result<Arc<str>, Error> {
        let id = self.new_id();
        let (key, trace) = (event.key(), cause.trace.header_value());
        let attributes = Attributes {
            id: &id,
            source: &self.config.source,
            kind: E::TYPE,
            subject: &key,
            time_ms: self.config.clock.unix_ms(),
            version: E::VERSION,
            traceparent: Some(&trace),
            correlation_id: &cause.correlation_id,
            causation_id: cause.causation_id.as_deref(),
            log_seq: None,
        };
        let body = attributes.seal(event)?;
        self.insert(tx, &attributes, &body).await?;
        Ok(id)
    }

    /// Appends an event that has its envelope already, such as a command with an id of its own. Its place in another log is dropped.
    ///
    /// # Errors
    /// Those of [`append`](Self::append).
    pub async fn append_envelope(&self, tx: &mut Tx, mut envelope: Envelope) -> Result<(), Error> {
        envelope.log_seq = None;
        let body = envelope.to_json()?;
        self.insert(tx, &envelope.attributes(), &body).await
    }

    /// An id for an envelope that the caller makes itself: unique, and later ones sort later.
    #[must_use]
    pub fn new_id(&self) -> Arc<str> {
        new_id(&*self.config.clock, &*self.config.rng)
    }

    /// The name that stands in the envelopes.
    #[must_use]
    pub fn source(&self) -> &Arc<str> {
        &self.config.source
    }

    /// How much waits for the relay.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    async fn insert(&self, tx: &mut Tx, attributes: &Attributes<'_>, body: &[u8]) -> Result<(), Error> {
        envelope::check_room(body)?;
        let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        self.status.admit(u64::from(bytes), self.config.limit_bytes)?;
        tx.execute(
            schema::APPEND,
            params![
                bucket(attributes.subject),
                bytes,
                attributes.time_ms,
                attributes.id,
                attributes.kind,
                body
            ],
        )
        .await?;
        let (status, now_ms) = (self.status.clone(), attributes.time_ms);
        tx.on_commit(move || status.appended(now_ms));
        tx.wake(TOPIC);
        Ok(())
    }
}
