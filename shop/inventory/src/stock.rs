//! Levels: how much of a product is on the shelf, and how much of that is set aside. Every change leaves a movement.

use leeward_store::{Error, ReadTx, Row, Tx, params};
use serde::Serialize;
use shop_contracts::ProductId;
use shop_contracts::inventory::StockChanged;
use utoipa::ToSchema;

/// Products whose new level one transaction announces at most.
pub(crate) const ANNOUNCE_MAX: usize = 200;

/// The level of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Level {
    /// The product.
    pub(crate) product_id: ProductId,
    /// On the shelf, those set aside included.
    pub(crate) on_hand: i64,
    /// Set aside for orders, or held until a refund has gone through.
    pub(crate) reserved: i64,
    /// What can be sold.
    pub(crate) available: i64,
    /// Grows with each change.
    pub(crate) version: i64,
}

fn level(row: &Row) -> Result<Level, Error> {
    let (on_hand, reserved) = (row.get::<i64>(1)?, row.get::<i64>(2)?);
    let product_id = row.get::<String>(0)?.into();
    Ok(Level { product_id, on_hand, reserved, available: on_hand - reserved, version: row.get(3)? })
}

/// Why a level moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move<'a> {
    /// What happened: for example `reserved`.
    pub(crate) kind: &'static str,
    /// The order, return or operator's note behind it.
    pub(crate) reference: &'a str,
    /// How the shelf changes.
    pub(crate) on_hand: i64,
    /// How the part set aside changes.
    pub(crate) reserved: i64,
}

/// Moves a level. `false` when there is no such product, or the level would go below what is set aside or below zero:
/// then nothing changed.
pub(crate) async fn shift(tx: &mut Tx, product_id: &str, by: Move<'_>, at_ms: i64) -> Result<bool, Error> {
    let moved = tx
        .execute(
            "UPDATE stock SET on_hand = on_hand + $2, reserved = reserved + $3, version = version + 1
             WHERE product_id = $1 AND reserved + $3 >= 0 AND on_hand + $2 >= reserved + $3",
            params![product_id, by.on_hand, by.reserved],
        )
        .await?;
    if moved == 1 {
        record(tx, product_id, by, at_ms).await?;
    }
    Ok(moved == 1)
}

/// Adds a product, or sets what is on its shelf. `false` when more than that is set aside.
pub(crate) async fn set(
    tx: &mut Tx,
    product_id: &str,
    on_hand: i64,
    reference: &str,
    at_ms: i64,
) -> Result<bool, Error> {
    let before = find(tx, product_id).await?.map_or(0, |level| level.on_hand);
    let sql = "INSERT INTO stock (product_id, on_hand, reserved, version) VALUES ($1, $2, 0, 1)
        ON CONFLICT (product_id) DO UPDATE SET on_hand = $2, version = stock.version + 1 WHERE stock.reserved <= $2";
    if tx.execute(sql, params![product_id, on_hand]).await? == 0 {
        return Ok(false);
    }
    let by = Move { kind: "counted", reference, on_hand: on_hand - before, reserved: 0 };
    record(tx, product_id, by, at_ms).await?;
    Ok(true)
}

async fn record(tx: &mut Tx, product_id: &str, by: Move<'_>, at_ms: i64) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO movements (product_id, kind, reference, on_hand, reserved, at_ms) VALUES ($1, $2, $3, $4, $5, $6)",
        params![product_id, by.kind, by.reference, by.on_hand, by.reserved, at_ms],
    )
    .await?;
    Ok(())
}

/// The level of one product.
pub(crate) async fn find(tx: &mut ReadTx, product_id: &str) -> Result<Option<Level>, Error> {
    let sql = "SELECT product_id, on_hand, reserved, version FROM stock WHERE product_id = $1";
    tx.query_opt(sql, params![product_id]).await?.as_ref().map(level).transpose()
}

/// How many of a product can be sold; none of one that is not known.
pub(crate) async fn available(tx: &mut ReadTx, product_id: &str) -> Result<i64, Error> {
    let row = tx
        .query_opt("SELECT on_hand - reserved FROM stock WHERE product_id = $1", params![product_id])
        .await?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// Up to `rows` levels after the product `after`.
pub(crate) async fn page(tx: &mut ReadTx, after: &str, rows: u32) -> Result<Vec<Level>, Error> {
    let sql = "SELECT product_id, on_hand, reserved, version FROM stock WHERE product_id > $1 ORDER BY product_id LIMIT $2";
    tx.query(sql, params![after, rows]).await?.iter().map(level).collect()
}

/// Takes the levels that changed since they were last announced, and marks them announced.
pub(crate) async fn take_unannounced(tx: &mut Tx) -> Result<Vec<StockChanged>, Error> {
    let sql = "UPDATE stock SET announced = version WHERE product_id IN
        (SELECT product_id FROM stock WHERE version > announced ORDER BY product_id LIMIT $1)
        RETURNING product_id, on_hand, reserved, version";
    let most = i64::try_from(ANNOUNCE_MAX).unwrap_or(i64::MAX);
    let rows = tx.query(sql, params![most]).await?;
    rows.iter()
        .map(|row| {
            let Level { product_id, on_hand, reserved, version, .. } = level(row)?;
            Ok(StockChanged { product_id, on_hand, reserved, version })
        })
        .collect()
}
