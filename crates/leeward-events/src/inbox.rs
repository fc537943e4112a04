//! The inbox: what a group has handled already, so that an event delivered twice is applied once.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::Clock;
use leeward_store::{Error, Tx, params};

use crate::envelope::Envelope;

/// What the methods of [`Dedupe`] return: it runs on the database's thread, inside the transaction.
pub type DedupeFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + 'a>>;

/// Remembers which events a group has handled, in the transaction of their effect.
///
/// The product is [`Inbox`]. Another store of ids, for instance one that also reads what an earlier system has left, can stand in for it.
pub trait Dedupe: Send + Sync + std::fmt::Debug + 'static {
    /// Notes that the group handles the event now; `false` when it had been noted before. The note is a row of `tx`, so that it
    /// stands if and only if the effect does.
    fn first_time<'a>(
        &'a self,
        tx: &'a mut Tx,
        group: &'a str,
        event: &'a Envelope,
    ) -> DedupeFuture<'a, bool>;

    /// Forgets a bounded number of notes that are past their retention. Called now and then; it must be short.
    fn clean<'a>(&'a self, tx: &'a mut Tx) -> DedupeFuture<'a, ()> {
        let _ = tx;
        Box::pin(async { Ok(()) })
    }
}

/// Rows deleted in one clean-up: about 2 ms of the database's writer. One runs at least each [`CLEAN_EVENTS`] events.
const CLEAN_ROWS_MAX: i64 = 1024;

/// Events handled after which a consumer cleans up: fewer than one clean-up deletes, so that deleting keeps up with inserting.
pub(crate) const CLEAN_EVENTS: u64 = 512;

/// The table `inbox` in the consumer's own database.
///
/// # Retention
/// An event is recognised for as long as its row stays. It must stay for longer than an event can take to come a second time, which is
/// as long as a producer may be down between publishing and marking (its outbox sends again what it had not marked). The default of
/// 7 days outlasts a long outage; the bound on rows holds the table below some gigabytes whatever the rate, and is reached first above
/// 16 events a second on average over the week.
#[derive(Clone, Debug)]
pub struct Inbox {
    clock: Arc<dyn Clock>,
    age: Duration,
    rows_max: u32,
}

impl Inbox {
    /// An inbox that keeps 7 days, and at most 10 million rows.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, age: Duration::from_secs(7 * 24 * 3600), rows_max: 10_000_000 }
    }

    /// The same with another retention.
    #[must_use]
    pub fn retention(mut self, age: Duration, rows_max: u32) -> Self {
        (self.age, self.rows_max) = (age, rows_max.max(1));
        self
    }
}

/// Notes an event; whether it is the first time.
pub(crate) async fn note(
    tx: &mut Tx,
    group: &str,
    source: &str,
    id: &str,
    now_ms: i64,
) -> Result<bool, Error> {
    let rows = tx
        .execute(
            "INSERT INTO inbox (consumer, source, event_id, seen_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (consumer, source, event_id) DO NOTHING",
            params![group, source, id, now_ms],
        )
        .await?;
    Ok(rows == 1)
}

impl Dedupe for Inbox {
    fn first_time<'a>(
        &'a self,
        tx: &'a mut Tx,
        group: &'a str,
        event: &'a Envelope,
    ) -> DedupeFuture<'a, bool> {
        Box::pin(async move { note(tx, group, &event.source, &event.id, self.clock.unix_ms()).await })
    }

    fn clean<'a>(&'a self, tx: &'a mut Tx) -> DedupeFuture<'a, ()> {
        Box::pin(async move {
            let ends = tx
                .query_one("SELECT COALESCE(MIN(seq), 0), COALESCE(MAX(seq), 0) FROM inbox", params![])
                .await?;
            let (oldest, newest): (i64, i64) = (ends.get(0)?, ends.get(1)?);
            // Rows are numbered in the order they came, so that the oldest stand first and the numbers tell how many there are.
            let past = newest - i64::from(self.rows_max);
            let age_ms = i64::try_from(self.age.as_millis()).unwrap_or(i64::MAX);
            let before_ms = self.clock.unix_ms().saturating_sub(age_ms);
            tx.execute(
                "DELETE FROM inbox WHERE seq < $1 AND seq < $2 AND (seen_ms < $3 OR seq <= $4)",
                params![oldest + CLEAN_ROWS_MAX, newest, before_ms, past],
            )
            .await?;
            Ok(())
        })
    }
}
