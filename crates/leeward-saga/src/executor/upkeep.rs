//! What the poll does beside looking for work: the lease, old rows, and the count of the sagas that struggle.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use leeward_store::{ReadTx, Tx};

use super::engine::Engine;
use crate::error::Error;
use crate::journal;

/// Old rows are looked for every so many polls, a minute by default; while there are more, at every poll.
const PURGE_POLLS: u32 = 60;
/// Old rows removed in one transaction: at some 10 us each the writer's other callers wait 2 ms.
const PURGE_ROWS: i64 = 200;
/// Transactions of old rows at a poll: with the default poll 2,000 rows a second, four times what the orders of a busy shop leave.
const PURGE_PAGES: u32 = 10;

/// Whether the engine may go on.
#[derive(Debug)]
pub(super) enum Kept {
    Fine,
    Fenced,
}

impl Kept {
    pub(super) const fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced)
    }
}

pub(super) async fn keep(engine: Arc<Engine>) -> Kept {
    match engine.keep_lease().await {
        Ok(true) => {}
        Ok(false) => return Kept::Fenced,
        Err(error) => tracing::warn!(%error, "the lease on the sagas was not renewed"),
    }
    let is_time = engine.polls.fetch_add(1, Ordering::Relaxed).is_multiple_of(PURGE_POLLS);
    if is_time || engine.purges_on.load(Ordering::Relaxed) {
        let purged = purge_pages(&engine).await;
        engine.purges_on.store(matches!(purged, Ok(true)), Ordering::Relaxed);
        if let Err(error) = purged {
            tracing::warn!(%error, "old sagas and signals were not removed");
        }
    }
    Kept::Fine
}

/// Whether some are left.
async fn purge_pages(engine: &Engine) -> Result<bool, Error> {
    for _ in 0..PURGE_PAGES {
        if !purge(engine).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes a page of signals that nobody took and of sagas that ended long ago; whether the page was full. Most of the time there are
/// none: a reader sees.
async fn purge(engine: &Engine) -> Result<bool, Error> {
    let shared = &engine.shared;
    let now_ms = shared.clock.unix_ms();
    let before =
        |ttl: std::time::Duration| now_ms.saturating_sub(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    let (signals_before, ended_before) =
        (before(shared.options.signal_ttl), before(shared.options.ended_ttl));
    let (signals, sagas, struggling) = shared
        .db
        .read(async move |tx: &mut ReadTx| -> Result<_, Error> {
            let signals = journal::signals::expired(tx, signals_before, PURGE_ROWS).await?;
            let sagas = journal::saga::ended_before(tx, ended_before, PURGE_ROWS).await?;
            Ok((signals, sagas, journal::saga::struggling(tx).await?))
        })
        .await?;
    for saga in shared.definitions.read().keys() {
        let count = struggling.iter().find(|(name, _)| name == saga).map_or(0, |(_, count)| *count);
        shared.metrics.struggling.with([saga]).set(count);
    }
    if signals.is_empty() && sagas.is_empty() {
        return Ok(false);
    }
    let page = usize::try_from(PURGE_ROWS).unwrap_or(usize::MAX);
    let is_full = signals.len() >= page || sagas.len() >= page;
    tracing::debug!(signals = signals.len(), sagas = sagas.len(), "removing what is past its time");
    let remove = async move |tx: &mut Tx| -> Result<(), Error> {
        for seq in signals {
            journal::signals::delete(tx, seq).await?;
        }
        for id in sagas {
            journal::saga::delete(tx, &id).await?;
        }
        Ok(())
    };
    shared.db.write(remove).await?;
    Ok(is_full)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use leeward_resilience::{FastRng, ManualClock};
    use leeward_store::{Db, params};

    use super::*;
    use crate::executor::engine;
    use crate::{Options, Sagas};

    /// As many ended sagas as rows, from the beginning of time.
    async fn ended(db: &Db, rows: i64) {
        let insert = async move |tx: &mut Tx| -> Result<(), leeward_store::Error> {
            for number in 0..rows {
                let sql = "INSERT INTO leeward_sagas (id, saga, fingerprint, status, live, refused, attempt, progress, state,
                               correlation, epoch, version, created_ms, updated_ms, history)
                           VALUES ($1, 's', '', 'completed', 0, 0, 1, '', '', '', 0, 1, 0, 0, '')";
                tx.execute(sql, params![number.to_string()]).await?;
            }
            Ok(())
        };
        db.write(insert).await.unwrap();
    }

    #[tokio::test]
    async fn one_look_removes_many_pages_and_the_next_goes_on() {
        let db = Db::open("sqlite::memory:", leeward_store::Options::default()).await.unwrap();
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(60 * 24 * 3600));
        let sagas = Sagas::new(db.clone(), Arc::new(clock), Arc::new(FastRng::seeded(1)), Options::default());
        sagas.migrate().await.unwrap();
        let rows = PURGE_ROWS * i64::from(PURGE_PAGES);
        ended(&db, rows + PURGE_ROWS / 2).await;
        let engine = Arc::new(engine::take_over(&sagas.shared).await.unwrap());
        let left = async || {
            let sql = "SELECT COUNT(*) FROM leeward_sagas";
            let read = async move |tx: &mut ReadTx| tx.query_one(sql, params![]).await?.get::<i64>(0);
            db.read(read).await.unwrap()
        };
        assert!(!keep(engine.clone()).await.is_fenced());
        assert_eq!(left().await, PURGE_ROWS / 2);
        assert!(!keep(engine).await.is_fenced());
        assert_eq!(left().await, 0, "not a minute later: at the next poll");
    }
}
