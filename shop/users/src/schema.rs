//! The tables of the users service.

use leeward_store::Migration;

/// The service's own tables, oldest first.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "accounts, sessions, keys, audit",
    sqlite: TABLES_1,
    postgres: TABLES_1_POSTGRES,
}];

const TABLES_1: &str = "
    CREATE TABLE users (
        id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, password TEXT NOT NULL, name TEXT NOT NULL,
        role TEXT NOT NULL, created_at_ms INTEGER NOT NULL
    );
    CREATE INDEX users_by_role ON users (role);
    CREATE TABLE login_failures (email_hash BLOB PRIMARY KEY, failures INTEGER NOT NULL, last_ms INTEGER NOT NULL);
    CREATE INDEX login_failures_by_time ON login_failures (last_ms);
    CREATE TABLE preferences (
        user_id TEXT PRIMARY KEY, channels TEXT NOT NULL, language TEXT NOT NULL, version INTEGER NOT NULL
    );
    CREATE TABLE sessions (
        refresh_hash BLOB PRIMARY KEY, session_id TEXT NOT NULL, user_id TEXT NOT NULL, access_id TEXT NOT NULL,
        access_ends_at_ms INTEGER NOT NULL, used INTEGER NOT NULL DEFAULT 0, expires_at_ms INTEGER NOT NULL
    );
    CREATE INDEX sessions_by_user ON sessions (user_id);
    CREATE INDEX sessions_by_session ON sessions (session_id);
    CREATE INDEX sessions_by_end ON sessions (expires_at_ms);
    CREATE TABLE signing_keys (
        kid TEXT PRIMARY KEY, pkcs8 BLOB NOT NULL, created_at_ms INTEGER NOT NULL, retired_at_ms INTEGER
    );
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL
    );
";

const TABLES_1_POSTGRES: &str = "
    CREATE TABLE users (
        id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, password TEXT NOT NULL, name TEXT NOT NULL,
        role TEXT NOT NULL, created_at_ms BIGINT NOT NULL
    );
    CREATE INDEX users_by_role ON users (role);
    CREATE TABLE login_failures (email_hash BYTEA PRIMARY KEY, failures BIGINT NOT NULL, last_ms BIGINT NOT NULL);
    CREATE INDEX login_failures_by_time ON login_failures (last_ms);
    CREATE TABLE preferences (
        user_id TEXT PRIMARY KEY, channels TEXT NOT NULL, language TEXT NOT NULL, version BIGINT NOT NULL
    );
    CREATE TABLE sessions (
        refresh_hash BYTEA PRIMARY KEY, session_id TEXT NOT NULL, user_id TEXT NOT NULL, access_id TEXT NOT NULL,
        access_ends_at_ms BIGINT NOT NULL, used BIGINT NOT NULL DEFAULT 0, expires_at_ms BIGINT NOT NULL
    );
    CREATE INDEX sessions_by_user ON sessions (user_id);
    CREATE INDEX sessions_by_session ON sessions (session_id);
    CREATE INDEX sessions_by_end ON sessions (expires_at_ms);
    CREATE TABLE signing_keys (
        kid TEXT PRIMARY KEY, pkcs8 BYTEA NOT NULL, created_at_ms BIGINT NOT NULL, retired_at_ms BIGINT
    );
    CREATE TABLE audit (
        seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at_ms BIGINT NOT NULL, actor TEXT NOT NULL,
        action TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL
    );
";
