//! What a step reports, and how a saga ends.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What one attempt of an action or an undo came to.
///
/// The difference between the last three decides about money. `Rejected` is the other side's final "no": nothing happened. `Transient`
/// means that nothing happened *this time* (not connected, 503, a lock): trying again is safe. `Unknown` means that it may have
/// happened (a timeout after sending, a lost reply): it is neither tried as if new nor compensated, but reconciled first. When
/// in doubt between the two, it is `Unknown`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome<S> {
    /// Done, or found done already; the saga's state with what the step found out.
    Done(S),
    /// The business says no. Before and at the pivot the saga compensates; after it, and from an undo, the saga is stuck.
    Rejected(Rejection),
    /// It surely did not happen, and may work later. The text is for operators.
    Transient(String),
    /// It may or may not have happened. The step is called again with [`StepCx::reconcile`](crate::StepCx::reconcile) and the same
    /// key, until it is known. The text is for operators.
    Unknown(String),
}

impl<S> Outcome<S> {
    /// A rejection with a stable code and a text for people.
    pub fn rejected(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::Rejected(Rejection { code: code.into(), detail: detail.into() })
    }

    /// The outcome's name as it stands in metrics and in the history.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Rejected(_) => "rejected",
            Self::Transient(_) => "transient",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// The other side's final "no".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// A stable code, such as `card_declined`.
    pub code: Cow<'static, str>,
    /// A text for people.
    pub detail: String,
}

/// Why a saga compensates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The step that did not succeed.
    pub step: Arc<str>,
    /// The rejection's code, or [`EXHAUSTED`] when the step's attempts were used up.
    pub code: Arc<str>,
    /// A text for people.
    pub detail: Arc<str>,
}

/// The [`Reason::code`] of a step that was tried as often as its policy allows.
pub const EXHAUSTED: &str = "attempts_exhausted";

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at `{}`: {}", self.code, self.step, self.detail)
    }
}

/// How a saga ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All steps are done.
    Completed,
    /// Everything that was done has been undone.
    Compensated {
        /// Why.
        reason: Reason,
    },
}

impl End {
    /// The end's name as it stands in metrics and in the history.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Compensated { .. } => "compensated",
        }
    }
}

/// A failure inside a step's transaction, which was rolled back with everything the step did in it.
///
/// It takes any error by `?`, so it is no `std::error::Error` itself. The step counts as [`Outcome::Transient`].
#[derive(Debug)]
pub struct Fault(String);

impl Fault {
    /// A fault with a text for operators.
    pub fn new(detail: impl Into<String>) -> Self {
        Self(detail.into())
    }

    pub(crate) fn into_detail(self) -> String {
        self.0
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Fault {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}
