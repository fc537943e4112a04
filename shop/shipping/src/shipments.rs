//! Shipments: one an order, and how far each has come.

use leeward_store::{Error, ReadTx, Row, Tx, params};
use serde::{Deserialize, Serialize};
use shop_contracts::inventory::StockLine;
use shop_contracts::shipping::CreateShipment;
use shop_contracts::{OrderId, ShipmentId};
use utoipa::ToSchema;

/// How far a shipment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Being packed.
    Created,
    /// With the carrier.
    Dispatched,
    /// With the customer.
    Delivered,
}

impl Status {
    const ALL: [Self; 3] = [Self::Created, Self::Dispatched, Self::Delivered];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Dispatched => "dispatched",
            Self::Delivered => "delivered",
        }
    }

    /// Whether a shipment may go from here to `to`: one way, and staying is no change.
    pub(crate) const fn may_become(self, to: Self) -> bool {
        match (self, to) {
            (Self::Created, _)
            | (Self::Dispatched, Self::Dispatched | Self::Delivered)
            | (Self::Delivered, Self::Delivered) => true,
            (Self::Dispatched | Self::Delivered, Self::Created) | (Self::Delivered, Self::Dispatched) => {
                false
            }
        }
    }
}

/// A shipment as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Shipment {
    /// The shipment.
    pub(crate) shipment_id: ShipmentId,
    /// The order.
    pub(crate) order_id: OrderId,
    /// The code to track it by.
    pub(crate) tracking_code: String,
    /// How far it has come.
    pub(crate) status: Status,
    /// The goods.
    pub(crate) lines: Vec<StockLine>,
    /// When it was created, Unix milliseconds.
    pub(crate) created_at_ms: i64,
    /// When its status last changed, Unix milliseconds.
    pub(crate) changed_at_ms: i64,
}

/// What anyone who has the code may know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Tracking {
    /// The code.
    pub(crate) tracking_code: String,
    /// How far the shipment has come.
    pub(crate) status: Status,
    /// When that last changed, Unix milliseconds.
    pub(crate) changed_at_ms: i64,
}

fn status(row: &Row, column: usize) -> Result<Status, Error> {
    let text: &str = row.get(column)?;
    let known = Status::ALL.into_iter().find(|status| status.as_str() == text);
    // An unknown word can only come from a newer binary, which the migrations refuse.
    known.ok_or(Error::Column { index: column, expected: "the status of a shipment", found: "another word" })
}

fn lines(row: &Row, column: usize) -> Result<Vec<StockLine>, Error> {
    let unreadable = |_| Error::Column { index: column, expected: "lines in JSON", found: "other text" };
    serde_json::from_str(row.get(column)?).map_err(unreadable)
}

fn shipment(row: &Row) -> Result<Shipment, Error> {
    Ok(Shipment {
        shipment_id: row.get::<String>(0)?.into(),
        order_id: row.get::<String>(1)?.into(),
        tracking_code: row.get(2)?,
        status: status(row, 3)?,
        lines: lines(row, 4)?,
        created_at_ms: row.get(5)?,
        changed_at_ms: row.get(6)?,
    })
}

/// A shipment that an order has, and whether it was made just now.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) shipment_id: ShipmentId,
    pub(crate) tracking_code: String,
    pub(crate) is_new: bool,
}

/// The shipment of the order, made now with this tracking code if there is none. `goods` are its lines in JSON.
pub(crate) async fn open(
    tx: &mut Tx,
    command: &CreateShipment,
    goods: &str,
    tracking_code: String,
    at_ms: i64,
) -> Result<Opened, Error> {
    let CreateShipment { order_id, user_id, .. } = command;
    let sql = "SELECT id, tracking_code FROM shipments WHERE order_id = $1";
    if let Some(row) = tx.query_opt(sql, params![order_id.as_str()]).await? {
        let shipment_id = row.get::<String>(0)?.into();
        return Ok(Opened { shipment_id, tracking_code: row.get(1)?, is_new: false });
    }
    let shipment_id = ShipmentId::generate();
    tx.execute(
        "INSERT INTO shipments (id, order_id, user_id, tracking_code, status, lines, created_at_ms, changed_at_ms)
         VALUES ($1, $2, $3, $4, 'created', $5, $6, $6)",
        params![shipment_id.as_str(), order_id.as_str(), user_id.as_str(), tracking_code, goods, at_ms],
    )
    .await?;
    Ok(Opened { shipment_id, tracking_code, is_new: true })
}

/// Up to `rows` shipments of the user after the id `after`.
pub(crate) async fn page(
    tx: &mut ReadTx,
    user: &str,
    after: &str,
    rows: u32,
) -> Result<Vec<Shipment>, Error> {
    let sql = "SELECT id, order_id, tracking_code, status, lines, created_at_ms, changed_at_ms FROM shipments
        WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3";
    tx.query(sql, params![user, after, rows]).await?.iter().map(shipment).collect()
}

/// The user's shipment `id`.
pub(crate) async fn of_user(tx: &mut ReadTx, user: &str, id: &str) -> Result<Option<Shipment>, Error> {
    let sql = "SELECT id, order_id, tracking_code, status, lines, created_at_ms, changed_at_ms FROM shipments
        WHERE id = $1 AND user_id = $2";
    tx.query_opt(sql, params![id, user]).await?.as_ref().map(shipment).transpose()
}

/// How far the shipment with this code has come.
pub(crate) async fn track(tx: &mut ReadTx, code: &str) -> Result<Option<Tracking>, Error> {
    let sql = "SELECT tracking_code, status, changed_at_ms FROM shipments WHERE tracking_code = $1";
    let Some(row) = tx.query_opt(sql, params![code]).await? else { return Ok(None) };
    Ok(Some(Tracking { tracking_code: row.get(0)?, status: status(&row, 1)?, changed_at_ms: row.get(2)? }))
}

/// The present status of a shipment.
pub(crate) async fn status_of(tx: &mut ReadTx, id: &str) -> Result<Option<Status>, Error> {
    let row = tx.query_opt("SELECT status FROM shipments WHERE id = $1", params![id]).await?;
    row.map(|row| status(&row, 0)).transpose()
}

/// Moves a shipment on.
pub(crate) async fn advance(tx: &mut Tx, id: &str, to: Status, at_ms: i64) -> Result<(), Error> {
    let sql = "UPDATE shipments SET status = $2, changed_at_ms = $3 WHERE id = $1";
    tx.execute(sql, params![id, to.as_str(), at_ms]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Status::{Created, Delivered, Dispatched};

    #[test]
    fn a_shipment_only_goes_forward() {
        assert!(
            Created.may_become(Dispatched)
                && Created.may_become(Delivered)
                && Dispatched.may_become(Delivered)
        );
        assert!(!Dispatched.may_become(Created) && !Delivered.may_become(Dispatched));
        assert!(Delivered.may_become(Delivered));
    }
}
