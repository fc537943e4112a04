//! One connection and the transaction that is open on it.

use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement, ToSql};

use rusqlite::wal::CheckpointMode;

use super::{Due, guard, open};
use crate::error::Error;
use crate::param::Param;
use crate::row::{Cell, Row};

/// A connection, and whether the transaction on it may still commit.
#[derive(Debug)]
pub(crate) struct Session {
    conn: Connection,
    writes: bool,
    /// The first failure of the running closure: nothing of it can be committed any more.
    spoiled: Option<Error>,
    /// Savepoints of the running closure that are open.
    depth: u32,
    /// How long a lock of somebody else's is waited for.
    busy_timeout: Duration,
}

/// How long readers are waited for when the log has to begin anew: most are gone within a millisecond, and all writers wait as long.
const RESTART_WAIT: Duration = Duration::from_millis(25);

impl Session {
    pub(crate) fn new(conn: Connection, writes: bool, busy_timeout: Duration) -> Self {
        Self { conn, writes, spoiled: None, depth: 0, busy_timeout }
    }

    /// Forgets the last closure's failure.
    pub(crate) fn start(&mut self) {
        self.spoiled = None;
        self.depth = 0;
    }

    /// Marks a place to which the running closure may return.
    pub(crate) fn set_savepoint(&mut self) -> Result<(), Error> {
        if let Some(cause) = &self.spoiled {
            return Err(Error::Aborted { cause: Box::new(cause.clone()) });
        }
        let set = self.control(&format!("SAVEPOINT point_{}", self.depth));
        self.note(set)?;
        self.depth += 1;
        Ok(())
    }

    /// Keeps what was done since the last savepoint, unless a statement failed since then.
    pub(crate) fn release_savepoint(&mut self) -> Result<(), Error> {
        if let Some(cause) = &self.spoiled {
            return Err(Error::Aborted { cause: Box::new(cause.clone()) });
        }
        let depth = self.depth.saturating_sub(1);
        let released = self.control(&format!("RELEASE point_{depth}"));
        self.note(released)?;
        self.depth = depth;
        Ok(())
    }

    /// Undoes what was done since the last savepoint, and forgets the failure of a statement since then. When SQLite has rolled the
    /// whole transaction back by itself, there is no savepoint to return to, and the closure stays spoiled.
    pub(crate) fn back_to_savepoint(&mut self) -> Result<(), Error> {
        let depth = self.depth.saturating_sub(1);
        let undone = self
            .control(&format!("ROLLBACK TO point_{depth}"))
            .and_then(|()| self.control(&format!("RELEASE point_{depth}")));
        self.depth = depth;
        match undone {
            Ok(()) => {
                self.spoiled = None;
                Ok(())
            }
            Err(error) => {
                let cause = self.spoiled.get_or_insert(error).clone();
                Err(Error::Aborted { cause: Box::new(cause) })
            }
        }
    }

    /// Whether writing statements are accepted.
    pub(crate) fn set_writes(&mut self, writes: bool) {
        self.writes = writes;
    }

    /// The failure that keeps the running closure from being committed.
    pub(crate) fn spoiled(&self) -> Option<&Error> {
        self.spoiled.as_ref()
    }

    /// Spoils a closure that ends in the middle of a savepoint: part of what it did there would be committed.
    pub(crate) fn end(&mut self) {
        if self.depth > 0 && self.spoiled.is_none() {
            self.spoiled = Some(Error::ForeignWait);
        }
    }

    /// Whether a transaction is open. SQLite closes it by itself on some failures (disk full, input or
    /// output).
    pub(crate) fn in_transaction(&self) -> bool {
        !self.conn.is_autocommit()
    }

    /// Why there is no transaction any more, when no statement said so.
    pub(crate) fn transaction_gone() -> Error {
        Error::Io { detail: "the database rolled the transaction back".to_owned() }
    }

    /// Runs a statement of our own, such as `COMMIT`: unguarded, without parameters.
    pub(crate) fn control(&self, sql: &str) -> Result<(), Error> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.raw_execute())
            .map(|_| ())
            .map_err(|error| Error::from_sqlite(&error, sql))
    }

    /// Copies the log back into the database file. Gives the frames in the log and the frames copied.
    pub(crate) fn checkpoint(&self, due: Due) -> Result<(u32, u32), Error> {
        let failed = |error: rusqlite::Error| Error::from_sqlite(&error, "wal_checkpoint");
        let copy = |mode| self.conn.wal_checkpoint_v2(Some(rusqlite::MAIN_DB), mode).map_err(failed);
        let (log, copied) = match due {
            Due::Passive => copy(CheckpointMode::PASSIVE)?,
            Due::Restart => {
                self.conn.busy_timeout(RESTART_WAIT).map_err(failed)?;
                let copied = copy(CheckpointMode::RESTART);
                self.conn.busy_timeout(self.busy_timeout).map_err(failed)?;
                copied?
            }
        };
        Ok((u32::try_from(log).unwrap_or(0), u32::try_from(copied).unwrap_or(0)))
    }

    /// What a pragma reads.
    pub(crate) fn pragma(&self, pragma: &str) -> Result<String, Error> {
        open::read(&self.conn, pragma)
    }

    /// Runs a script of several statements, as migrations have them.
    pub(crate) fn script(&mut self, sql: &str) -> Result<(), Error> {
        let result = self.conn.execute_batch(sql).map_err(|error| Error::from_sqlite(&error, "script"));
        self.note(result)
    }

    pub(crate) fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, Error> {
        self.check(sql)?;
        let result = run(&self.conn, self.writes, sql, params, |statement| {
            let changed = statement.raw_execute()?;
            Ok(u64::try_from(changed).unwrap_or(u64::MAX))
        });
        self.note(result)
    }

    /// At most `rows_max` rows of what the statement returns.
    pub(crate) fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        rows_max: usize,
    ) -> Result<Vec<Row>, Error> {
        self.check(sql)?;
        let result = run(&self.conn, self.writes, sql, params, |statement| collect(statement, rows_max));
        self.note(result)
    }

    fn check(&self, sql: &str) -> Result<(), Error> {
        if let Some(cause) = &self.spoiled {
            return Err(Error::Aborted { cause: Box::new(cause.clone()) });
        }
        // Outside a transaction a statement would commit on its own, whatever becomes of its closure.
        if !self.in_transaction() {
            return Err(Error::Aborted { cause: Box::new(Self::transaction_gone()) });
        }
        guard::check(sql)
    }

    fn note<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result
            && !matches!(error, Error::Params { .. } | Error::Forbidden { .. })
        {
            self.spoiled = Some(error.clone());
        }
        result
    }
}

fn run<T>(
    conn: &Connection,
    writes: bool,
    sql: &str,
    params: &[Param<'_>],
    body: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    let mut statement = conn.prepare_cached(sql).map_err(|error| Error::from_sqlite(&error, sql))?;
    if !writes && !statement.readonly() {
        return Err(Error::Forbidden { reason: "a reading transaction does not write", sql: sql.to_owned() });
    }
    bind(&mut statement, sql, params)?;
    body(&mut statement).map_err(|error| Error::from_sqlite(&error, sql))
}

/// Binds by number, not by position: SQLite numbers `$2, $1` in the order in which they appear.
fn bind(statement: &mut Statement<'_>, sql: &str, params: &[Param<'_>]) -> Result<(), Error> {
    let expected = statement.parameter_count();
    let wrong = || Error::Params { expected, given: params.len(), sql: sql.to_owned() };
    if expected != params.len() {
        return Err(wrong());
    }
    for position in 1..=expected {
        let name = statement.parameter_name(position).and_then(|name| name.strip_prefix('$'));
        let number: usize = name.and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
        let param = params.get(number.wrapping_sub(1)).ok_or_else(wrong)?;
        statement
            .raw_bind_parameter(position, Bound(*param))
            .map_err(|error| Error::from_sqlite(&error, sql))?;
    }
    Ok(())
}

struct Bound<'a>(Param<'a>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Param::Null => ValueRef::Null,
            Param::Integer(number) => ValueRef::Integer(number),
            Param::Text(text) => ValueRef::Text(text.as_bytes()),
            Param::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn collect(statement: &mut Statement<'_>, rows_max: usize) -> rusqlite::Result<Vec<Row>> {
    let width = statement.column_count();
    let mut rows = statement.raw_query();
    let mut collected = Vec::new();
    while let Some(row) = rows.next()? {
        collected.push(owned(row, width)?);
        if collected.len() == rows_max {
            break;
        }
    }
    Ok(collected)
}

fn owned(row: &rusqlite::Row<'_>, width: usize) -> rusqlite::Result<Row> {
    let mut cells = Vec::with_capacity(width);
    let mut data = Vec::new();
    let mut keep = |bytes: &[u8]| {
        let start = data.len();
        data.extend_from_slice(bytes);
        start..data.len()
    };
    for index in 0..width {
        cells.push(match row.get_ref(index)? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(number) => Cell::Integer(number),
            ValueRef::Real(_) => Cell::Real,
            ValueRef::Text(text) => Cell::Text(keep(text)),
            ValueRef::Blob(bytes) => Cell::Bytes(keep(bytes)),
        });
    }
    Ok(Row::new(cells.into_boxed_slice(), data.into_boxed_slice()))
}
