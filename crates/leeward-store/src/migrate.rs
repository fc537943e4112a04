//! Migrations: numbered per component, applied once, never edited afterwards.

use crate::error::Error;
use crate::params;
use crate::tx::{ReadTx, Tx};

/// One step of a component's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The step's number: 1, 2, 3 and so on without a gap.
    pub version: u32,
    /// A short name for errors and for people.
    pub name: &'static str,
    /// The statements in SQLite's dialect. They may not defer a constraint to the commit, which other
    /// closures share.
    pub sqlite: &'static str,
    /// The statements in PostgreSQL's dialect.
    pub postgres: &'static str,
}

/// The component of this crate's own tables.
pub(crate) const STORE: &str = "leeward-store";

/// This crate's own tables.
pub(crate) const STORE_MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "leases",
    sqlite: "CREATE TABLE leeward_leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch INTEGER NOT NULL,
             until_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
    postgres:
        "CREATE TABLE leeward_leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch BIGINT NOT NULL,
               until_ms BIGINT NOT NULL);",
}];

const LEDGER: &str = "CREATE TABLE IF NOT EXISTS leeward_migrations (component TEXT NOT NULL, version INTEGER NOT NULL,
                      name TEXT NOT NULL, fingerprint INTEGER NOT NULL, PRIMARY KEY (component, version)) STRICT, WITHOUT ROWID;";

/// Applies what is missing of `migrations`, all in this one transaction.
pub(crate) async fn apply(tx: &mut Tx, component: &str, migrations: &[Migration]) -> Result<(), Error> {
    check_list(component, migrations)?;
    if !is_known(tx).await? {
        ReadTx::session(tx).script(LEDGER)?;
    }
    let applied = applied(tx, component).await?;
    check_applied(component, migrations, &applied)?;
    for migration in migrations.iter().skip(applied.len()) {
        ReadTx::session(tx).script(migration.sqlite).map_err(|cause| Error::Migration {
            component: component.to_owned(),
            version: migration.version,
            name: migration.name.to_owned(),
            cause: Box::new(cause),
        })?;
        tx.execute(
            "INSERT INTO leeward_migrations (component, version, name, fingerprint) VALUES ($1, $2, $3, $4)",
            params![component, migration.version, migration.name, fingerprint(migration.sqlite)],
        )
        .await?;
    }
    Ok(())
}

async fn is_known(tx: &mut ReadTx) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'leeward_migrations'";
    Ok(tx.query_opt(sql, params![]).await?.is_some())
}

/// The versions that the database has, with their fingerprints, in order.
async fn applied(tx: &mut ReadTx, component: &str) -> Result<Vec<(u32, i64)>, Error> {
    let sql = "SELECT version, fingerprint FROM leeward_migrations WHERE component = $1 ORDER BY version";
    let rows = tx.query(sql, params![component]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// The list is 1, 2, 3 and so on, and defers nothing.
fn check_list(component: &str, migrations: &[Migration]) -> Result<(), Error> {
    let wrong =
        |version, detail| Err(Error::MigrationList { component: component.to_owned(), version, detail });
    for (expected, migration) in (1_u32..).zip(migrations) {
        if migration.version != expected {
            return wrong(migration.version, "versions must be 1, 2, 3 and so on without a gap");
        }
        if migration.sqlite.to_ascii_uppercase().contains("INITIALLY DEFERRED") {
            return wrong(
                migration.version,
                "a deferred constraint would fail the neighbours in its commit; make it immediate",
            );
        }
    }
    Ok(())
}

/// What the database has is a beginning of the list, unchanged.
fn check_applied(component: &str, migrations: &[Migration], applied: &[(u32, i64)]) -> Result<(), Error> {
    for (index, (version, seen)) in applied.iter().enumerate() {
        let Some(migration) = migrations.get(index) else {
            let known = migrations.last().map_or(0, |migration| migration.version);
            let found = applied.last().map_or(*version, |(newest, _)| *newest);
            return Err(Error::NewerSchema { component: component.to_owned(), found, known });
        };
        if fingerprint(migration.sqlite) != *seen {
            let detail = "it was changed after it had been applied; add a new migration instead";
            return Err(Error::MigrationList { component: component.to_owned(), version: *version, detail });
        }
    }
    Ok(())
}

/// FNV-1a over the statements without their spacing: finds an edit, and lets the source be reindented.
fn fingerprint(sql: &str) -> i64 {
    let bytes = sql.split_whitespace().flat_map(|word| word.bytes().chain([b' ']));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i64::from_ne_bytes(hash.to_ne_bytes())
}
