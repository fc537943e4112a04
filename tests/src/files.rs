//! The databases as files: what stands in them, whoever else has them open.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

/// Opens the database of a service to look at it. It changes nothing.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn open(data: &Path, name: &str) -> Connection {
    let path = data.join(format!("{name}.db"));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&path, flags)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // A writer that resets its log holds readers up for a moment.
    conn.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    conn
}

/// All rows of a query.
pub fn rows<T>(conn: &Connection, sql: &str, read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
    let mut statement = conn.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows = statement.query_map([], read).unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// The one number that a query gives.
#[must_use]
pub fn number(conn: &Connection, sql: &str) -> i64 {
    rows(conn, sql, |row| row.get(0)).first().copied().unwrap_or_default()
}

/// What a service still has to do, if anything.
#[must_use]
pub fn restless(data: &Path, name: &str) -> Option<String> {
    let conn = open(data, name);
    let parked = rows(&conn, "SELECT consumer || ' ' || kind || ': ' || reason FROM parked LIMIT 1", |row| {
        row.get::<_, String>(0)
    });
    if let Some(parked) = parked.first() {
        return Some(format!("{name} could not handle an event: {parked}"));
    }
    let unrelayed = "SELECT COUNT(*) FROM outbox WHERE seq > (SELECT COALESCE(MAX(seq), 0) FROM outbox_mark)";
    if number(&conn, unrelayed) > 0 {
        return Some(format!("events wait in the outbox of {name}"));
    }
    let unannounced = "SELECT COUNT(*) FROM stock WHERE version > announced";
    if name == "inventory" && number(&conn, unannounced) > 0 {
        return Some("the inventory has levels to announce".to_owned());
    }
    None
}

/// How many sagas of the checkout stand at which step, whoever is dead or alive.
#[must_use]
pub fn sagas_by_step(data: &Path) -> std::collections::BTreeMap<String, u64> {
    let sql = "SELECT COALESCE(step, '-'), COUNT(*) FROM leeward_sagas WHERE saga = 'checkout' AND live = 1 GROUP BY step";
    let rows = rows(&open(data, "orders"), sql, |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)));
    rows.into_iter().map(|(step, count)| (step, u64::try_from(count).unwrap_or(0))).collect()
}
