//! The table of parked events: what failed, and what waits behind it.
//!
//! The oldest row of a key is its head. Only heads are tried, and only a head can be a dead letter; the rows behind it follow in the order
//! in which they came.

use std::collections::HashSet;
use std::sync::Arc;

use leeward_store::{Error, ReadTx, Tx, params};

use super::Core;
use super::handler::Fault;
use super::retry::Fate;
use super::work::Work;

/// Waits behind the head of its key.
pub(crate) const BEHIND: i64 = 0;
/// A head that is tried when it is due.
pub(crate) const RETRY: i64 = 1;
/// A head that waits for somebody.
pub(crate) const DEAD: i64 = 2;

/// Longest reason kept in bytes.
const REASON_BYTES_MAX: usize = 1000;

/// Most parked events of one key tried in one transaction.
const KEY_EVENTS_MAX: u32 = 32;

/// Woken when somebody has changed a group's parked events.
pub(crate) fn topic(group: &str) -> String {
    format!("events.parked.{group}")
}

/// What of a group is parked.
#[derive(Clone, Debug, Default)]
pub(super) struct Parked {
    pub(super) keys: Arc<HashSet<Arc<str>>>,
    pub(super) events: usize,
    pub(super) dead: usize,
    /// When the next head is due.
    pub(super) due_ms: Option<i64>,
}

pub(super) async fn load(tx: &mut ReadTx, group: &str) -> Result<Parked, Error> {
    let sql = "SELECT event_key, COUNT(*) FROM parked WHERE consumer = $1 GROUP BY event_key";
    let mut parked = Parked::default();
    let mut keys = HashSet::new();
    for row in tx.query(sql, params![group]).await? {
        keys.insert(row.get(0)?);
        parked.events += row.get::<usize>(1)?;
    }
    parked.keys = Arc::new(keys);
    let count = "SELECT COUNT(*) FROM parked WHERE consumer = $1 AND state = $2";
    parked.dead = tx.query_one(count, params![group, DEAD]).await?.get(0)?;
    let due = "SELECT MIN(due_ms) FROM parked WHERE consumer = $1 AND state = $2";
    parked.due_ms = tx.query_one(due, params![group, RETRY]).await?.get(0)?;
    Ok(parked)
}

/// Lets the oldest event of every key be tried that has no head, whatever left it so; whether there was one.
pub(super) async fn heal(tx: &mut Tx, group: &str) -> Result<bool, Error> {
    let healed = tx
        .execute(
            "UPDATE parked SET state = $2, due_ms = 0 WHERE state = $3 AND seq IN
             (SELECT MIN(seq) FROM parked WHERE consumer = $1 GROUP BY event_key)",
            params![group, RETRY, BEHIND],
        )
        .await?;
    Ok(healed > 0)
}

/// Parks an event from the bus: at the head of its key with its fault, or behind others without one. That there are others is what the
/// caller remembers; when they are gone meanwhile, it is the head, and due at once.
pub(super) async fn park(tx: &mut Tx, core: &Core, work: &Work, fault: Option<&Fault>) -> Result<(), Error> {
    let now_ms = core.clock.unix_ms();
    let fate = fault.map(|fault| core.redelivery.fate(fault, work.attempts(), now_ms, &*core.rng));
    let (state, due_ms) = row_of(fate.as_ref());
    let attempts = if fault.is_some() { work.attempts() } else { 0 };
    let names = work.names();
    tx.execute(
        "INSERT INTO parked (consumer, event_key, source, event_id, kind, state, attempts, due_ms, parked_ms, reason, body)
         VALUES ($1, $2, $3, $4, $5,
                 CASE WHEN $6 <> $12 OR EXISTS (SELECT 1 FROM parked WHERE consumer = $1 AND event_key = $2) THEN $6 ELSE $13 END,
                 $7, $8, $9, $10, $11)",
        params![
            core.group,
            names.key,
            names.source,
            names.id,
            names.kind,
            state,
            attempts,
            due_ms,
            now_ms,
            reason(fault),
            &work.body[..],
            BEHIND,
            RETRY
        ],
    )
    .await?;
    report(core, &names.id, &names.kind, fault, fate.as_ref());
    Ok(())
}

/// Notes that a head has failed again.
pub(super) async fn failed(
    tx: &mut Tx,
    core: &Core,
    seq: i64,
    work: &Work,
    fault: &Fault,
) -> Result<(), Error> {
    let fate = core.redelivery.fate(fault, work.attempts(), core.clock.unix_ms(), &*core.rng);
    let (state, due_ms) = row_of(Some(&fate));
    tx.execute(
        "UPDATE parked SET state = $2, attempts = $3, due_ms = $4, reason = $5 WHERE seq = $1",
        params![seq, state, work.attempts(), due_ms, reason(Some(fault))],
    )
    .await?;
    let names = work.names();
    report(core, &names.id, &names.kind, Some(fault), Some(&fate));
    Ok(())
}

fn row_of(fate: Option<&Fate>) -> (i64, i64) {
    match fate {
        None => (BEHIND, 0),
        Some(Fate::RetryAt { unix_ms }) => (RETRY, *unix_ms),
        Some(Fate::DeadLetter) => (DEAD, 0),
    }
}

fn reason(fault: Option<&Fault>) -> &str {
    let reason = fault.map_or("", Fault::reason);
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

fn report(core: &Core, id: &str, kind: &str, fault: Option<&Fault>, fate: Option<&Fate>) {
    let Some(fault) = fault else { return };
    let (group, reason) = (&core.group, fault.reason());
    if fate == Some(&Fate::DeadLetter) {
        tracing::warn!(%group, id, kind, reason, "an event is a dead letter; its key waits until it is replayed or dropped");
    } else {
        tracing::debug!(%group, id, kind, reason, "an event failed and will be tried again");
    }
}

pub(super) async fn remove(tx: &mut Tx, seq: i64) -> Result<(), Error> {
    tx.execute("DELETE FROM parked WHERE seq = $1", params![seq]).await.map(drop)
}

/// The key whose head has been due the longest.
pub(super) async fn due_key(tx: &mut ReadTx, group: &str, now_ms: i64) -> Result<Option<Arc<str>>, Error> {
    let sql = "SELECT event_key FROM parked WHERE consumer = $1 AND state = $2 AND due_ms <= $3 ORDER BY due_ms LIMIT 1";
    tx.query_opt(sql, params![group, RETRY, now_ms]).await?.map(|row| row.get(0)).transpose()
}

/// The next parked events of a key, its head first.
pub(super) async fn of_key(tx: &mut ReadTx, group: &str, key: &str) -> Result<Vec<Work>, Error> {
    let sql =
        "SELECT seq, attempts, body FROM parked WHERE consumer = $1 AND event_key = $2 ORDER BY seq LIMIT $3";
    let rows = tx.query(sql, params![group, key, KEY_EVENTS_MAX]).await?;
    rows.iter().map(|row| Ok(Work::parked(row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// Lets the oldest event of a key be tried, when the head before it has gone. A dead letter stays one.
pub(crate) async fn promote(tx: &mut Tx, group: &str, key: &str) -> Result<(), Error> {
    tx.execute(
        "UPDATE parked SET state = $3, due_ms = 0 WHERE state = $4 AND seq =
         (SELECT MIN(seq) FROM parked WHERE consumer = $1 AND event_key = $2)",
        params![group, key, RETRY, BEHIND],
    )
    .await
    .map(drop)
}
