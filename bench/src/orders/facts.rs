//! What the database of orders says, read from outside while the shop runs.
//!
//! A reader of SQLite's log sees a commit once it is synced, so what stands here is on disk. A look costs some
//! microseconds and takes nothing from the shop, where a request a look would be load of its own.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::load::OrderId;

/// A reader of `orders.db`.
#[derive(Debug)]
pub(super) struct Facts {
    orders: Connection,
}

/// A reader waits at most this long for the file's owner.
const PATIENCE: Duration = Duration::from_secs(1);

impl Facts {
    pub(super) fn open(data: &Path) -> Result<Self, String> {
        let path = data.join("orders.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = |error: rusqlite::Error| format!("{}: {error}", path.display());
        let orders = Connection::open_with_flags(&path, flags).map_err(failed)?;
        orders.busy_timeout(PATIENCE).map_err(failed)?;
        Ok(Self { orders })
    }

    /// Whether the order is confirmed and has its shipment.
    pub(super) fn is_confirmed(&self, order: OrderId) -> Result<bool, String> {
        let sql = "SELECT status = 'confirmed' AND shipment_id IS NOT NULL FROM orders WHERE id = ?1";
        let found = self.orders.prepare_cached(sql);
        let found = found
            .and_then(|mut statement| statement.query_row([order.to_string()], |row| row.get(0)).optional());
        Ok(found.map_err(|error| error.to_string())?.unwrap_or(false))
    }

    /// Sagas that have not come to their end.
    pub(super) fn sagas_in_flight(&self) -> Result<u64, String> {
        let sql = "SELECT count(*) FROM leeward_sagas WHERE live = 1";
        let found = self.orders.prepare_cached(sql).and_then(|mut statement| statement.query_row([], count));
        found.map_err(|error| error.to_string())
    }

    /// How many orders were confirmed between two moments of the wall clock.
    pub(super) fn confirmed_between(&self, from_ms: i64, to_ms: i64) -> Result<u64, String> {
        let sql = "SELECT count(*) FROM orders WHERE status = 'confirmed' AND shipment_id IS NOT NULL
                   AND updated_at_ms >= ?1 AND updated_at_ms < ?2";
        self.orders.query_row(sql, [from_ms, to_ms], count).map_err(|error| error.to_string())
    }

    /// From placed to confirmed by the shop's own clock, of all orders placed between two moments, sorted.
    pub(super) fn completions_ms(&self, from_ms: i64, to_ms: i64) -> Result<Vec<u64>, String> {
        let sql = "SELECT updated_at_ms - placed_at_ms FROM orders WHERE status = 'confirmed'
                   AND placed_at_ms >= ?1 AND placed_at_ms < ?2 ORDER BY 1";
        let failed = |error: rusqlite::Error| error.to_string();
        let mut statement = self.orders.prepare(sql).map_err(failed)?;
        let rows = statement.query_map([from_ms, to_ms], count).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }
}

/// A number that is never negative.
fn count(row: &Row<'_>) -> rusqlite::Result<u64> {
    row.get::<_, i64>(0).map(|number| u64::try_from(number).unwrap_or(0))
}
