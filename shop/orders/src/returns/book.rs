//! The returns' rows.

use leeward_store::{ReadTx, Row, Tx, params};
use shop_contracts::UserId;
use shop_contracts::inventory::StockLine;
use shop_contracts::returns::{OverdueReturn, Return, ReturnStatus};

use super::status::{Event, Step, next};
use crate::{Error, book};

/// Returns of one order that are looked at: each has at least one of its things.
const OF_ORDER_MAX: i64 = 5_000;

const COLUMNS: &str = "id, order_id, status, lines, refund_minor, currency, reason, refusal, requested_at_ms, due_at_ms, \
     updated_at_ms, user_id";

/// Writes a new return.
pub(crate) async fn insert(tx: &mut Tx, entry: &Return, user_id: &UserId) -> Result<(), Error> {
    let lines =
        serde_json::to_string(&entry.lines).map_err(|_| Error::foreign("lines", "what is no JSON"))?;
    tx.execute(
        "INSERT INTO returns (id, order_id, user_id, status, lines, refund_minor, currency, reason, requested_at_ms,
             due_at_ms, updated_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $9)",
        params![
            entry.return_id.as_str(),
            entry.order_id.as_str(),
            user_id.as_str(),
            entry.status.as_str(),
            lines,
            entry.refund.amount_minor,
            entry.refund.currency.as_str(),
            entry.reason,
            entry.requested_at_ms,
            entry.due_at_ms
        ],
    )
    .await?;
    Ok(())
}

/// What is in returns of the order already, those that came to nothing left out.
pub(crate) async fn lines_of_order(tx: &mut ReadTx, order_id: &str) -> Result<Vec<StockLine>, Error> {
    let rows = tx
        .query(
            "SELECT lines FROM returns WHERE order_id = $1 AND status <> 'refused' ORDER BY id LIMIT $2",
            params![order_id, OF_ORDER_MAX],
        )
        .await?;
    let mut lines = Vec::new();
    for row in &rows {
        lines.extend(book::json::<Vec<StockLine>>(row.get(0)?, "lines")?);
    }
    Ok(lines)
}

/// The return, if it is this customer's.
pub(crate) async fn find(tx: &mut ReadTx, return_id: &str, user_id: &str) -> Result<Option<Return>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM returns WHERE id = $1 AND user_id = $2");
    tx.query_opt(&sql, params![return_id, user_id]).await?.as_ref().map(read).transpose()
}

/// The customer's returns before the id `before`, newest first, at most `limit`.
pub(crate) async fn list(
    tx: &mut ReadTx,
    user_id: &str,
    before: &str,
    limit: u32,
) -> Result<Vec<Return>, Error> {
    let sql =
        format!("SELECT {COLUMNS} FROM returns WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    tx.query(&sql, params![user_id, before, limit]).await?.iter().map(read).collect()
}

/// Returns that should have ended before `now_ms`, the oldest first, from the id `after` among those due at the same
/// time, at most `limit`.
pub(crate) async fn overdue(
    tx: &mut ReadTx,
    now_ms: i64,
    (after_due_ms, after_id): (i64, &str),
    limit: u32,
) -> Result<Vec<OverdueReturn>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM returns
         WHERE status NOT IN ('completed', 'refused') AND due_at_ms < $1 AND (due_at_ms, id) > ($2, $3)
         ORDER BY due_at_ms, id LIMIT $4"
    );
    let rows = tx.query(&sql, params![now_ms, after_due_ms, after_id, limit]).await?;
    rows.iter()
        .map(|row| Ok(OverdueReturn { user_id: row.get::<String>(11)?.into(), entry: read(row)? }))
        .collect()
}

/// How many returns should have ended before `now_ms`.
pub(crate) async fn count_overdue(tx: &mut ReadTx, now_ms: i64) -> Result<i64, Error> {
    let sql = "SELECT COUNT(*) FROM returns WHERE status NOT IN ('completed', 'refused') AND due_at_ms < $1";
    Ok(tx.query_one(sql, params![now_ms]).await?.get(0)?)
}

/// A return after an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) user_id: UserId,
    pub(crate) entry: Return,
}

/// Moves a return as `event` says; none when it is past it already.
///
/// # Errors
/// [`Error::IllegalReturn`] when the event's cause has not been seen; [`Error::Foreign`] when there is no such return.
pub(crate) async fn advance(
    tx: &mut Tx,
    return_id: &str,
    event: Event,
    refusal: Option<&str>,
    now_ms: i64,
) -> Result<Option<Moved>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM returns WHERE id = $1");
    let row =
        tx.query_opt(&sql, params![return_id]).await?.ok_or_else(|| Error::foreign("return", "nothing"))?;
    let entry = read(&row)?;
    let status = match next(entry.status, event)? {
        Step::Past => return Ok(None),
        Step::To(status) => status,
    };
    let refusal = refusal.map(str::to_owned).or_else(|| entry.refusal.clone());
    tx.execute(
        "UPDATE returns SET status = $2, refusal = $3, updated_at_ms = $4 WHERE id = $1",
        params![return_id, status.as_str(), refusal, now_ms],
    )
    .await?;
    let entry = Return { status, refusal, updated_at_ms: now_ms, ..entry };
    Ok(Some(Moved { user_id: row.get::<String>(11)?.into(), entry }))
}

fn read(row: &Row) -> Result<Return, Error> {
    let status: &str = row.get(2)?;
    Ok(Return {
        return_id: row.get::<String>(0)?.into(),
        order_id: row.get::<String>(1)?.into(),
        status: ReturnStatus::parse(status).ok_or_else(|| Error::foreign("return status", status))?,
        lines: book::json(row.get(3)?, "lines")?,
        refund: book::money(row.get(4)?, row.get(5)?)?,
        reason: row.get(6)?,
        refusal: row.get(7)?,
        requested_at_ms: row.get(8)?,
        due_at_ms: row.get(9)?,
        updated_at_ms: row.get(10)?,
    })
}
