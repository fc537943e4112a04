//! Projections: read models that follow the events of others, and can be built again from the owner's log.
//!
//! A projection owns one table. Live, it is a [`Consumer`] whose handlers write that table. A rebuild reads the log of the owning
//! service (see [`Outbox::read_log`](crate::Outbox::read_log)), never the bus, and runs the same handlers over a shadow table; it catches up, holds the
//! consumer for a moment, reads the rest, compares checksums and swaps the tables in one transaction.
//!
//! # Invariants
//! - Readers see the old table or the new one, whole.
//! - An event is in the new table once, whether it came by the log or by the bus: the swap stores the log's number up to which the
//!   table is complete, and the consumer passes over what comes at or below it.
//! - A rebuild that fails leaves the table as it was.

mod build;
mod checksum;
mod rebuild;
mod schema;
mod source;
mod table;

use std::sync::Arc;

use leeward_resilience::{FastRng, Rng};
use leeward_store::{Db, Tx};
use tokio::sync::Mutex;

use self::build::Applier;
use crate::bus::Bus;
use crate::consumer::{self, Consumer, Gate, Handler, HandlerError, HandlerFuture, Received};

pub use self::build::{Builder, Error as BuildError};
pub use self::checksum::Checksum;
pub use self::rebuild::{Error as RebuildError, Mode, Report};
pub use self::source::{LocalLog, LogError, LogFuture, LogSource};
pub use self::table::Table;

/// The component under which the tables about projections are migrated.
pub const COMPONENT: &str = "events.projection";

/// A read model. A clone is the same one.
#[derive(Clone, Debug)]
pub struct Projection {
    core: Arc<Core>,
}

#[derive(Debug)]
struct Core {
    group: Arc<str>,
    db: Db,
    definition: Definition,
    live: Arc<Table>,
    gate: Gate,
    /// Held by the one rebuild that may run.
    rebuilding: Mutex<()>,
    rng: Arc<dyn Rng>,
}

#[derive(Debug)]
struct Definition {
    table: &'static str,
    schema: &'static [&'static str],
    digest: &'static str,
    appliers: Vec<Applier>,
}

/// Whether the table in the database has the form that this program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It has.
    Current,
    /// It was made by another version of the definition: rebuild it before the consumer is started.
    Outdated,
}

impl Projection {
    /// Begins a projection: `group` is its consumer's group, `table` its table's name, of lower-case letters, digits and `_`.
    pub fn builder(group: &str, db: Db, table: &'static str) -> Builder {
        Builder::new(group, db, table)
    }

    /// Makes the projection's table, if there is none, and says whether it has the form of this definition. The tables of consumers
    /// must be there: see [`Consumer::migrate`].
    ///
    /// # Errors
    /// What the database reports.
    pub async fn open(&self) -> Result<Form, leeward_store::Error> {
        self.core.db.migrate(COMPONENT, schema::MIGRATIONS).await?;
        let core = self.core.clone();
        self.core
            .db
            .write(async move |tx: &mut Tx| schema::open(tx, &core.group, &core.definition, &core.live).await)
            .await
    }

    /// The consumer that keeps the table up to date, ready for its last settings.
    pub fn consumer(&self, bus: Bus) -> consumer::Builder {
        let mut builder =
            Consumer::builder(&self.core.group, self.core.db.clone(), bus).gate(self.core.gate.clone());
        for (index, applier) in self.core.definition.appliers.iter().enumerate() {
            let live = Live { core: self.core.clone(), index };
            builder = builder.handler(applier.kind, applier.kind, Arc::new(live));
        }
        builder
    }

    /// The group of its consumer.
    #[must_use]
    pub fn group(&self) -> &Arc<str> {
        &self.core.group
    }

    /// The live table, for the statements of readers.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.core.live
    }
}

/// One of the projection's handlers on the live table.
struct Live {
    core: Arc<Core>,
    index: usize,
}

impl Handler for Live {
    fn call<'a>(&'a self, tx: &'a mut Tx, received: Received<()>) -> HandlerFuture<'a> {
        Box::pin(async move {
            let envelope = &received.envelope;
            if let Some(seq) = envelope.log_seq
                && !schema::advance(tx, &self.core.group, &envelope.source, seq).await?
            {
                // A rebuild has put it into the table already.
                return Ok::<(), HandlerError>(());
            }
            self.core.definition.appliers[self.index].apply(tx, &self.core.live, received).await
        })
    }
}

fn default_rng() -> Arc<dyn Rng> {
    Arc::new(FastRng::from_entropy())
}
