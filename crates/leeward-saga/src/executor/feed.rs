//! What the engine reads to find work, all in one snapshot.

use std::sync::Arc;

use leeward_store::ReadTx;

use crate::error::Error;
use crate::journal::saga::{DuePlace, Raw};
use crate::journal::{self, signals::Addressed};
use crate::sagas::Shared;

/// What to read. None: not now.
#[derive(Debug, Default)]
pub(super) struct Ask {
    /// Sagas after this number.
    pub(super) fresh: Option<i64>,
    /// Signals after this number.
    pub(super) signals: Option<i64>,
    /// Timers due after this place and by this time.
    pub(super) due: Option<(DuePlace, i64)>,
    /// Sagas after this number that wait for nothing.
    pub(super) sweep: Option<i64>,
    /// Rows of each, at most.
    pub(super) limit: u16,
}

/// What was read. None: not asked, or not readable now.
#[derive(Debug, Default)]
pub(super) struct Fed {
    pub(super) fresh: Option<Vec<Raw>>,
    pub(super) signals: Option<Vec<Addressed>>,
    pub(super) due: Option<Vec<(DuePlace, Arc<str>)>>,
    pub(super) sweep: Option<Vec<(i64, Arc<str>)>>,
    /// The time that `due` was asked for.
    pub(super) now_ms: i64,
    pub(super) limit: usize,
}

pub(super) async fn read(shared: Arc<Shared>, ask: Ask) -> Fed {
    let fed = shared.db.read(async move |tx: &mut ReadTx| read_all(tx, &ask).await).await;
    fed.unwrap_or_else(|error| {
        // The safety poll asks again.
        tracing::warn!(%error, "the sagas cannot be read now");
        Fed::default()
    })
}

async fn read_all(tx: &mut ReadTx, ask: &Ask) -> Result<Fed, Error> {
    let limit = i64::from(ask.limit);
    let mut fed =
        Fed { limit: ask.limit.into(), now_ms: ask.due.map_or(0, |(_, now_ms)| now_ms), ..Fed::default() };
    if let Some(after) = ask.fresh {
        fed.fresh = Some(journal::saga::live_after(tx, after, limit).await?);
    }
    if let Some(after) = ask.signals {
        fed.signals = Some(journal::signals::after(tx, after, limit).await?);
    }
    if let Some((after, now_ms)) = ask.due {
        fed.due = Some(journal::saga::due(tx, after, now_ms, limit).await?);
    }
    if let Some(after) = ask.sweep {
        fed.sweep = Some(journal::saga::idle_after(tx, after, limit).await?);
    }
    Ok(fed)
}
