//! The tables.

use leeward_store::Migration;

/// The component under which [`MIGRATIONS`] are recorded.
pub const COMPONENT: &str = "leeward-saga";

/// The tables of this crate, in the database of the service that owns the sagas.
pub const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "sagas, signals", sqlite: SQLITE, postgres: POSTGRES }];

// `live` is 1 while the engine has to act or to wait: 0 when ended, stuck or refused. The partial indexes keep recovery and the
// search for due timers as small as what is under way, whatever has ended. `history` is last, since only operators read it.
const SQLITE: &str = "
CREATE TABLE leeward_sagas (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    saga TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status TEXT NOT NULL,
    live INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    step TEXT,
    attempt INTEGER NOT NULL,
    due_ms INTEGER,
    progress TEXT NOT NULL,
    state TEXT NOT NULL,
    correlation TEXT NOT NULL,
    note TEXT,
    epoch INTEGER NOT NULL,
    version INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    history TEXT NOT NULL
) STRICT;
CREATE INDEX leeward_sagas_live ON leeward_sagas (seq) WHERE live = 1;
CREATE INDEX leeward_sagas_due ON leeward_sagas (due_ms, seq) WHERE live = 1 AND due_ms IS NOT NULL;
CREATE INDEX leeward_sagas_held ON leeward_sagas (seq) WHERE status = 'stuck' OR refused = 1;
CREATE INDEX leeward_sagas_ended ON leeward_sagas (updated_ms) WHERE status IN ('completed', 'compensated');
CREATE TABLE leeward_saga_signals (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    saga_id TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    payload BLOB NOT NULL,
    received_ms INTEGER NOT NULL,
    consumed_ms INTEGER,
    UNIQUE (saga_id, id)
) STRICT;
";

const POSTGRES: &str = "
CREATE TABLE leeward_sagas (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    saga TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status TEXT NOT NULL,
    live BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    step TEXT,
    attempt BIGINT NOT NULL,
    due_ms BIGINT,
    progress TEXT NOT NULL,
    state TEXT NOT NULL,
    correlation TEXT NOT NULL,
    note TEXT,
    epoch BIGINT NOT NULL,
    version BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    history TEXT NOT NULL
);
CREATE INDEX leeward_sagas_live ON leeward_sagas (seq) WHERE live = 1;
CREATE INDEX leeward_sagas_due ON leeward_sagas (due_ms, seq) WHERE live = 1 AND due_ms IS NOT NULL;
CREATE INDEX leeward_sagas_held ON leeward_sagas (seq) WHERE status = 'stuck' OR refused = 1;
CREATE INDEX leeward_sagas_ended ON leeward_sagas (updated_ms) WHERE status IN ('completed', 'compensated');
CREATE TABLE leeward_saga_signals (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    saga_id TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    payload BYTEA NOT NULL,
    received_ms BIGINT NOT NULL,
    consumed_ms BIGINT,
    UNIQUE (saga_id, id)
);
";
