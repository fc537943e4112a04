//! SQLite's result codes as typed errors.

use rusqlite::ErrorCode;

use super::Error;

impl Error {
    /// Turns a SQLite failure of the statement `sql` into the typed error.
    pub(crate) fn from_sqlite(error: &rusqlite::Error, sql: &str) -> Self {
        let (code, message) = match error {
            rusqlite::Error::SqliteFailure(code, message) => {
                (*code, message.clone().unwrap_or_else(|| code.to_string()))
            }
            rusqlite::Error::SqlInputError { error, msg, .. } => (*error, msg.clone()),
            other => return Self::Sql { code: 0, detail: format!("{other}: {sql}") },
        };
        match code.code {
            ErrorCode::DiskFull => Self::DiskFull,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy,
            ErrorCode::ConstraintViolation => {
                let unique = matches!(
                    code.extended_code,
                    rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
                        | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                        | rusqlite::ffi::SQLITE_CONSTRAINT_ROWID
                );
                Self::Constraint { unique, detail: message }
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Corrupt { detail: message },
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                Self::Io { detail: format!("{message} (code {})", code.extended_code) }
            }
            _ => Self::Sql { code: code.extended_code, detail: format!("{message}: {sql}") },
        }
    }
}
