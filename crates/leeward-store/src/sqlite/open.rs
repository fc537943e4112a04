//! Opening a connection with the settings that durability and the memory bound rest on.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::Error;
use crate::options::Options;

/// The oldest SQLite with the repairs of the write-ahead log that matter to us.
const VERSION_MIN: (i32, &str) = (3_051_003, "3.51.3");

/// Prepared statements kept a connection: more than a service with its outbox, inbox and journal has; each is
/// a few KiB.
const STATEMENTS_MAX: usize = 128;

/// The log's file is cut to this many bytes when it is reset, so that one burst does not hold its size for
/// ever. It is above the size at which the writer checkpoints, so that in a steady state the file is
/// overwritten in place and a sync moves no metadata.
const LOG_FILE_MAX_BYTES: i64 = 32 << 20;

/// Where a database lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    File(PathBuf),
    Memory,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader,
}

/// Opens a connection and checks what it rests on.
pub(crate) fn open(target: &Target, role: Role, options: &Options) -> Result<Connection, Error> {
    check_version()?;
    // No mutex inside SQLite: a connection stays on the one thread that opened it.
    let base = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let write = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let opened = match (target, role) {
        (Target::Memory, _) => Connection::open_in_memory_with_flags(base | write),
        (Target::File(path), Role::Writer) => {
            create_for_owner(path);
            Connection::open_with_flags(path, base | write)
        }
        // Not READ_ONLY: a reader of a write-ahead log must be able to repair its index. `query_only` keeps
        // it from writing.
        (Target::File(path), Role::Reader) => {
            Connection::open_with_flags(path, base | OpenFlags::SQLITE_OPEN_READ_WRITE)
        }
    };
    let conn = opened.map_err(|error| at_open(target, &error))?;
    configure(&conn, target, role, options).map_err(|error| match error {
        Error::Io { detail } => Error::Open { path: path_of(target).to_owned(), detail },
        other => other,
    })?;
    Ok(conn)
}

/// Makes a file that is not there yet readable to its owner alone: a database holds password hashes and keys. SQLite
/// gives its log and index the same mode. What goes wrong here is reported by the opening that follows.
fn create_for_owner(path: &Path) {
    let _reported_by_sqlite = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
}

fn configure(conn: &Connection, target: &Target, role: Role, options: &Options) -> Result<(), Error> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    conn.busy_timeout(options.busy_timeout).map_err(|error| Error::from_sqlite(&error, "busy_timeout"))?;
    let cache_kib = match role {
        Role::Writer => options.writer_cache_kib,
        Role::Reader => options.reader_cache_kib,
    };
    // A negative cache size is in KiB.
    set(conn, "cache_size", &format!("-{cache_kib}"))?;
    // Savepoints and sorts spill into memory, not into a file that nobody would see fill up.
    set(conn, "temp_store", "MEMORY")?;
    // A plan must not depend on the values bound to it: otherwise SQLite prepares every statement with a bound LIMIT anew each time.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(|error| Error::from_sqlite(&error, "enable_qpsg"))?;
    // References are to be trusted.
    set_checked(conn, "foreign_keys", "ON", "1")?;
    // A corrupt or hostile schema must not call functions with side effects.
    set(conn, "trusted_schema", "OFF")?;
    if role == Role::Reader {
        return set_checked(conn, "query_only", "ON", "1");
    }
    if matches!(target, Target::File(_)) {
        set_checked(conn, "journal_mode", "WAL", "wal")?;
        set(conn, "journal_size_limit", &LOG_FILE_MAX_BYTES.to_string())?;
    }
    // FULL: the log is synced before a commit returns, so that "accepted" means "on disk".
    set_checked(conn, "synchronous", "FULL", "2")?;
    if let Some(bytes) = options.size_max_bytes {
        let page_bytes: i64 = read(conn, "page_size")?.parse().unwrap_or(4096);
        let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page_bytes.max(1);
        set(conn, "max_page_count", &pages.max(1).to_string())?;
    }
    Ok(())
}

fn set(conn: &Connection, pragma: &str, value: &str) -> Result<(), Error> {
    let sql = format!("PRAGMA {pragma} = {value}");
    // Some pragmas answer with a row and some do not: either is fine here.
    let mut statement = conn.prepare(&sql).map_err(|error| Error::from_sqlite(&error, &sql))?;
    let mut rows = statement.raw_query();
    while rows.next().map_err(|error| Error::from_sqlite(&error, &sql))?.is_some() {}
    Ok(())
}

fn set_checked(conn: &Connection, pragma: &'static str, value: &str, reads: &str) -> Result<(), Error> {
    set(conn, pragma, value)?;
    let found = read(conn, pragma)?;
    if found == reads { Ok(()) } else { Err(Error::Setting { pragma, wanted: value.to_owned(), found }) }
}

/// What a pragma reads, as text.
pub(crate) fn read(conn: &Connection, pragma: &str) -> Result<String, Error> {
    let sql = format!("PRAGMA {pragma}");
    conn.query_row(&sql, [], |row| {
        Ok(match row.get_ref(0)? {
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        })
    })
    .map_err(|error| Error::from_sqlite(&error, &sql))
}

/// The linked library's version.
pub(crate) fn version() -> &'static str {
    rusqlite::version()
}

fn check_version() -> Result<(), Error> {
    if rusqlite::version_number() < VERSION_MIN.0 {
        return Err(Error::Version { found: version().to_owned(), required: VERSION_MIN.1 });
    }
    Ok(())
}

fn at_open(target: &Target, error: &rusqlite::Error) -> Error {
    match Error::from_sqlite(error, "open") {
        corrupt @ Error::Corrupt { .. } => corrupt,
        other => Error::Open { path: path_of(target).to_owned(), detail: other.to_string() },
    }
}

fn path_of(target: &Target) -> &Path {
    match target {
        Target::File(path) => path,
        Target::Memory => Path::new(":memory:"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_new_file_and_its_log_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.db");
        let conn = open(&Target::File(path), Role::Writer, &Options::default()).unwrap();
        conn.execute_batch("CREATE TABLE t (x INTEGER)").unwrap();
        for name in ["own.db", "own.db-wal", "own.db-shm"] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_bound_limit_does_not_prepare_its_statement_anew() {
        let conn = open(&Target::Memory, Role::Writer, &Options::default()).unwrap();
        let mut statement = conn.prepare("SELECT 1 LIMIT $1").unwrap();
        for limit in 1..4_i64 {
            assert_eq!(statement.query_row([limit], |row| row.get::<_, i64>(0)).unwrap(), 1);
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
