//! The audit log: who did what to whom, written in the transaction of the deed. It holds ids and no personal data.

use leeward_store::{Error, ReadTx, Tx, params};
use serde::Serialize;
use utoipa::ToSchema;

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct AuditLine {
    /// The line's number; grows.
    pub(crate) seq: i64,
    /// When, Unix milliseconds.
    pub(crate) at_ms: i64,
    /// Who: a user's id, or `system`.
    pub(crate) actor: String,
    /// What: for example `role.changed`.
    pub(crate) action: String,
    /// To whom: a user's id or a key's.
    pub(crate) subject: String,
    /// Further words; empty where the action says all.
    pub(crate) detail: String,
}

/// Appends a line.
pub(crate) async fn record(
    tx: &mut Tx,
    at_ms: i64,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &str,
) -> Result<(), Error> {
    let sql = "INSERT INTO audit (at_ms, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)";
    tx.execute(sql, params![at_ms, actor, action, subject, detail]).await?;
    Ok(())
}

/// Up to `limit` lines before `before`, newest first.
pub(crate) async fn page(tx: &mut ReadTx, before: i64, limit: u32) -> Result<Vec<AuditLine>, Error> {
    let sql = "SELECT seq, at_ms, actor, action, subject, detail FROM audit WHERE seq < $1 ORDER BY seq DESC LIMIT $2";
    let rows = tx.query(sql, params![before, limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(AuditLine {
                seq: row.get(0)?,
                at_ms: row.get(1)?,
                actor: row.get(2)?,
                action: row.get(3)?,
                subject: row.get(4)?,
                detail: row.get(5)?,
            })
        })
        .collect()
}
