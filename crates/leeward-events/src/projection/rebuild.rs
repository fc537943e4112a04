//! Building a projection again: shadow table, log, catch-up, checksum, swap.

use std::sync::Arc;
use std::time::Duration;

use leeward_store::Tx;
use serde::Serialize;

use super::checksum::Checksum;
use super::schema::{self, Read};
use super::source::{LogError, LogSource};
use super::{Core, Projection, Table};
use crate::consumer::{HandlerError, Received};
use crate::outbox::LogEntry;

/// Events of a page, and of a transaction: the database's other writers wait for about two milliseconds.
const PAGE_EVENTS: u32 = 100;

/// How often the live table may be waited for, so that both have seen the same events when they are compared.
const COMPARE_ATTEMPTS_MAX: u32 = 5;

/// How long the consumer gets in between.
const COMPARE_WAIT: Duration = Duration::from_millis(100);

/// What to do with the table that was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It takes the place of the live one.
    Replace,
    /// It is compared with the live one, and dropped.
    Compare,
}

/// What a rebuild did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Events of the log that the projection takes.
    pub events: u64,
    /// The last event of the log read.
    pub log_seq: i64,
    /// The table that was built.
    pub rebuilt: Checksum,
    /// The table that was there.
    pub live: Checksum,
    /// Whether the two are the same; none when the live one had not seen the same events, so that they cannot be compared.
    pub equal: Option<bool>,
    /// Whether the new table is the live one now.
    pub swapped: bool,
}

/// Why a projection was not rebuilt. The live table is as it was.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One rebuild at a time.
    #[error("the projection is being rebuilt already")]
    Running,
    /// The log does not reach back to its first event, so that a table built from it would lack something.
    #[error("the log of {source_name} begins at event {oldest_seq}: what came before is past its retention")]
    LogCut {
        /// The service whose log it is.
        source_name: Arc<str>,
        /// The oldest event that is left.
        oldest_seq: i64,
    },
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A handler could not handle an event.
    #[error("event {seq} of the log: {cause}")]
    Handler {
        /// Its number.
        seq: i64,
        /// Why.
        cause: HandlerError,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] leeward_store::Error),
}

impl Projection {
    /// Builds the table again from the log of the service that owns it, and replaces or compares the live one.
    ///
    /// The consumer goes on meanwhile; only for the last events, the comparison and the swap it holds still.
    ///
    /// # Errors
    /// [`Error`]; the live table is untouched then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the live table as it was; the shadow table is dropped by the next rebuild.
    pub async fn rebuild(&self, log: &dyn LogSource, mode: Mode) -> Result<Report, Error> {
        let core = &self.core;
        let Ok(_running) = core.rebuilding.try_lock() else { return Err(Error::Running) };
        let made = core.clone();
        let create = async move |tx: &mut Tx| schema::create_shadow(tx, &made.group, &made.definition).await;
        let table = Arc::new(core.db.write(create).await?);
        let mut shadow = Shadow { core, log, table, source: None, read: Read::default(), events: 0 };
        let report = shadow.build(mode).await;
        let swapped = report.as_ref().is_ok_and(|report| report.swapped);
        if !swapped {
            let group = core.group.clone();
            core.db.write(async move |tx: &mut Tx| schema::drop_shadow(tx, &group).await).await?;
        }
        report
    }
}

/// A table in the making.
struct Shadow<'a> {
    core: &'a Arc<Core>,
    log: &'a dyn LogSource,
    table: Arc<Table>,
    /// The service whose log it is.
    source: Option<Arc<str>>,
    read: Read,
    events: u64,
}

impl Shadow<'_> {
    async fn build(&mut self, mode: Mode) -> Result<Report, Error> {
        // Most of the log while the consumer goes on, the rest while it holds still.
        self.catch_up().await?;
        let mut attempts = 1;
        let (held, comparable) = loop {
            let held = self.core.gate.clone().lock_owned().await;
            self.catch_up().await?;
            let comparable = self.is_level_with_live().await?;
            if comparable || attempts >= COMPARE_ATTEMPTS_MAX {
                break (held, comparable);
            }
            drop(held);
            attempts += 1;
            tokio::time::sleep(COMPARE_WAIT).await;
        };
        let definition = &self.core.definition;
        let rebuilt = Checksum::of(&self.core.db, definition, &self.table).await?;
        let outdated = !self.is_current_form().await?;
        let live = if outdated {
            Checksum::default()
        } else {
            Checksum::of(&self.core.db, definition, &self.core.live).await?
        };
        let swapped = mode == Mode::Replace;
        if swapped {
            self.swap().await?;
        }
        drop(held);
        let equal = (comparable && !outdated).then_some(rebuilt == live);
        Ok(Report { events: self.events, log_seq: self.read.seq, rebuilt, live, equal, swapped })
    }

    /// Reads the log to its end.
    async fn catch_up(&mut self) -> Result<(), Error> {
        loop {
            let page = self.log.page(self.read.seq, PAGE_EVENTS).await?;
            // Also between two pages the retention may overtake the reader.
            if page.oldest_seq > self.read.seq + 1 {
                return Err(Error::LogCut { source_name: page.source, oldest_seq: page.oldest_seq });
            }
            self.source.get_or_insert(page.source);
            let Some(last) = page.entries.last().map(|entry| entry.seq) else { return Ok(()) };
            self.apply(page.entries).await?;
            self.read.seq = last;
        }
    }

    async fn apply(&mut self, mut entries: Vec<LogEntry>) -> Result<(), Error> {
        let takes = |kind: &str| self.core.definition.appliers.iter().any(|applier| applier.kind == kind);
        entries.retain(|entry| takes(&entry.event.kind));
        let Some(last) = entries.last().map(|entry| entry.seq) else { return Ok(()) };
        self.events += u64::try_from(entries.len()).unwrap_or(0);
        let (core, table) = (self.core.clone(), self.table.clone());
        self.core
            .db
            .write(async move |tx: &mut Tx| {
                for LogEntry { seq, event } in entries {
                    let correlation = event.correlation(&*core.rng);
                    let received = Received::new(Arc::new(event), correlation);
                    let applier =
                        core.definition.appliers.iter().find(|one| *one.kind == *received.envelope.kind);
                    if let Some(applier) = applier {
                        let applied = applier.apply(tx, &table, received).await;
                        applied.map_err(|cause| Error::Handler { seq, cause })?;
                    }
                }
                Ok::<(), Error>(())
            })
            .await?;
        self.read.applied_seq = last;
        Ok(())
    }

    /// Whether the live table has seen what this one has.
    async fn is_level_with_live(&self) -> Result<bool, Error> {
        let Some(source) = self.source.clone() else { return Ok(false) };
        let group = self.core.group.clone();
        let state = self.core.db.read(async move |tx| schema::live_state(tx, &group, &source).await).await;
        let (applied_seq, parked) = state.map_err(|cause: leeward_store::Error| Error::Store(cause))?;
        Ok(applied_seq == self.read.applied_seq && !parked)
    }

    async fn is_current_form(&self) -> Result<bool, Error> {
        let core = self.core.clone();
        let form = async move |tx: &mut Tx| schema::open(tx, &core.group, &core.definition, &core.live).await;
        Ok(self.core.db.write(form).await? == super::Form::Current)
    }

    async fn swap(&self) -> Result<(), Error> {
        let (core, table, read) = (self.core.clone(), self.table.clone(), self.read);
        let source = self.source.clone().unwrap_or_default();
        let swap = async move |tx: &mut Tx| {
            schema::swap(tx, &core.group, &core.definition, &table, &source, read).await
        };
        Ok(self.core.db.write(swap).await?)
    }
}
