//! The sagas' own rows.

use std::sync::Arc;

use leeward_store::{ReadTx, Row, Tx, params};

use crate::error::Error;
use crate::metrics::STRUGGLING_ATTEMPTS;

/// A saga's row as the engine reads it, not yet understood.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) seq: i64,
    pub(crate) id: Arc<str>,
    pub(crate) saga: String,
    pub(crate) fingerprint: String,
    pub(crate) progress: String,
    pub(crate) state: String,
    pub(crate) correlation: String,
    pub(crate) epoch: i64,
    pub(crate) version: i64,
    pub(crate) created_ms: i64,
}

/// What a new row holds beside its defaults.
#[derive(Debug)]
pub(crate) struct New<'a> {
    pub(crate) id: &'a str,
    pub(crate) saga: &'a str,
    pub(crate) fingerprint: &'a str,
    pub(crate) step: Option<&'a str>,
    pub(crate) progress: &'a str,
    pub(crate) state: &'a str,
    pub(crate) correlation: &'a str,
    pub(crate) history: &'a str,
    pub(crate) now_ms: i64,
}

/// What a write changes.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) seq: i64,
    /// The version that the writer has seen.
    pub(crate) version: i64,
    /// None leaves the epoch as it is: an operator's change.
    pub(crate) epoch: Option<i64>,
    pub(crate) fingerprint: &'a str,
    pub(crate) status: &'a str,
    pub(crate) live: bool,
    pub(crate) step: Option<&'a str>,
    pub(crate) attempt: u32,
    pub(crate) due_ms: Option<i64>,
    pub(crate) progress: &'a str,
    pub(crate) state: &'a str,
    pub(crate) note: Option<&'a str>,
    /// What is added to the history.
    pub(crate) history: &'a str,
    pub(crate) now_ms: i64,
}

/// What [`read`] reads, in its order.
pub(super) const COLUMNS: &str =
    "seq, id, saga, fingerprint, progress, state, correlation, epoch, version, created_ms";

/// Inserts a saga. False: there is one of this id.
pub(crate) async fn insert(tx: &mut Tx, new: &New<'_>) -> Result<bool, Error> {
    let inserted = tx
        .execute(
            "INSERT INTO leeward_sagas (id, saga, fingerprint, status, live, refused, step, attempt, progress, state, correlation,
                                        epoch, version, created_ms, updated_ms, history)
             VALUES ($1, $2, $3, 'running', 1, 0, $4, 1, $5, $6, $7, 0, 1, $8, $8, $9)
             ON CONFLICT (id) DO NOTHING",
            params![
                new.id,
                new.saga,
                new.fingerprint,
                new.step,
                new.progress,
                new.state,
                new.correlation,
                new.now_ms,
                new.history
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Writes a change. False: the row has another version, or a newer epoch wrote it.
pub(crate) async fn update(tx: &mut Tx, change: &Change<'_>) -> Result<bool, Error> {
    let updated = tx
        .execute(
            "UPDATE leeward_sagas SET fingerprint = $4, status = $5, live = $6, refused = 0, step = $7, attempt = $8, due_ms = $9,
                    progress = $10, state = $11, note = $12, epoch = COALESCE($3, epoch), version = version + 1, updated_ms = $13,
                    history = history || $14
             WHERE seq = $1 AND version = $2 AND epoch <= COALESCE($3, epoch)",
            params![
                change.seq,
                change.version,
                change.epoch,
                change.fingerprint,
                change.status,
                change.live,
                change.step,
                change.attempt,
                change.due_ms,
                change.progress,
                change.state,
                change.note,
                change.now_ms,
                change.history
            ],
        )
        .await?;
    Ok(updated == 1)
}

/// Marks a saga as refused, with its progress untouched, so that a binary that understands it can go on.
pub(crate) async fn refuse(tx: &mut Tx, seq: i64, note: &str, now_ms: i64) -> Result<(), Error> {
    tx.execute(
        "UPDATE leeward_sagas SET refused = 1, live = 0, note = $2, updated_ms = $3 WHERE seq = $1 AND refused = 0",
        params![seq, note, now_ms],
    )
    .await?;
    Ok(())
}

/// Gives the refused sagas another look, when an engine starts. Gives their number.
pub(crate) async fn reconsider(tx: &mut Tx) -> Result<u64, Error> {
    Ok(tx.execute("UPDATE leeward_sagas SET refused = 0, live = 1 WHERE refused = 1", params![]).await?)
}

/// The highest number given to a saga so far.
pub(crate) async fn last_seq(tx: &mut ReadTx) -> Result<i64, Error> {
    let row = tx.query_one("SELECT COALESCE(MAX(seq), 0) FROM leeward_sagas", params![]).await?;
    Ok(row.get(0)?)
}

/// The next live sagas after `seq`, oldest first.
pub(crate) async fn live_after(tx: &mut ReadTx, seq: i64, limit: i64) -> Result<Vec<Raw>, Error> {
    let sql =
        format!("SELECT {COLUMNS} FROM leeward_sagas WHERE live = 1 AND seq > $1 ORDER BY seq LIMIT $2");
    tx.query(&sql, params![seq, limit]).await?.iter().map(read).collect()
}

/// A place in the order of timers: when, then which saga.
pub(crate) type DuePlace = (i64, i64);

/// Live sagas whose timer is due after a place, the longest due first.
pub(crate) async fn due(
    tx: &mut ReadTx,
    after: DuePlace,
    now_ms: i64,
    limit: i64,
) -> Result<Vec<(DuePlace, Arc<str>)>, Error> {
    let rows = tx
        .query(
            "SELECT due_ms, seq, id FROM leeward_sagas WHERE live = 1 AND due_ms IS NOT NULL AND due_ms <= $3
             AND (due_ms, seq) > ($1, $2) ORDER BY due_ms, seq LIMIT $4",
            params![after.0, after.1, now_ms, limit],
        )
        .await?;
    rows.iter().map(|row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).collect()
}

/// The next live sagas after `seq` that wait for nothing: `(seq, id)`.
pub(crate) async fn idle_after(tx: &mut ReadTx, seq: i64, limit: i64) -> Result<Vec<(i64, Arc<str>)>, Error> {
    let rows = tx
        .query(
            "SELECT seq, id FROM leeward_sagas WHERE live = 1 AND seq > $1 AND due_ms IS NULL ORDER BY seq LIMIT $2",
            params![seq, limit],
        )
        .await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// A live saga by its id.
pub(crate) async fn live(tx: &mut ReadTx, id: &str) -> Result<Option<Raw>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM leeward_sagas WHERE id = $1 AND live = 1");
    tx.query_opt(&sql, params![id]).await?.as_ref().map(read).transpose()
}

/// A saga by its id.
pub(crate) async fn by_id(tx: &mut ReadTx, id: &str) -> Result<Option<Raw>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM leeward_sagas WHERE id = $1");
    tx.query_opt(&sql, params![id]).await?.as_ref().map(read).transpose()
}

/// How many live sagas' current step has failed often, by definition.
pub(crate) async fn struggling(tx: &mut ReadTx) -> Result<Vec<(String, i64)>, Error> {
    let rows = tx
        .query(
            "SELECT saga, COUNT(*) FROM leeward_sagas
             WHERE live = 1 AND due_ms IS NOT NULL AND attempt > $1 GROUP BY saga",
            params![STRUGGLING_ATTEMPTS],
        )
        .await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Ended sagas last touched before `before_ms`.
pub(crate) async fn ended_before(
    tx: &mut ReadTx,
    before_ms: i64,
    limit: i64,
) -> Result<Vec<Arc<str>>, Error> {
    let rows = tx
        .query(
            "SELECT id FROM leeward_sagas WHERE status IN ('completed', 'compensated') AND updated_ms < $1
             ORDER BY updated_ms LIMIT $2",
            params![before_ms, limit],
        )
        .await?;
    rows.iter().map(|row| Ok(row.get(0)?)).collect()
}

/// Forgets an ended saga.
pub(crate) async fn delete(tx: &mut Tx, id: &str) -> Result<(), Error> {
    tx.execute("DELETE FROM leeward_sagas WHERE id = $1", params![id]).await?;
    Ok(())
}

pub(super) fn read(row: &Row) -> Result<Raw, Error> {
    Ok(Raw {
        seq: row.get(0)?,
        id: row.get(1)?,
        saga: row.get(2)?,
        fingerprint: row.get(3)?,
        progress: row.get(4)?,
        state: row.get(5)?,
        correlation: row.get(6)?,
        epoch: row.get(7)?,
        version: row.get(8)?,
        created_ms: row.get(9)?,
    })
}
