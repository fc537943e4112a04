//! The file's tables, and reading from them.

use std::sync::Arc;

use bytes::Bytes;
use leeward_store::{Db, Migration, Row, params};

use crate::bus::error::Error;
use crate::bus::message::{Delivery, Position};
use crate::pattern::Patterns;

/// Most and fewest rows read at a time by a subscriber that is behind the tail: twice what it asks for, since some may not match.
const ROWS_MAX: usize = 512;
const ROWS_MIN: usize = 64;

/// `bus_log` is never emptied to its last row by hand: `bus_state.head` says which position comes next, so that none is given twice.
pub(super) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "log and groups",
    sqlite: "CREATE TABLE bus_log (position INTEGER PRIMARY KEY, kind TEXT NOT NULL, body BLOB NOT NULL) STRICT;
             CREATE TABLE bus_state (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), bus_id TEXT NOT NULL,
                 head INTEGER NOT NULL, floor INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
             CREATE TABLE bus_group (name TEXT PRIMARY KEY, acknowledged INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
    postgres: "CREATE TABLE bus_log (position BIGINT PRIMARY KEY, kind TEXT NOT NULL, body BYTEA NOT NULL);
               CREATE TABLE bus_state (only_row BIGINT PRIMARY KEY CHECK (only_row = 1), bus_id TEXT NOT NULL,
                   head BIGINT NOT NULL, floor BIGINT NOT NULL, bytes BIGINT NOT NULL);
               CREATE TABLE bus_group (name TEXT PRIMARY KEY, acknowledged BIGINT NOT NULL);",
}];

/// What the file knew when it was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) bus_id: Arc<str>,
    pub(super) head: Position,
    pub(super) groups: Vec<(Arc<str>, Position)>,
}

/// Reads the state; a new file gets `fresh_id`.
pub(super) async fn load(db: &Db, fresh_id: Arc<str>) -> Result<Opened, Error> {
    db.write(async move |tx| {
        tx.execute(
            "INSERT INTO bus_state (only_row, bus_id, head, floor, bytes) VALUES (1, $1, 0, 0, 0)
             ON CONFLICT (only_row) DO NOTHING",
            params![fresh_id],
        )
        .await?;
        let state = tx.query_one("SELECT bus_id, head FROM bus_state", params![]).await?;
        let rows = tx.query("SELECT name, acknowledged FROM bus_group", params![]).await?;
        let head = Position::new(state.get(1)?);
        // Nothing past the head can be done, whatever the row says.
        let group = |row: &Row| Ok((row.get(0)?, Position::new(row.get(1)?).min(head)));
        let groups = rows.iter().map(group).collect::<Result<_, leeward_store::Error>>()?;
        Ok(Opened { bus_id: state.get(0)?, head, groups })
    })
    .await
}

/// The next events after a position that the tail no longer holds: what matches, and how far it looked. None when the log has
/// nothing after it.
pub(in crate::bus) async fn older(
    db: &Db,
    after: Position,
    patterns: &Patterns,
    events_max: usize,
) -> Result<Option<(Vec<Delivery>, Position)>, Error> {
    let rows_max = u32::try_from(events_max.saturating_mul(2).clamp(ROWS_MIN, ROWS_MAX)).unwrap_or(u32::MAX);
    let patterns = patterns.clone();
    db.read(async move |tx| {
        let sql = "SELECT position, kind, body FROM bus_log WHERE position > $1 ORDER BY position LIMIT $2";
        let rows = tx.query(sql, params![after.get(), rows_max]).await?;
        let mut deliveries = Vec::new();
        let mut through = None;
        for row in &rows {
            if deliveries.len() >= events_max {
                break;
            }
            let position = Position::new(row.get(0)?);
            through = Some(position);
            if patterns.matches(row.get::<&str>(1)?) {
                deliveries.push(Delivery { position, body: Bytes::copy_from_slice(row.get(2)?) });
            }
        }
        Ok(through.map(|through| (deliveries, through)))
    })
    .await
}
