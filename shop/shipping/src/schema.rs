//! The tables of shipping.

use leeward_store::Migration;

/// The service's own tables, oldest first.
pub(crate) const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "shipments", sqlite: TABLES_1, postgres: TABLES_1_POSTGRES }];

const TABLES_1: &str = "
    CREATE TABLE shipments (
        id TEXT PRIMARY KEY, order_id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL, tracking_code TEXT NOT NULL UNIQUE,
        status TEXT NOT NULL, lines TEXT NOT NULL, created_at_ms INTEGER NOT NULL, changed_at_ms INTEGER NOT NULL
    );
    CREATE INDEX shipments_by_user ON shipments (user_id, id);
";

const TABLES_1_POSTGRES: &str = "
    CREATE TABLE shipments (
        id TEXT PRIMARY KEY, order_id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL, tracking_code TEXT NOT NULL UNIQUE,
        status TEXT NOT NULL, lines TEXT NOT NULL, created_at_ms BIGINT NOT NULL, changed_at_ms BIGINT NOT NULL
    );
    CREATE INDEX shipments_by_user ON shipments (user_id, id);
";
