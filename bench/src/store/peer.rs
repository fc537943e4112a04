//! The naive peer: one connection behind a mutex, one commit a transaction, on the runtime's blocking
//! threads.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::{INSERT, Load, NOTE, Sample, TABLE, WARM_UP};

pub(super) async fn measure(path: &Path, callers: usize, seconds: f64) -> Result<Sample, String> {
    let conn = Arc::new(std::sync::Mutex::new(open(path).map_err(|error| error.to_string())?));
    let shared = Arc::clone(&conn);
    let load = Load::start(callers, move || {
        let shared = Arc::clone(&shared);
        async move {
            tokio::task::spawn_blocking(move || {
                let conn = shared.lock().map_err(|error| error.to_string())?;
                insert(&conn).map_err(|error| error.to_string())
            })
            .await
            .map_err(|error| error.to_string())?
        }
    });
    tokio::time::sleep(WARM_UP).await;
    let clock = load.begin();
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let measured = load.end(clock).await?;
    let conn = conn.lock().map_err(|error| error.to_string())?;
    let rows = conn.query_row("SELECT count(*) FROM entries", [], |row| row.get::<_, i64>(0));
    measured.expect_rows(u64::try_from(rows.map_err(|error| error.to_string())?).unwrap_or(0))?;
    // One commit, one sync a transaction, besides the checkpoints.
    let transactions = measured.latency_ns.len();
    Ok(measured.sample(transactions, transactions))
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open(path)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.execute_batch(TABLE)?;
    Ok(conn)
}

fn insert(conn: &Connection) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(INSERT)?;
    statement.execute(("0192f0c1-8a7b-7c3d-9e4f-0123456789ab", 4_999_i64, NOTE))?;
    Ok(())
}
