//! What the poll does beside looking for work: the lease, old rows, and the count of the sagas that struggle.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use leeward_store::{ReadTx, Tx};

use super::engine::Engine;
use crate::error::Error;
use crate::journal;

/// Old rows are looked for every so many polls: a minute by default.
const PURGE_POLLS: u32 = 60;
/// Old rows removed at a time.
const PURGE_ROWS: i64 = 200;

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
    if engine.polls.fetch_add(1, Ordering::Relaxed).is_multiple_of(PURGE_POLLS)
        && let Err(error) = purge(&engine).await
    {
        tracing::warn!(%error, "old sagas and signals were not removed");
    }
    Kept::Fine
}

/// Removes a page of signals that nobody took and of sagas that ended long ago. Most of the time there are none: a reader sees.
async fn purge(engine: &Engine) -> Result<(), Error> {
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
        return Ok(());
    }
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
    shared.db.write(remove).await
}
