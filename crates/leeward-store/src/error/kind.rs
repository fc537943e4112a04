//! What to do about an error.

use super::Error;

/// The sort of an [`Error`], for deciding what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The queue is full: shed the work (503) or try again later.
    Full,
    /// No space: shed the work (503); recovers by itself once there is room.
    DiskFull,
    /// A lock was not free in time, or a shared commit failed: a retry can help.
    Busy,
    /// The database is closed: the process is stopping.
    Closed,
    /// A constraint refused the change: the caller's data, or a race that the caller expects.
    Constraint {
        /// Whether it was a unique key.
        unique: bool,
    },
    /// There is no such row.
    NotFound,
    /// A lease was lost: stop working under it.
    Fenced,
    /// Another process has the file: an operator decides.
    Locked,
    /// The database is newer than the binary: an operator decides.
    NewerSchema,
    /// The file is damaged: an operator decides.
    Corrupt,
    /// The file, the URL or a setting is wrong: an operator decides.
    Config,
    /// The file system failed; the outcome is rolled back.
    Io,
    /// The closure broke the rules (foreign wait, panic, forbidden or wrong statement): a defect.
    Defect,
}

impl Error {
    /// The sort of this error.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::QueueFull { .. } => Kind::Full,
            Self::DiskFull => Kind::DiskFull,
            Self::Busy | Self::Lost { .. } => Kind::Busy,
            Self::Closed => Kind::Closed,
            Self::Constraint { unique, .. } => Kind::Constraint { unique: *unique },
            Self::NotFound => Kind::NotFound,
            Self::Fenced { .. } => Kind::Fenced,
            Self::Locked { .. } => Kind::Locked,
            Self::NewerSchema { .. } => Kind::NewerSchema,
            Self::Corrupt { .. } => Kind::Corrupt,
            Self::Backend { .. }
            | Self::Url { .. }
            | Self::Open { .. }
            | Self::Version { .. }
            | Self::Setting { .. } => Kind::Config,
            Self::Io { .. } => Kind::Io,
            Self::Migration { cause, .. } | Self::Aborted { cause } => cause.kind(),
            Self::MigrationList { .. }
            | Self::ManyRows
            | Self::Column { .. }
            | Self::Params { .. }
            | Self::Forbidden { .. }
            | Self::ForeignWait
            | Self::Panicked { .. }
            | Self::Sql { .. } => Kind::Defect,
        }
    }

    /// Whether a unique index or primary key refused a second row of the same key.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        self.kind() == Kind::Constraint { unique: true }
    }

    /// Whether the same transaction can succeed after a while without anybody changing it: the queue or the
    /// disk is full, or a lock was not free. An HTTP server answers these with 503 and `Retry-After`.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self.kind(), Kind::Full | Kind::DiskFull | Kind::Busy)
    }

    /// What the others in a failed commit are told: the same where it is the disk's fault, not the blame for
    /// a neighbour's mistake.
    pub(crate) fn for_neighbour(&self) -> Self {
        match self.kind() {
            Kind::DiskFull | Kind::Busy | Kind::Io | Kind::Corrupt => self.clone(),
            _ => Self::Lost { cause: Box::new(self.clone()) },
        }
    }
}
