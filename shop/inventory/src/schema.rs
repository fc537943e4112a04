//! The tables of the inventory.

use leeward_store::Migration;

/// The service's own tables, oldest first.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "stock, reservations, returns, movements",
    sqlite: TABLES_1,
    postgres: TABLES_1_POSTGRES,
}];

/// `announced` is the version of the last `stock.changed`; `lines` are JSON; a movement is one change of a level, kept
/// for ever, so that the levels can be checked against their history.
const TABLES_1: &str = "
    CREATE TABLE stock (
        product_id TEXT PRIMARY KEY, on_hand INTEGER NOT NULL, reserved INTEGER NOT NULL, version INTEGER NOT NULL,
        announced INTEGER NOT NULL DEFAULT 0, CHECK (reserved >= 0), CHECK (on_hand >= reserved)
    );
    CREATE INDEX stock_to_announce ON stock (product_id) WHERE version > announced;
    CREATE TABLE reservations (
        order_id TEXT PRIMARY KEY, status TEXT NOT NULL, lines TEXT NOT NULL, at_ms INTEGER NOT NULL
    );
    CREATE TABLE returns (
        return_id TEXT PRIMARY KEY, status TEXT NOT NULL, requested TEXT NOT NULL, at_ms INTEGER NOT NULL
    );
    CREATE TABLE movements (
        seq INTEGER PRIMARY KEY, product_id TEXT NOT NULL, kind TEXT NOT NULL, reference TEXT NOT NULL,
        on_hand INTEGER NOT NULL, reserved INTEGER NOT NULL, at_ms INTEGER NOT NULL
    );
    CREATE INDEX movements_by_product ON movements (product_id, seq);
";

const TABLES_1_POSTGRES: &str = "
    CREATE TABLE stock (
        product_id TEXT PRIMARY KEY, on_hand BIGINT NOT NULL, reserved BIGINT NOT NULL, version BIGINT NOT NULL,
        announced BIGINT NOT NULL DEFAULT 0, CHECK (reserved >= 0), CHECK (on_hand >= reserved)
    );
    CREATE INDEX stock_to_announce ON stock (product_id) WHERE version > announced;
    CREATE TABLE reservations (
        order_id TEXT PRIMARY KEY, status TEXT NOT NULL, lines TEXT NOT NULL, at_ms BIGINT NOT NULL
    );
    CREATE TABLE returns (
        return_id TEXT PRIMARY KEY, status TEXT NOT NULL, requested TEXT NOT NULL, at_ms BIGINT NOT NULL
    );
    CREATE TABLE movements (
        seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, product_id TEXT NOT NULL, kind TEXT NOT NULL,
        reference TEXT NOT NULL, on_hand BIGINT NOT NULL, reserved BIGINT NOT NULL, at_ms BIGINT NOT NULL
    );
    CREATE INDEX movements_by_product ON movements (product_id, seq);
";
