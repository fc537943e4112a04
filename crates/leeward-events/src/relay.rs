//! The relay: takes events from a database's outbox to the bus.
//!
//! It reads the rows behind its mark, publishes them in one batch, and goes on; the mark is written now and then. After a crash it
//! publishes again what it had not marked, in the same order: so the first arrival of each event keeps the order of its key, and
//! whoever handles events recognises the second by its id.

use std::time::Duration;

use bytes::Bytes;
use leeward_resilience::Instant;
use leeward_runtime::Stop;
use leeward_store::{Db, Tx};

use crate::backoff::Backoff;
use crate::bus::{self, Bus, Message};
use crate::envelope::with_log_seq;
use crate::metrics::RelayMetrics;
use crate::outbox::{self, Cleaned, Mark, Outbox};

/// Most events published at once, unless told otherwise: at 700 bytes each a batch is 180 kB, and one commit of the bus.
const BATCH_EVENTS_MAX: u32 = 256;

/// Bytes after which a batch is closed, though more rows wait.
const BATCH_BYTES: usize = 1 << 20;

/// How long a mark stays in memory, unless told otherwise: what it saves is a commit a batch, what it costs is so many milliseconds of events sent twice
/// after a crash.
const MARK_EVERY: Duration = Duration::from_millis(250);

/// How often an idle relay looks for rows past their retention.
const CLEAN_EVERY: Duration = Duration::from_secs(30);

/// Rows deleted in one transaction: at 2 us each the writer's other callers wait 2 ms.
const CLEAN_ROWS_MAX: u32 = 1024;

/// How long to wait when the bus, or the database, does not take part.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(5) };

/// How long a batch that is on its way when the relay is stopped may still take.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Publishes what is appended to one outbox. One runs for each database.
#[derive(Debug)]
pub struct Relay {
    db: Db,
    outbox: Outbox,
    bus: Bus,
    batch_events_max: u32,
    mark_every: Duration,
    metrics: RelayMetrics,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Store(#[from] leeward_store::Error),
    #[error(transparent)]
    Bus(#[from] bus::Error),
}

/// What a step of the relay found.
enum Step {
    /// A full batch went out: more may wait.
    More,
    /// Everything is published.
    Idle,
}

/// Where the relay stands.
struct Progress {
    published: Mark,
    marked: Mark,
    mark_due: Instant,
    clean_due: Instant,
    failures: u32,
}

impl Relay {
    /// A relay from `db`'s outbox to the bus.
    #[must_use]
    pub fn new(db: Db, outbox: Outbox, bus: Bus) -> Self {
        let metrics = RelayMetrics::default();
        Self { db, outbox, bus, batch_events_max: BATCH_EVENTS_MAX, mark_every: MARK_EVERY, metrics }
    }

    /// The same with another bound of events in a batch: 1 to [`PUBLISH_EVENTS_MAX`](bus::PUBLISH_EVENTS_MAX).
    #[must_use]
    pub fn batch_events_max(mut self, events: u32) -> Self {
        let most = u32::try_from(bus::PUBLISH_EVENTS_MAX).unwrap_or(u32::MAX);
        self.batch_events_max = events.clamp(1, most);
        self
    }

    /// The same with another time for which a mark may stay in memory.
    #[must_use]
    pub fn mark_every(mut self, interval: Duration) -> Self {
        self.mark_every = interval;
        self
    }

    /// The same with metrics.
    #[must_use]
    pub fn metrics(mut self, metrics: RelayMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Publishes until it is stopped. While the bus or the database is away it tries again with growing, jittered delays.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event; some may be published twice.
    pub async fn run(self, stop: Stop) {
        let mut appended = self.db.watch(outbox::TOPIC);
        let Some(mut progress) = self.start(&stop).await else { return };
        while !stop.is_requested() {
            let step = tokio::select! {
                step = self.step(&mut progress) => step,
                () = after_stop(&stop) => break,
            };
            match step {
                Ok(Step::More) => progress.failures = 0,
                Ok(Step::Idle) => {
                    progress.failures = 0;
                    tokio::select! {
                        () = appended.changed() => {}
                        () = self.sleep_until(progress.next_due()) => {}
                        () = stop.requested() => {}
                    }
                }
                Err(cause) => self.wait_after(&cause, &mut progress.failures, &stop).await,
            }
        }
        self.mark(&mut progress).await;
    }

    async fn start(&self, stop: &Stop) -> Option<Progress> {
        let mut failures = 0;
        loop {
            match self.db.read(async move |tx| outbox::load_mark(tx).await).await {
                Ok(mark) => {
                    let now = self.now();
                    return Some(Progress {
                        published: mark,
                        marked: mark,
                        mark_due: now + self.mark_every,
                        clean_due: now,
                        failures: 0,
                    });
                }
                Err(cause) => self.wait_after(&Error::Store(cause), &mut failures, stop).await,
            }
            if stop.is_requested() {
                return None;
            }
        }
    }

    async fn step(&self, progress: &mut Progress) -> Result<Step, Error> {
        if self.now() >= progress.next_due()
            && let Err(cause) = self.mark_and_clean(progress).await
        {
            // The database takes no writes now. What is in it can leave all the same.
            tracing::debug!(database = self.db.name(), %cause, "the relay's mark waits");
            progress.clean_due = self.now() + CLEAN_EVERY;
        }
        let (mark, rows_max) = (progress.published, self.batch_events_max);
        let mut pending = self.db.read(async move |tx| outbox::pending(tx, mark, rows_max).await).await?;
        let batch = Batch::of(&pending.rows)?;
        self.outbox.status.set(pending.bytes, batch.oldest_ms);
        if batch.messages.is_empty() {
            return Ok(Step::Idle);
        }
        let all = batch.messages.len() == pending.rows.len();
        let full = !all || pending.rows.len() >= usize::try_from(rows_max).unwrap_or(usize::MAX);
        pending.rows.clear();
        let events = batch.messages.len();
        self.bus.publish_messages(batch.messages).await?;
        progress.published = batch.last;
        self.metrics.published(events);
        if !full {
            self.outbox.status.set(0, None);
        }
        Ok(if full { Step::More } else { Step::Idle })
    }

    /// Writes the mark if it has moved, and deletes a bounded number of rows past their retention.
    async fn mark_and_clean(&self, progress: &mut Progress) -> Result<(), Error> {
        let now = self.now();
        progress.mark_due = now + self.mark_every;
        let cleaning = now >= progress.clean_due;
        if progress.published == progress.marked && !cleaning {
            return Ok(());
        }
        let mark = progress.published;
        let moved = mark != progress.marked;
        let retention = self.outbox.config.retention;
        let age_ms = i64::try_from(retention.age.as_millis()).unwrap_or(i64::MAX);
        let older_than_ms = self.outbox.config.clock.unix_ms().saturating_sub(age_ms);
        let cleaned = self
            .db
            .write(async move |tx: &mut Tx| {
                if moved {
                    outbox::save_mark(tx, mark).await?;
                }
                outbox::clean(tx, mark, older_than_ms, retention.bytes, CLEAN_ROWS_MAX).await
            })
            .await?;
        progress.marked = mark;
        progress.clean_due = match cleaned {
            Cleaned::All => now + CLEAN_EVERY,
            Cleaned::More => now,
        };
        Ok(())
    }

    async fn mark(&self, progress: &mut Progress) {
        if progress.published != progress.marked
            && let Err(cause) = self.mark_and_clean(progress).await
        {
            tracing::debug!(%cause, "the relay's mark was not written; some events will be sent again");
        }
    }

    async fn wait_after(&self, cause: &Error, failures: &mut u32, stop: &Stop) {
        *failures = failures.saturating_add(1);
        self.metrics.failed();
        if *failures == 1 {
            tracing::warn!(database = self.db.name(), %cause, "events wait in the outbox; the relay will try again");
        } else {
            tracing::debug!(database = self.db.name(), %cause, failures, "events still wait in the outbox");
        }
        let delay = BACKOFF.delay(*failures, &*self.outbox.config.rng);
        stop.or(tokio::time::sleep(delay)).await;
    }

    fn now(&self) -> Instant {
        self.outbox.config.clock.now()
    }

    async fn sleep_until(&self, due: Instant) {
        tokio::time::sleep(due.saturating_duration_since(self.now())).await;
    }
}

impl Progress {
    /// When there is something to do although nothing was appended.
    fn next_due(&self) -> Instant {
        if self.published == self.marked { self.clean_due } else { self.mark_due.min(self.clean_due) }
    }
}

async fn after_stop(stop: &Stop) {
    stop.requested().await;
    tokio::time::sleep(STOP_GRACE).await;
}

/// Rows ready for the bus.
struct Batch {
    messages: Vec<Message>,
    last: Mark,
    oldest_ms: Option<i64>,
}

impl Batch {
    /// As many of the rows as go into one publish.
    fn of(rows: &[leeward_store::Row]) -> Result<Self, leeward_store::Error> {
        let mut batch =
            Self { messages: Vec::with_capacity(rows.len()), last: Mark::default(), oldest_ms: None };
        let mut bytes = 0;
        for row in rows {
            if bytes >= BATCH_BYTES {
                break;
            }
            let seq = row.get(0)?;
            let body = with_log_seq(row.get(4)?, seq);
            bytes += body.len();
            batch.messages.push(Message::trusted(row.get(3)?, Bytes::from(body)));
            batch.last = Mark { seq, total_bytes: row.get(1)? };
            batch.oldest_ms = batch.oldest_ms.or(Some(row.get(2)?));
        }
        Ok(batch)
    }
}
