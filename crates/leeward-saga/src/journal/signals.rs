//! Signals: stored when they come, consumed with the step that takes them.

use std::sync::Arc;

use leeward_store::{ReadTx, Row, Tx, params};

use crate::error::Error;
use crate::step::Signal;

/// A stored signal and whom it is for.
#[derive(Clone, Debug)]
pub(crate) struct Addressed {
    pub(crate) seq: i64,
    pub(crate) saga_id: Arc<str>,
    pub(crate) signal: Signal,
}

/// Stores a signal. False: it is stored already.
pub(crate) async fn insert(tx: &mut Tx, saga_id: &str, signal: &Signal) -> Result<bool, Error> {
    let inserted = tx
        .execute(
            "INSERT INTO leeward_saga_signals (saga_id, id, name, payload, received_ms) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (saga_id, id) DO NOTHING",
            params![saga_id, signal.id, signal.name, signal.payload.as_ref(), signal.received_ms],
        )
        .await?;
    Ok(inserted == 1)
}

/// The oldest signal called `name` that a saga has not consumed.
pub(crate) async fn oldest(tx: &mut ReadTx, saga_id: &str, name: &str) -> Result<Option<Signal>, Error> {
    let row = tx
        .query_opt(
            "SELECT seq, saga_id, id, name, payload, received_ms FROM leeward_saga_signals
             WHERE saga_id = $1 AND name = $2 AND consumed_ms IS NULL ORDER BY seq LIMIT 1",
            params![saga_id, name],
        )
        .await?;
    row.map(|row| read(&row).map(|addressed| addressed.signal)).transpose()
}

/// Marks a signal as consumed. False: it was already.
pub(crate) async fn consume(tx: &mut Tx, saga_id: &str, id: &str, now_ms: i64) -> Result<bool, Error> {
    let consumed = tx
        .execute(
            "UPDATE leeward_saga_signals SET consumed_ms = $3 WHERE saga_id = $1 AND id = $2 AND consumed_ms IS NULL",
            params![saga_id, id, now_ms],
        )
        .await?;
    Ok(consumed == 1)
}

/// Forgets what an ended saga consumed; what it never took stays listed.
pub(crate) async fn forget_consumed(tx: &mut Tx, saga_id: &str) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM leeward_saga_signals WHERE saga_id = $1 AND consumed_ms IS NOT NULL",
        params![saga_id],
    )
    .await?;
    Ok(())
}

/// The next signals after `seq` that nobody consumed, oldest first.
pub(crate) async fn after(tx: &mut ReadTx, seq: i64, limit: i64) -> Result<Vec<Addressed>, Error> {
    let rows = tx
        .query(
            "SELECT seq, saga_id, id, name, payload, received_ms FROM leeward_saga_signals
             WHERE seq > $1 AND consumed_ms IS NULL ORDER BY seq LIMIT $2",
            params![seq, limit],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// What an unclaimed signal is joined from: no saga of its id, or one that has ended.
const UNCLAIMED: &str =
    "FROM leeward_saga_signals AS signal LEFT JOIN leeward_sagas AS saga ON saga.id = signal.saga_id
     WHERE signal.consumed_ms IS NULL AND (saga.id IS NULL OR saga.status IN ('completed', 'compensated'))";

/// Signals that no saga took, after `seq`, oldest first.
pub(crate) async fn unclaimed(tx: &mut ReadTx, seq: i64, limit: i64) -> Result<Vec<Addressed>, Error> {
    let sql = format!(
        "SELECT signal.seq, signal.saga_id, signal.id, signal.name, signal.payload, signal.received_ms {UNCLAIMED}
         AND signal.seq > $1 ORDER BY signal.seq LIMIT $2"
    );
    tx.query(&sql, params![seq, limit]).await?.iter().map(read).collect()
}

/// Unclaimed signals that came before `before_ms`, to be dropped.
pub(crate) async fn expired(tx: &mut ReadTx, before_ms: i64, limit: i64) -> Result<Vec<i64>, Error> {
    let sql =
        format!("SELECT signal.seq {UNCLAIMED} AND signal.received_ms < $1 ORDER BY signal.seq LIMIT $2");
    let rows = tx.query(&sql, params![before_ms, limit]).await?;
    rows.iter().map(|row| Ok(row.get(0)?)).collect()
}

pub(crate) async fn delete(tx: &mut Tx, seq: i64) -> Result<(), Error> {
    tx.execute("DELETE FROM leeward_saga_signals WHERE seq = $1", params![seq]).await?;
    Ok(())
}

/// The signals of a saga, oldest first, and whether each was consumed.
pub(crate) async fn of(tx: &mut ReadTx, saga_id: &str, limit: i64) -> Result<Vec<(Signal, bool)>, Error> {
    let rows = tx
        .query(
            "SELECT seq, saga_id, id, name, payload, received_ms, consumed_ms FROM leeward_saga_signals
             WHERE saga_id = $1 ORDER BY seq LIMIT $2",
            params![saga_id, limit],
        )
        .await?;
    rows.iter().map(|row| Ok((read(row)?.signal, row.get::<Option<i64>>(6)?.is_some()))).collect()
}

fn read(row: &Row) -> Result<Addressed, Error> {
    Ok(Addressed {
        seq: row.get(0)?,
        saga_id: row.get(1)?,
        signal: Signal { id: row.get(2)?, name: row.get(3)?, payload: row.get(4)?, received_ms: row.get(5)? },
    })
}
