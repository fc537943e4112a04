//! Where events stand: how far each group is, what is set aside, and what became of one event.

use leeward_store::{Db, ReadTx, Row, params};
use serde::Serialize;

use crate::bus::{self, Bus, GroupLag};
use crate::consumer::parking::DEAD;

/// Most groups, and most lines of one kind, in an answer.
const LINES_MAX: u32 = 500;

/// A group whose consumer is in this database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupStatus {
    /// The group.
    pub group: String,
    /// How far it is on the bus; none when the bus does not know it.
    pub lag: Option<GroupLag>,
    /// Events set aside, dead letters among them.
    pub parked: u64,
    /// Dead letters.
    pub dead: u64,
    /// When the oldest of them failed first, in milliseconds since 1970.
    pub oldest_parked_ms: Option<i64>,
}

/// Why the status is not known.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bus did not answer.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] leeward_store::Error),
}

/// The groups whose consumers are in `db`, with how far each is on `bus`.
///
/// # Errors
/// [`Error`].
pub async fn groups(db: &Db, bus: &Bus) -> Result<Vec<GroupStatus>, Error> {
    let lags = bus.lag().await?;
    let rows = db
        .read(async move |tx| {
            let sql =
                "SELECT c.consumer, COUNT(p.seq), COUNT(CASE WHEN p.state = $1 THEN 1 END), MIN(p.parked_ms)
                FROM consumer_position c LEFT JOIN parked p ON p.consumer = c.consumer
                GROUP BY c.consumer ORDER BY c.consumer LIMIT $2";
            tx.query(sql, params![DEAD, LINES_MAX]).await
        })
        .await?;
    let status = |row: &Row| {
        let group: String = row.get(0)?;
        let lag = lags.iter().find(|lag| *lag.group == *group).cloned();
        Ok(GroupStatus { group, lag, parked: row.get(1)?, dead: row.get(2)?, oldest_parked_ms: row.get(3)? })
    };
    rows.iter().map(status).collect()
}

/// What one database knows of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Trail {
    /// It was appended here.
    pub appended: Option<Appended>,
    /// Groups here that have handled it.
    pub handled: Vec<Handled>,
    /// Groups here that have set it aside.
    pub parked: Vec<SetAside>,
}

/// An event in the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Appended {
    /// Its place in the log.
    pub seq: i64,
    /// When it happened, in milliseconds since 1970.
    pub at_ms: i64,
    /// Its kind.
    pub kind: String,
    /// Whether the relay has marked it as published; a moment after it was.
    pub relayed: bool,
}

/// An event in the inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Handled {
    /// The group.
    pub group: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// An event in the table of parked ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// The group.
    pub group: String,
    /// Whether it is a dead letter.
    pub dead: bool,
    /// How often it was tried; 0 when it waits behind another of its key.
    pub attempts: u32,
    /// Why it failed last.
    pub reason: String,
}

/// What this database knows of the event with an id. It looks through the whole log: for people, not for programs in a loop.
///
/// # Errors
/// What the database reports.
pub async fn why(tx: &mut ReadTx, event_id: &str) -> Result<Trail, leeward_store::Error> {
    let appended =
        "SELECT o.seq, o.created_ms, o.kind, EXISTS (SELECT 1 FROM outbox_mark m WHERE m.seq >= o.seq)
        FROM outbox o WHERE o.id = $1 LIMIT 1";
    let handled = "SELECT consumer, seen_ms FROM inbox WHERE event_id = $1 ORDER BY seq LIMIT $2";
    let parked =
        "SELECT consumer, state = $3, attempts, reason FROM parked WHERE event_id = $1 ORDER BY seq LIMIT $2";
    let appended = tx.query_opt(appended, params![event_id]).await?.map(|row| {
        Ok(Appended { seq: row.get(0)?, at_ms: row.get(1)?, kind: row.get(2)?, relayed: row.get(3)? })
    });
    let handled = tx.query(handled, params![event_id, LINES_MAX]).await?;
    let parked = tx.query(parked, params![event_id, LINES_MAX, DEAD]).await?;
    Ok(Trail {
        appended: appended.transpose()?,
        handled: handled
            .iter()
            .map(|row| Ok(Handled { group: row.get(0)?, at_ms: row.get(1)? }))
            .collect::<Result<_, leeward_store::Error>>()?,
        parked: parked
            .iter()
            .map(|row| {
                let (group, dead) = (row.get(0)?, row.get(1)?);
                Ok(SetAside { group, dead, attempts: row.get(2)?, reason: row.get(3)? })
            })
            .collect::<Result<_, leeward_store::Error>>()?,
    })
}
