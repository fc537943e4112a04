//! The shelf: what the inventory said of its stock, a projection that can be built again from the inventory's log.

use leeward_events::projection::{BuildError, Table};
use leeward_events::{HandlerError, Projection, Received};
use leeward_store::{Db, Tx, params};
use shop_contracts::inventory::StockChanged;

/// The group under which the catalog hears of levels; also what an operator calls the projection.
pub(crate) const GROUP: &str = "catalog.shelf";

/// The projection, over the catalog's database. Its table is joined to the products in every search.
pub(crate) fn projection(db: Db) -> Result<Projection, BuildError> {
    Projection::builder(GROUP, db, "shelf")
        .schema(&["CREATE TABLE {table} (product_id TEXT PRIMARY KEY, available BIGINT NOT NULL, version BIGINT NOT NULL)"])
        .digest(
            "SELECT product_id, CAST(available AS TEXT) || ' ' || CAST(version AS TEXT) FROM {table}
             WHERE product_id > $1 ORDER BY product_id LIMIT $2",
        )
        .on(note)
        .build()
}

/// Notes a level, unless a later one is known.
async fn note(tx: &mut Tx, table: &Table, received: Received<StockChanged>) -> Result<(), HandlerError> {
    let StockChanged { product_id, on_hand, reserved, version } = received.event;
    let sql = table.sql(
        "INSERT INTO {table} (product_id, available, version) VALUES ($1, $2, $3)
         ON CONFLICT (product_id) DO UPDATE SET available = excluded.available, version = excluded.version
         WHERE excluded.version > {table}.version",
    );
    tx.execute(&sql, params![product_id.as_str(), on_hand - reserved, version]).await?;
    Ok(())
}
