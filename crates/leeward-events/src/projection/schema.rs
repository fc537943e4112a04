//! What the database knows of projections, and their tables.

use leeward_store::{Error, Migration, ReadTx, Tx, params};

use super::{Definition, Form, Table};

/// `applied_seq`: the last event of a source's log that the live table has. `floor_seq`: everything of the log up to there is in the
/// table since the last rebuild.
pub(super) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "projections",
    sqlite: "CREATE TABLE projection (name TEXT PRIMARY KEY, generation INTEGER NOT NULL, fingerprint INTEGER NOT NULL,
                 shadow TEXT) STRICT, WITHOUT ROWID;
             CREATE TABLE projection_source (projection TEXT NOT NULL, source TEXT NOT NULL, applied_seq INTEGER NOT NULL,
                 floor_seq INTEGER NOT NULL, PRIMARY KEY (projection, source)) STRICT, WITHOUT ROWID;",
    postgres: "CREATE TABLE projection (name TEXT PRIMARY KEY, generation BIGINT NOT NULL, fingerprint BIGINT NOT NULL, shadow TEXT);
               CREATE TABLE projection_source (projection TEXT NOT NULL, source TEXT NOT NULL, applied_seq BIGINT NOT NULL,
                   floor_seq BIGINT NOT NULL, PRIMARY KEY (projection, source));",
}];

/// Makes the live table if the projection is new.
pub(super) async fn open(tx: &mut Tx, name: &str, of: &Definition, live: &Table) -> Result<Form, Error> {
    let known = tx.query_opt("SELECT fingerprint FROM projection WHERE name = $1", params![name]).await?;
    if let Some(row) = known {
        let current = row.get::<i64>(0)? == of.fingerprint();
        return Ok(if current { Form::Current } else { Form::Outdated });
    }
    create(tx, of, live).await?;
    let sql = "INSERT INTO projection (name, generation, fingerprint, shadow) VALUES ($1, 0, $2, NULL)";
    tx.execute(sql, params![name, of.fingerprint()]).await?;
    Ok(Form::Current)
}

async fn create(tx: &mut Tx, of: &Definition, table: &Table) -> Result<(), Error> {
    for statement in of.schema {
        tx.execute(&table.sql(statement), params![]).await?;
    }
    Ok(())
}

/// Makes a new shadow table; what an earlier, broken rebuild has left is dropped.
pub(super) async fn create_shadow(tx: &mut Tx, name: &str, of: &Definition) -> Result<Table, Error> {
    drop_shadow(tx, name).await?;
    let sql = "UPDATE projection SET generation = generation + 1 WHERE name = $1 RETURNING generation";
    let generation: i64 = tx.query_one(sql, params![name]).await?.get(0)?;
    let shadow = Table::new(&format!("{}__{generation}", of.table));
    create(tx, of, &shadow).await?;
    tx.execute("UPDATE projection SET shadow = $2 WHERE name = $1", params![name, shadow.name()]).await?;
    Ok(shadow)
}

pub(super) async fn drop_shadow(tx: &mut Tx, name: &str) -> Result<(), Error> {
    let row = tx.query_one("SELECT shadow FROM projection WHERE name = $1", params![name]).await?;
    if let Some(shadow) = row.get::<Option<String>>(0)? {
        tx.execute(&format!("DROP TABLE IF EXISTS {shadow}"), params![]).await?;
        tx.execute("UPDATE projection SET shadow = NULL WHERE name = $1", params![name]).await?;
    }
    Ok(())
}

/// Puts the shadow table in the place of the live one, and stores how far it is complete.
pub(super) async fn swap(
    tx: &mut Tx,
    name: &str,
    of: &Definition,
    shadow: &Table,
    source: &str,
    read: Read,
) -> Result<(), Error> {
    tx.execute(&format!("DROP TABLE {}", of.table), params![]).await?;
    tx.execute(&format!("ALTER TABLE {} RENAME TO {}", shadow.name(), of.table), params![]).await?;
    let sql = "UPDATE projection SET shadow = NULL, fingerprint = $2 WHERE name = $1";
    tx.execute(sql, params![name, of.fingerprint()]).await?;
    tx.execute(
        "INSERT INTO projection_source (projection, source, applied_seq, floor_seq) VALUES ($1, $2, $3, $4)
         ON CONFLICT (projection, source) DO UPDATE SET applied_seq = excluded.applied_seq, floor_seq = excluded.floor_seq",
        params![name, source, read.applied_seq, read.seq],
    )
    .await
    .map(drop)
}

/// How far a rebuild has read a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// The last event read.
    pub(super) seq: i64,
    /// The last event that the projection takes.
    pub(super) applied_seq: i64,
}

/// Notes that the live table gets an event; `false` when a rebuild has put it there already.
pub(super) async fn advance(tx: &mut Tx, name: &str, source: &str, seq: i64) -> Result<bool, Error> {
    let rows = tx
        .execute(
            "INSERT INTO projection_source (projection, source, applied_seq, floor_seq) VALUES ($1, $2, $3, 0)
             ON CONFLICT (projection, source) DO UPDATE SET applied_seq =
                 CASE WHEN projection_source.applied_seq < excluded.applied_seq THEN excluded.applied_seq
                      ELSE projection_source.applied_seq END
             WHERE projection_source.floor_seq < excluded.applied_seq",
            params![name, source, seq],
        )
        .await?;
    Ok(rows == 1)
}

/// How far the live table is, and whether anything of its group is parked, so that it lacks events before that.
pub(super) async fn live_state(tx: &mut ReadTx, name: &str, source: &str) -> Result<(i64, bool), Error> {
    let sql = "SELECT applied_seq FROM projection_source WHERE projection = $1 AND source = $2";
    let row = tx.query_opt(sql, params![name, source]).await?;
    let applied = row.map_or(Ok(0), |row| row.get(0))?;
    let parked = "SELECT EXISTS (SELECT 1 FROM parked WHERE consumer = $1)";
    Ok((applied, tx.query_one(parked, params![name]).await?.get(0)?))
}

impl Definition {
    /// FNV-1a over the schema without its spacing.
    fn fingerprint(&self) -> i64 {
        let words = self.schema.iter().flat_map(|statement| statement.split_whitespace());
        let bytes = words.flat_map(|word| word.bytes().chain([b' ']));
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        i64::from_ne_bytes(hash.to_ne_bytes())
    }
}
