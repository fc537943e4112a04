//! The tables of the catalog, but for the projection in `shelf.rs`.

use leeward_store::Migration;

/// The service's own tables, oldest first.
///
/// `words` holds what a search looks at, in lower case. A product that was removed stays as a row, so that its version goes
/// on growing should it come back.
pub(crate) const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "products, categories", sqlite: TABLES_1, postgres: TABLES_1_POSTGRES }];

const TABLES_1: &str = "
    CREATE TABLE categories (id TEXT PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE products (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL, category_id TEXT NOT NULL,
        price_minor INTEGER NOT NULL, currency TEXT NOT NULL, active INTEGER NOT NULL, removed INTEGER NOT NULL DEFAULT 0,
        version INTEGER NOT NULL, words TEXT NOT NULL
    );
    CREATE INDEX products_by_category ON products (category_id, id);
";

const TABLES_1_POSTGRES: &str = "
    CREATE TABLE categories (id TEXT PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE products (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL, category_id TEXT NOT NULL,
        price_minor BIGINT NOT NULL, currency TEXT NOT NULL, active BIGINT NOT NULL, removed BIGINT NOT NULL DEFAULT 0,
        version BIGINT NOT NULL, words TEXT NOT NULL
    );
    CREATE INDEX products_by_category ON products (category_id, id);
";
