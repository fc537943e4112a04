//! The provider's own database.

use leeward_store::Migration;

/// The ledger is the truth and is only ever added to, which the database itself enforces. The authorisations are
/// what the next decision needs to know of it.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "ledger",
    sqlite: "
        CREATE TABLE ledger (
            seq INTEGER PRIMARY KEY,
            key TEXT NOT NULL,
            kind TEXT NOT NULL,
            verdict TEXT NOT NULL,
            code TEXT,
            authorisation TEXT NOT NULL,
            amount_minor INTEGER,
            currency TEXT,
            reference TEXT,
            request_hash TEXT NOT NULL,
            at_ms INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX ledger_by_key ON ledger (key);
        CREATE TRIGGER ledger_keeps_lines BEFORE UPDATE ON ledger
            BEGIN SELECT RAISE(ABORT, 'a ledger line never changes'); END;
        CREATE TRIGGER ledger_loses_none BEFORE DELETE ON ledger
            BEGIN SELECT RAISE(ABORT, 'a ledger line never goes'); END;
        CREATE TABLE authorisations (
            id TEXT PRIMARY KEY,
            key TEXT NOT NULL,
            token TEXT NOT NULL,
            amount_minor INTEGER NOT NULL,
            currency TEXT NOT NULL,
            standing TEXT NOT NULL,
            refunded_minor INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX authorisations_by_key ON authorisations (key);
        CREATE TABLE voided_keys (key TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    ",
    postgres: "
        CREATE TABLE ledger (
            seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            key TEXT NOT NULL,
            kind TEXT NOT NULL,
            verdict TEXT NOT NULL,
            code TEXT,
            authorisation TEXT NOT NULL,
            amount_minor BIGINT,
            currency TEXT,
            reference TEXT,
            request_hash TEXT NOT NULL,
            at_ms BIGINT NOT NULL
        );
        CREATE INDEX ledger_by_key ON ledger (key);
        CREATE RULE ledger_keeps_lines AS ON UPDATE TO ledger DO INSTEAD NOTHING;
        CREATE RULE ledger_loses_none AS ON DELETE TO ledger DO INSTEAD NOTHING;
        CREATE TABLE authorisations (
            id TEXT PRIMARY KEY,
            key TEXT NOT NULL,
            token TEXT NOT NULL,
            amount_minor BIGINT NOT NULL,
            currency TEXT NOT NULL,
            standing TEXT NOT NULL,
            refunded_minor BIGINT NOT NULL
        );
        CREATE INDEX authorisations_by_key ON authorisations (key);
        CREATE TABLE voided_keys (key TEXT PRIMARY KEY, at_ms BIGINT NOT NULL);
    ",
}];
