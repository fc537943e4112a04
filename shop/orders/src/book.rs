//! The orders' rows.

use leeward_store::{ReadTx, Row, Tx, params};
use serde::de::DeserializeOwned;
use shop_contracts::orders::{CancelReason, Order, OrderLine, OrderStatus};
use shop_contracts::{Currency, Money, OrderId, UserId};

use crate::Error;
use crate::cart::Purchase;
use crate::status::{Event, Illegal, next};

/// Writes a new order.
pub(crate) async fn place(
    tx: &mut Tx,
    order_id: &OrderId,
    user_id: &UserId,
    purchase: &Purchase,
    now_ms: i64,
) -> Result<(), Error> {
    let lines =
        serde_json::to_string(&purchase.lines).map_err(|_| Error::foreign("lines", "what is no JSON"))?;
    tx.execute(
        "INSERT INTO orders (id, user_id, status, lines, total_minor, currency, placed_at_ms, updated_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
        params![
            order_id.as_str(),
            user_id.as_str(),
            OrderStatus::Placed.as_str(),
            lines,
            purchase.total.amount_minor,
            purchase.total.currency.as_str(),
            now_ms
        ],
    )
    .await?;
    Ok(())
}

/// What a confirmed order has more than a placed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Confirmation<'a> {
    pub(crate) payment_id: &'a str,
    pub(crate) invoice_number: Option<i64>,
    pub(crate) shipment_id: &'a str,
    pub(crate) tracking_code: &'a str,
}

/// Confirms an order.
///
/// # Errors
/// [`Error::Illegal`] when it stands elsewhere than it should.
pub(crate) async fn confirm(
    tx: &mut Tx,
    order_id: &str,
    confirmation: Confirmation<'_>,
    now_ms: i64,
) -> Result<(), Error> {
    let to = next(OrderStatus::Placed, Event::Confirm)?;
    let changed = tx
        .execute(
            "UPDATE orders SET status = $2, payment_id = $3, invoice_number = $4, shipment_id = $5, tracking_code = $6,
                 updated_at_ms = $7
             WHERE id = $1 AND status = 'placed'",
            params![
                order_id,
                to.as_str(),
                confirmation.payment_id,
                confirmation.invoice_number,
                confirmation.shipment_id,
                confirmation.tracking_code,
                now_ms
            ],
        )
        .await?;
    if changed == 1 { Ok(()) } else { Err(misplaced(tx, order_id, Event::Confirm).await?) }
}

/// Cancels an order.
///
/// # Errors
/// [`Error::Illegal`] when it stands elsewhere than it should.
pub(crate) async fn cancel(
    tx: &mut Tx,
    order_id: &str,
    reason: &CancelReason,
    now_ms: i64,
) -> Result<(), Error> {
    let to = next(OrderStatus::Placed, Event::Cancel)?;
    let changed = tx
        .execute(
            "UPDATE orders SET status = $2, cancel_code = $3, cancel_detail = $4, updated_at_ms = $5
             WHERE id = $1 AND status = 'placed'",
            params![order_id, to.as_str(), reason.code, reason.detail, now_ms],
        )
        .await?;
    if changed == 1 { Ok(()) } else { Err(misplaced(tx, order_id, Event::Cancel).await?) }
}

async fn misplaced(tx: &mut Tx, order_id: &str, event: Event) -> Result<Error, Error> {
    let row = tx.query_opt("SELECT status FROM orders WHERE id = $1", params![order_id]).await?;
    let Some(row) = row else { return Ok(Error::foreign("order", "nothing")) };
    Ok(Illegal { status: status(row.get(0)?)?, event }.into())
}

/// The order, if it is this customer's.
pub(crate) async fn find(tx: &mut ReadTx, order_id: &str, user_id: &str) -> Result<Option<Order>, Error> {
    let row = tx
        .query_opt(
            "SELECT id, status, lines, total_minor, currency, cancel_code, cancel_detail, payment_id, invoice_number,
                 shipment_id, tracking_code, placed_at_ms, updated_at_ms
             FROM orders WHERE id = $1 AND user_id = $2",
            params![order_id, user_id],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// Orders of all customers after the id `after`, at most `limit`, each with its customer.
pub(crate) async fn all(tx: &mut ReadTx, after: &str, limit: u32) -> Result<Vec<(UserId, Order)>, Error> {
    let rows = tx
        .query(
            "SELECT id, status, lines, total_minor, currency, cancel_code, cancel_detail, payment_id, invoice_number,
                 shipment_id, tracking_code, placed_at_ms, updated_at_ms, user_id
             FROM orders WHERE id > $1 ORDER BY id LIMIT $2",
            params![after, limit],
        )
        .await?;
    rows.iter().map(|row| Ok((row.get::<String>(13)?.into(), read(row)?))).collect()
}

/// The customer's orders before the id `before`, newest first, at most `limit`.
pub(crate) async fn of_user(
    tx: &mut ReadTx,
    user_id: &str,
    before: &str,
    limit: u32,
) -> Result<Vec<Order>, Error> {
    let rows = tx
        .query(
            "SELECT id, status, lines, total_minor, currency, cancel_code, cancel_detail, payment_id, invoice_number,
                 shipment_id, tracking_code, placed_at_ms, updated_at_ms
             FROM orders WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
            params![user_id, before, limit],
        )
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Order, Error> {
    let cancelled = match (row.get::<Option<String>>(5)?, row.get::<Option<String>>(6)?) {
        (Some(code), detail) => Some(CancelReason { code, detail: detail.unwrap_or_default() }),
        (None, _) => None,
    };
    Ok(Order {
        order_id: row.get::<String>(0)?.into(),
        status: status(row.get(1)?)?,
        lines: json::<Vec<OrderLine>>(row.get(2)?, "lines")?,
        total: money(row.get(3)?, row.get(4)?)?,
        cancelled,
        payment_id: row.get::<Option<String>>(7)?.map(Into::into),
        invoice_number: row.get(8)?,
        shipment_id: row.get::<Option<String>>(9)?.map(Into::into),
        tracking_code: row.get(10)?,
        placed_at_ms: row.get(11)?,
        updated_at_ms: row.get(12)?,
    })
}

/// A status out of its column.
pub(crate) fn status(text: &str) -> Result<OrderStatus, Error> {
    OrderStatus::parse(text).ok_or_else(|| Error::foreign("status", text))
}

/// An amount out of its two columns.
pub(crate) fn money(amount_minor: i64, currency: &str) -> Result<Money, Error> {
    let currency = Currency::parse(currency).map_err(|_| Error::foreign("currency", currency))?;
    Ok(Money::new(amount_minor, currency))
}

/// A value out of a column that holds JSON.
pub(crate) fn json<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|_| Error::foreign(what, text))
}
