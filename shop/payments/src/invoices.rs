//! Invoices: one a captured payment, numbered without a gap, never changed.

use leeward_store::{ReadTx, Row, Tx, params};
use shop_contracts::payments::Invoice;
use shop_contracts::{PaymentId, UserId};

use crate::{Error, book};

/// Writes the invoice of a payment that is being captured, and gives its number; none when it is not being captured.
///
/// The number is read and used in one statement. Should two transactions read the same one, the primary key lets one
/// of them through.
pub(crate) async fn issue(tx: &mut Tx, payment_id: &PaymentId, now_ms: i64) -> Result<Option<i64>, Error> {
    let row = tx
        .query_opt(
            "INSERT INTO invoices (number, payment_id, order_id, user_id, amount_minor, currency, issued_at_ms)
             SELECT (SELECT COALESCE(MAX(number), 0) + 1 FROM invoices), id, order_id, user_id, amount_minor, currency,
                 CAST($2 AS BIGINT)
             FROM payments WHERE id = $1 AND status = 'capturing'
             RETURNING number",
            params![payment_id.as_str(), now_ms],
        )
        .await?;
    Ok(row.as_ref().map(|row| row.get(0)).transpose()?)
}

const COLUMNS: &str = "number, payment_id, order_id, user_id, amount_minor, currency, issued_at_ms";

/// The invoice `number`.
pub(crate) async fn find(tx: &mut ReadTx, number: i64) -> Result<Option<Invoice>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM invoices WHERE number = $1");
    tx.query_opt(&sql, params![number]).await?.as_ref().map(read).transpose()
}

/// Invoices after the number `after`, of `user_id` or of everybody, at most `limit`.
pub(crate) async fn list(
    tx: &mut ReadTx,
    user_id: Option<&UserId>,
    after: i64,
    limit: u32,
) -> Result<Vec<Invoice>, Error> {
    let rows = match user_id {
        Some(user_id) => {
            let sql = format!(
                "SELECT {COLUMNS} FROM invoices WHERE user_id = $1 AND number > $2 ORDER BY user_id, number LIMIT $3"
            );
            tx.query(&sql, params![user_id.as_str(), after, limit]).await?
        }
        None => {
            let sql = format!("SELECT {COLUMNS} FROM invoices WHERE number > $1 ORDER BY number LIMIT $2");
            tx.query(&sql, params![after, limit]).await?
        }
    };
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Invoice, Error> {
    Ok(Invoice {
        number: row.get(0)?,
        payment_id: row.get::<String>(1)?.into(),
        order_id: row.get::<String>(2)?.into(),
        user_id: row.get::<String>(3)?.into(),
        amount: book::money(row.get(4)?, row.get(5)?)?,
        issued_at_ms: row.get(6)?,
    })
}
