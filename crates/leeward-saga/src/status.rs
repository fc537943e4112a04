//! A saga's state in one word.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::decide::{Phase, Progress, Wait};
use crate::outcome::End;

/// A saga's state in one word, for operators and lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Goes forward, or is about to try again.
    Running,
    /// Waits for a reply, a signal or a timer.
    Waiting,
    /// Undoes what it did.
    Compensating,
    /// An operator has to decide: see [`Sagas::retry`](crate::Sagas::retry), [`skip`](crate::Sagas::skip) and
    /// [`mark_done`](crate::Sagas::mark_done).
    Stuck,
    /// This binary cannot go on with it: its definition changed incompatibly or is missing. It goes on under one that can.
    Refused,
    /// Ended: all steps are done.
    Completed,
    /// Ended: all that was done is undone.
    Compensated,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Running,
        Self::Waiting,
        Self::Compensating,
        Self::Stuck,
        Self::Refused,
        Self::Completed,
        Self::Compensated,
    ];

    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Compensating => "compensating",
            Self::Stuck => "stuck",
            Self::Refused => "refused",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
        }
    }

    /// The status of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether the saga is over.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Compensated)
    }

    pub(crate) const fn of(progress: &Progress) -> Self {
        match &progress.phase {
            Phase::Forward { tries, .. } => match tries.wait {
                Wait::Reply { .. } => Self::Waiting,
                Wait::Ready | Wait::Backoff { .. } => Self::Running,
            },
            Phase::Backward { .. } => Self::Compensating,
            Phase::Ending { end: End::Completed, .. } => Self::Running,
            Phase::Ending { end: End::Compensated { .. }, .. } => Self::Compensating,
            Phase::Stuck(_) => Self::Stuck,
            Phase::Ended(End::Completed) => Self::Completed,
            Phase::Ended(End::Compensated { .. }) => Self::Compensated,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
