//! Wrong passwords in the database, by the hash of the address that was tried, whether there is such an account or not: an
//! address without an account is answered just as one with it.

use leeward_store::{Error, ReadTx, Tx, params};

use crate::throttle::{FORGET_AFTER, Throttle};
use crate::tokens::sha256;

/// Forgotten rows taken out with each new failure: more than it adds, so that the table cannot grow without end.
const CLEANUP_ROWS: i64 = 4;

/// The key of an address, which is normalised already.
pub(crate) fn key(email: &str) -> Vec<u8> {
    sha256(email.as_bytes())
}

/// What is remembered of an address.
pub(crate) async fn find(tx: &mut ReadTx, key: &[u8]) -> Result<Throttle, Error> {
    let sql = "SELECT failures, last_ms FROM login_failures WHERE email_hash = $1";
    let Some(row) = tx.query_opt(sql, params![key]).await? else { return Ok(Throttle::default()) };
    Ok(Throttle { failures: row.get(0)?, last_ms: row.get(1)? })
}

/// Remembers one more wrong password.
pub(crate) async fn add(tx: &mut Tx, key: &[u8], before: Throttle, now_ms: i64) -> Result<(), Error> {
    let Throttle { failures, last_ms } = before.failed(now_ms);
    let sql = "INSERT INTO login_failures (email_hash, failures, last_ms) VALUES ($1, $2, $3)
        ON CONFLICT (email_hash) DO UPDATE SET failures = excluded.failures, last_ms = excluded.last_ms";
    tx.execute(sql, params![key, failures, last_ms]).await?;
    let forgotten = now_ms - i64::try_from(FORGET_AFTER.as_millis()).unwrap_or(i64::MAX);
    let sql = "DELETE FROM login_failures WHERE email_hash IN
        (SELECT email_hash FROM login_failures WHERE last_ms < $1 ORDER BY last_ms LIMIT $2)";
    tx.execute(sql, params![forgotten, CLEANUP_ROWS]).await?;
    Ok(())
}

/// Forgets the wrong passwords of an address.
pub(crate) async fn forget(tx: &mut Tx, key: &[u8]) -> Result<(), Error> {
    tx.execute("DELETE FROM login_failures WHERE email_hash = $1", params![key]).await?;
    Ok(())
}
