//! The tables of orders.

use leeward_store::Migration;

pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "orders",
    sqlite: "
        CREATE TABLE prices (
            product_id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            amount_minor INTEGER NOT NULL,
            currency TEXT NOT NULL,
            sold INTEGER NOT NULL,
            version INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE cart_items (
            user_id TEXT NOT NULL,
            product_id TEXT NOT NULL,
            quantity INTEGER NOT NULL,
            put_minor INTEGER NOT NULL,
            put_currency TEXT NOT NULL,
            put_at_ms INTEGER NOT NULL,
            PRIMARY KEY (user_id, product_id)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE orders (
            id TEXT PRIMARY KEY,
            user_id TEXT NOT NULL,
            status TEXT NOT NULL,
            lines TEXT NOT NULL,
            total_minor INTEGER NOT NULL,
            currency TEXT NOT NULL,
            cancel_code TEXT,
            cancel_detail TEXT,
            payment_id TEXT,
            invoice_number INTEGER,
            shipment_id TEXT,
            tracking_code TEXT,
            placed_at_ms INTEGER NOT NULL,
            updated_at_ms INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE idempotency (
            user_id TEXT NOT NULL,
            scope TEXT NOT NULL,
            key TEXT NOT NULL,
            request TEXT NOT NULL,
            answer TEXT NOT NULL,
            expires_at_ms INTEGER NOT NULL,
            PRIMARY KEY (user_id, scope, key)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX idempotency_by_expiry ON idempotency (expires_at_ms);
        CREATE TABLE returns (
            id TEXT PRIMARY KEY,
            order_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            status TEXT NOT NULL,
            lines TEXT NOT NULL,
            refund_minor INTEGER NOT NULL,
            currency TEXT NOT NULL,
            reason TEXT NOT NULL,
            refusal TEXT,
            requested_at_ms INTEGER NOT NULL,
            due_at_ms INTEGER NOT NULL,
            updated_at_ms INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX returns_by_order ON returns (order_id);
        CREATE INDEX returns_by_user ON returns (user_id, id);
        CREATE INDEX returns_open_by_due ON returns (due_at_ms, id) WHERE status NOT IN ('completed', 'refused');
    ",
    postgres: "
        CREATE TABLE prices (
            product_id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            amount_minor BIGINT NOT NULL,
            currency TEXT NOT NULL,
            sold BIGINT NOT NULL,
            version BIGINT NOT NULL
        );
        CREATE TABLE cart_items (
            user_id TEXT NOT NULL,
            product_id TEXT NOT NULL,
            quantity BIGINT NOT NULL,
            put_minor BIGINT NOT NULL,
            put_currency TEXT NOT NULL,
            put_at_ms BIGINT NOT NULL,
            PRIMARY KEY (user_id, product_id)
        );
        CREATE TABLE orders (
            id TEXT PRIMARY KEY,
            user_id TEXT NOT NULL,
            status TEXT NOT NULL,
            lines TEXT NOT NULL,
            total_minor BIGINT NOT NULL,
            currency TEXT NOT NULL,
            cancel_code TEXT,
            cancel_detail TEXT,
            payment_id TEXT,
            invoice_number BIGINT,
            shipment_id TEXT,
            tracking_code TEXT,
            placed_at_ms BIGINT NOT NULL,
            updated_at_ms BIGINT NOT NULL
        );
        CREATE TABLE idempotency (
            user_id TEXT NOT NULL,
            scope TEXT NOT NULL,
            key TEXT NOT NULL,
            request TEXT NOT NULL,
            answer TEXT NOT NULL,
            expires_at_ms BIGINT NOT NULL,
            PRIMARY KEY (user_id, scope, key)
        );
        CREATE INDEX idempotency_by_expiry ON idempotency (expires_at_ms);
        CREATE TABLE returns (
            id TEXT PRIMARY KEY,
            order_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            status TEXT NOT NULL,
            lines TEXT NOT NULL,
            refund_minor BIGINT NOT NULL,
            currency TEXT NOT NULL,
            reason TEXT NOT NULL,
            refusal TEXT,
            requested_at_ms BIGINT NOT NULL,
            due_at_ms BIGINT NOT NULL,
            updated_at_ms BIGINT NOT NULL
        );
        CREATE INDEX returns_by_order ON returns (order_id);
        CREATE INDEX returns_by_user ON returns (user_id, id);
        CREATE INDEX returns_open_by_due ON returns (due_at_ms, id) WHERE status NOT IN ('completed', 'refused');
    ",
}];
