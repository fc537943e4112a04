//! Sessions: one login, and the chain of refresh tokens that keeps it alive.
//!
//! A refresh token is good once. A second use means that two parties hold it, so the whole session ends (RFC 9700,
//! section 4.14.2). Only hashes are stored.

use leeward_store::{Error, Tx, params};

/// Expired rows taken out with each new token: more than each adds, so that the table cannot grow without end.
const CLEANUP_ROWS: i64 = 4;

/// Access tokens that are revoked one by one when a session ends. A client that refreshes once per access token has at
/// most two that live; where there are more, all tokens of the user are revoked at once instead.
pub(crate) const REVOKED_MAX: usize = 16;

/// One refresh token as it is stored.
#[derive(Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) refresh_hash: &'a [u8],
    pub(crate) session_id: &'a str,
    pub(crate) user_id: &'a str,
    /// The `jti` of the access token that goes out with it.
    pub(crate) access_id: &'a str,
    pub(crate) access_ends_at_ms: i64,
    pub(crate) expires_at_ms: i64,
}

/// What became of a refresh token that was presented.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Redeemed {
    /// It was good, and is used now.
    Good { session_id: String, user_id: String },
    /// It was used before: the session is over, and with it these access tokens.
    Reused { user_id: String, access_ids: Vec<String> },
    /// Never issued, or expired.
    Unknown,
}

/// Stores a new refresh token.
pub(crate) async fn insert(tx: &mut Tx, token: Stored<'_>, now_ms: i64) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO sessions (refresh_hash, session_id, user_id, access_id, access_ends_at_ms, expires_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            token.refresh_hash,
            token.session_id,
            token.user_id,
            token.access_id,
            token.access_ends_at_ms,
            token.expires_at_ms
        ],
    )
    .await?;
    tx.execute(
        "DELETE FROM sessions WHERE refresh_hash IN
         (SELECT refresh_hash FROM sessions WHERE expires_at_ms < $1 ORDER BY expires_at_ms LIMIT $2)",
        params![now_ms, CLEANUP_ROWS],
    )
    .await?;
    Ok(())
}

/// Uses a refresh token up.
pub(crate) async fn redeem(tx: &mut Tx, hash: &[u8], now_ms: i64) -> Result<Redeemed, Error> {
    let sql = "SELECT session_id, user_id, used FROM sessions WHERE refresh_hash = $1 AND expires_at_ms > $2";
    let Some(row) = tx.query_opt(sql, params![hash, now_ms]).await? else { return Ok(Redeemed::Unknown) };
    let (session_id, user_id): (String, String) = (row.get(0)?, row.get(1)?);
    if row.get(2)? {
        let access_ids = end(tx, &session_id, now_ms).await?;
        return Ok(Redeemed::Reused { user_id, access_ids });
    }
    tx.execute("UPDATE sessions SET used = 1 WHERE refresh_hash = $1", params![hash]).await?;
    Ok(Redeemed::Good { session_id, user_id })
}

/// The session and the user of a refresh token, used or not.
pub(crate) async fn find(tx: &mut Tx, hash: &[u8]) -> Result<Option<(String, String)>, Error> {
    let row = tx
        .query_opt("SELECT session_id, user_id FROM sessions WHERE refresh_hash = $1", params![hash])
        .await?;
    row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Ends a session; gives the ids of its access tokens that still live, at most one more than [`REVOKED_MAX`].
pub(crate) async fn end(tx: &mut Tx, session_id: &str, now_ms: i64) -> Result<Vec<String>, Error> {
    let sql = "SELECT access_id FROM sessions WHERE session_id = $1 AND access_ends_at_ms > $2 LIMIT $3";
    let most = i64::try_from(REVOKED_MAX).unwrap_or(i64::MAX).saturating_add(1);
    let alive = tx.query(sql, params![session_id, now_ms, most]).await?;
    tx.execute("DELETE FROM sessions WHERE session_id = $1", params![session_id]).await?;
    alive.iter().map(|row| row.get(0)).collect()
}

/// Ends all sessions of a user.
pub(crate) async fn end_all(tx: &mut Tx, user_id: &str) -> Result<(), Error> {
    tx.execute("DELETE FROM sessions WHERE user_id = $1", params![user_id]).await?;
    Ok(())
}
