//! What can go wrong, whose fault it is, and whether waiting helps.

mod from_sqlite;
mod kind;

use std::path::PathBuf;

pub use kind::Kind;

/// Everything this crate reports.
///
/// An error is cheap to clone, since a failed commit is reported to every closure that shared it. Decide on
/// [`Error::kind`], show the `Display` text: it names the cause and, where there is one, the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL names a backend that this build does not have.
    #[error(
        "this build has no {backend} backend; it stores in SQLite files: use a URL like `sqlite:leeward-data/orders.db`"
    )]
    Backend {
        /// The backend that the URL asks for.
        backend: &'static str,
    },
    /// The URL cannot be understood. It is shown up to its scheme only, since a URL may carry a password.
    #[error(
        "database URL starting `{scheme}` is not understood; use `sqlite:PATH`, `sqlite::memory:` or `postgres://...`"
    )]
    Url {
        /// What stands before the first colon, or the start of the text.
        scheme: String,
    },
    /// The file or its folder cannot be used.
    #[error("cannot open database {}: {detail}; check that the folder exists and is writable", path.display())]
    Open {
        /// The database file.
        path: PathBuf,
        /// The system's or SQLite's reason.
        detail: String,
    },
    /// Another process, or another handle in this one, has the database open.
    #[error("database {} is in use by another process{}; stop that process or choose another data folder", path.display(), owner_text(*owner))]
    Locked {
        /// The database file.
        path: PathBuf,
        /// The process id that the owner wrote into the lock file, when it could be read.
        owner: Option<u32>,
    },
    /// The SQLite library is too old: earlier versions lack repairs of the write-ahead log.
    #[error("SQLite {found} is too old: {required} or newer is needed for its write-ahead log repairs")]
    Version {
        /// The version of the linked library.
        found: String,
        /// The oldest version accepted.
        required: &'static str,
    },
    /// A setting that durability rests on did not take effect.
    #[error(
        "SQLite setting {pragma} reads back as `{found}`, `{wanted}` was set: accepted writes would not be durable"
    )]
    Setting {
        /// The pragma.
        pragma: &'static str,
        /// What was asked for.
        wanted: String,
        /// What the database reports.
        found: String,
    },
    /// The database was written by a newer version of this software.
    #[error(
        "the schema of `{component}` is at version {found}, this binary knows {known}: run a newer binary, or restore an older copy"
    )]
    NewerSchema {
        /// The component whose migrations these are.
        component: String,
        /// The version in the database.
        found: u32,
        /// The newest version that this binary knows.
        known: u32,
    },
    /// A migration that is already applied reads otherwise in this binary, or the list has a gap.
    #[error("migration {version} of `{component}`: {detail}")]
    MigrationList {
        /// The component whose migrations these are.
        component: String,
        /// The version in question.
        version: u32,
        /// What is wrong with the list.
        detail: &'static str,
    },
    /// A migration's SQL failed; nothing of this call was applied.
    #[error("migration {version} ({name}) of `{component}` failed: {cause}")]
    Migration {
        /// The component whose migrations these are.
        component: String,
        /// The version that failed.
        version: u32,
        /// Its name.
        name: String,
        /// Why.
        cause: Box<Error>,
    },
    /// The queue of waiting closures is full. Nothing was done; try again later.
    #[error("database `{name}` has {limit} transactions waiting; try again later")]
    QueueFull {
        /// The database's name.
        name: String,
        /// The queue's bound.
        limit: usize,
    },
    /// The database is closed, or closes. Nothing was done.
    #[error("database is closed")]
    Closed,
    /// The disk or the database's own size limit is full. Nothing was done; writes work again once there is
    /// room.
    #[error("no space left for the database")]
    DiskFull,
    /// Another connection holds the database for longer than the busy timeout. Nothing was done.
    #[error("database is busy: another connection holds its lock")]
    Busy,
    /// A constraint of the schema refused the change.
    #[error("constraint violated: {detail}")]
    Constraint {
        /// Whether a unique index or primary key refused a second row of the same key.
        unique: bool,
        /// SQLite's message: the constraint's columns, never their values.
        detail: String,
    },
    /// The file is damaged, or is no database.
    #[error("database file is damaged: {detail}; restore it from a copy")]
    Corrupt {
        /// SQLite's message.
        detail: String,
    },
    /// The statement was to return exactly one row and returned none.
    #[error("no such row")]
    NotFound,
    /// The statement was to return at most one row and returned several.
    #[error("more than one row where one was expected")]
    ManyRows,
    /// A column cannot be read as the type asked for.
    #[error("column {index} is {found}, read as {expected}")]
    Column {
        /// The column's index, from zero.
        index: usize,
        /// The type asked for.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// The statement's parameters are not `$1 .. $n` with one value each.
    #[error("statement takes {expected} parameters ($1 to ${expected}), {given} were given: {sql}")]
    Params {
        /// The number of values the statement takes.
        expected: usize,
        /// The number given.
        given: usize,
        /// The statement.
        sql: String,
    },
    /// The statement is not for a transaction's closure: transaction control, `PRAGMA`, `ATTACH`, `VACUUM`;
    /// or it writes in `db.read`.
    #[error("statement is not allowed here ({reason}): {sql}")]
    Forbidden {
        /// Why.
        reason: &'static str,
        /// The statement.
        sql: String,
    },
    /// The closure waited for something other than its statements. It was rolled back.
    #[error("a transaction's closure awaited something other than its own statements; it was rolled back")]
    ForeignWait,
    /// The closure panicked. It was rolled back; the database goes on.
    #[error("a transaction's closure panicked and was rolled back: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// An earlier statement of this transaction failed, so that nothing of it can be committed.
    #[error("an earlier statement of this transaction failed ({cause}); the transaction was rolled back")]
    Aborted {
        /// The first failure.
        cause: Box<Error>,
    },
    /// The commit that this transaction shared with others failed for a reason of theirs. Nothing of it was
    /// done; a retry can help.
    #[error("the commit shared with other transactions failed ({cause}); nothing was done, try again")]
    Lost {
        /// What failed.
        cause: Box<Error>,
    },
    /// A lease was lost: another owner holds a newer epoch. Nothing of this transaction may be committed.
    #[error("lease `{lease}` at epoch {held} was lost: it is at epoch {current:?} now")]
    Fenced {
        /// The lease's name.
        lease: String,
        /// The epoch that the caller holds.
        held: i64,
        /// The epoch in the database; none when the lease is unknown.
        current: Option<i64>,
    },
    /// Reading or writing the file failed.
    #[error("database input or output failed: {detail}")]
    Io {
        /// The system's or SQLite's reason.
        detail: String,
    },
    /// Anything else SQLite reports, most often a mistake in a statement.
    #[error("{detail}")]
    Sql {
        /// SQLite's extended result code.
        code: i32,
        /// SQLite's message and the statement, where known.
        detail: String,
    },
}

impl Error {
    pub(crate) fn io(error: &std::io::Error) -> Self {
        Self::Io { detail: error.to_string() }
    }
}

fn owner_text(owner: Option<u32>) -> String {
    owner.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}
