//! The tables of payments.

use leeward_store::Migration;

/// Invoices never change and never go, which the database itself enforces.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "payments",
    sqlite: "
        CREATE TABLE payments (
            id TEXT PRIMARY KEY,
            authorisation_key TEXT NOT NULL,
            capture_key TEXT,
            order_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            amount_minor INTEGER NOT NULL,
            currency TEXT NOT NULL,
            payment_token TEXT NOT NULL,
            status TEXT NOT NULL,
            authorisation TEXT,
            decline_code TEXT,
            invoice_number INTEGER,
            refund_reserved_minor INTEGER NOT NULL DEFAULT 0,
            refunded_minor INTEGER NOT NULL DEFAULT 0,
            created_at_ms INTEGER NOT NULL,
            updated_at_ms INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX payments_by_authorisation_key ON payments (authorisation_key);
        CREATE UNIQUE INDEX payments_by_capture_key ON payments (capture_key) WHERE capture_key IS NOT NULL;
        CREATE INDEX payments_by_order ON payments (order_id);
        CREATE INDEX payments_by_user ON payments (user_id, id);
        CREATE TABLE invoices (
            number INTEGER PRIMARY KEY,
            payment_id TEXT NOT NULL,
            order_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            amount_minor INTEGER NOT NULL,
            currency TEXT NOT NULL,
            issued_at_ms INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX invoices_by_user ON invoices (user_id, number);
        CREATE TRIGGER invoices_never_change BEFORE UPDATE ON invoices
            BEGIN SELECT RAISE(ABORT, 'an invoice never changes'); END;
        CREATE TRIGGER invoices_never_go BEFORE DELETE ON invoices
            BEGIN SELECT RAISE(ABORT, 'an invoice never goes'); END;
        CREATE TABLE refunds (
            return_id TEXT PRIMARY KEY,
            payment_id TEXT,
            order_id TEXT NOT NULL,
            amount_minor INTEGER NOT NULL,
            currency TEXT NOT NULL,
            status TEXT NOT NULL,
            code TEXT,
            created_at_ms INTEGER NOT NULL,
            updated_at_ms INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX refunds_by_payment ON refunds (payment_id);
    ",
    postgres: "
        CREATE TABLE payments (
            id TEXT PRIMARY KEY,
            authorisation_key TEXT NOT NULL,
            capture_key TEXT,
            order_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            amount_minor BIGINT NOT NULL,
            currency TEXT NOT NULL,
            payment_token TEXT NOT NULL,
            status TEXT NOT NULL,
            authorisation TEXT,
            decline_code TEXT,
            invoice_number BIGINT,
            refund_reserved_minor BIGINT NOT NULL DEFAULT 0,
            refunded_minor BIGINT NOT NULL DEFAULT 0,
            created_at_ms BIGINT NOT NULL,
            updated_at_ms BIGINT NOT NULL
        );
        CREATE UNIQUE INDEX payments_by_authorisation_key ON payments (authorisation_key);
        CREATE UNIQUE INDEX payments_by_capture_key ON payments (capture_key) WHERE capture_key IS NOT NULL;
        CREATE INDEX payments_by_order ON payments (order_id);
        CREATE INDEX payments_by_user ON payments (user_id, id);
        CREATE TABLE invoices (
            number BIGINT PRIMARY KEY,
            payment_id TEXT NOT NULL,
            order_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            amount_minor BIGINT NOT NULL,
            currency TEXT NOT NULL,
            issued_at_ms BIGINT NOT NULL
        );
        CREATE INDEX invoices_by_user ON invoices (user_id, number);
        CREATE RULE invoices_never_change AS ON UPDATE TO invoices DO INSTEAD NOTHING;
        CREATE RULE invoices_never_go AS ON DELETE TO invoices DO INSTEAD NOTHING;
        CREATE TABLE refunds (
            return_id TEXT PRIMARY KEY,
            payment_id TEXT,
            order_id TEXT NOT NULL,
            amount_minor BIGINT NOT NULL,
            currency TEXT NOT NULL,
            status TEXT NOT NULL,
            code TEXT,
            created_at_ms BIGINT NOT NULL,
            updated_at_ms BIGINT NOT NULL
        );
        CREATE INDEX refunds_by_payment ON refunds (payment_id);
    ",
}];
