//! The tables of the notifications.

use leeward_store::Migration;

/// The service's own tables, oldest first.
pub(crate) const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "mailbox, preferences", sqlite: TABLES_1, postgres: TABLES_1_POSTGRES }];

const TABLES_1: &str = "
    CREATE TABLE preferences (
        user_id TEXT PRIMARY KEY, channels TEXT NOT NULL, language TEXT NOT NULL, version INTEGER NOT NULL
    );
    CREATE TABLE mailbox (
        seq INTEGER PRIMARY KEY, user_id TEXT NOT NULL, event_id TEXT NOT NULL, kind TEXT NOT NULL,
        reference TEXT NOT NULL, channel TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL, at_ms INTEGER NOT NULL
    );
    CREATE INDEX mailbox_by_user ON mailbox (user_id, seq);
";

const TABLES_1_POSTGRES: &str = "
    CREATE TABLE preferences (
        user_id TEXT PRIMARY KEY, channels TEXT NOT NULL, language TEXT NOT NULL, version BIGINT NOT NULL
    );
    CREATE TABLE mailbox (
        seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id TEXT NOT NULL, event_id TEXT NOT NULL,
        kind TEXT NOT NULL, reference TEXT NOT NULL, channel TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL,
        at_ms BIGINT NOT NULL
    );
    CREATE INDEX mailbox_by_user ON mailbox (user_id, seq);
";
