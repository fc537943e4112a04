//! How a call can end without the answer that was hoped for, and what may have happened on the other side.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use leeward_resilience::Rejected;

use crate::problem::{Problem, ProblemBody, code};

/// Why there is no answer. [`CallError::effect`] says what it means for the work that was asked for.
///
/// `?` in a handler turns it into a [`Problem`] that says no more than is known: 503, which promises that nothing was
/// changed, only where [`CallError::effect`] is [`Effect::None`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The target answered with an error.
    #[error("{target} answered {body}")]
    Problem {
        /// Who.
        target: Arc<str>,
        /// What it said.
        body: Box<ProblemBody>,
        /// Its `Retry-After`.
        retry_after: Option<Duration>,
        /// An earlier attempt may have been executed, and this answer does not say.
        in_doubt: bool,
    },
    /// One of our own policies refused the call; nothing was sent.
    #[error("call to {target} {rejected}")]
    Rejected {
        /// Who was to be called.
        target: Arc<str>,
        /// Which policy, and why.
        rejected: Rejected,
    },
    /// Nothing was sent: no endpoint, no connection, no time left.
    #[error("call to {target} was not sent: {reason}")]
    NotSent {
        /// Who was to be called.
        target: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
    /// It was sent, or may have been, and no answer came: it may have been executed.
    #[error("call to {target} has no known outcome: {reason}")]
    Unknown {
        /// Who was called.
        target: Arc<str>,
        /// What happened instead of an answer.
        reason: Arc<str>,
    },
    /// An answer came, of another shape than expected. It was executed.
    #[error("{target} answered something unreadable: {reason}")]
    Decode {
        /// Who.
        target: Arc<str>,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// The call cannot be made as it was built: a path that is no path, a body that is no JSON.
    #[error("call to {target} cannot be built: {reason}")]
    Build {
        /// Who was to be called.
        target: Arc<str>,
        /// What is wrong with it.
        reason: Arc<str>,
    },
}

/// What may have happened on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it may be tried again, or given up.
    None,
    /// Perhaps all of it: find out before doing either.
    Unknown,
}

impl CallError {
    /// What may have happened on the other side.
    ///
    /// A 4xx is a refusal. A 503 is, between services of this kit, given before any state changes. Any other 5xx can come
    /// after the work. An attempt whose fate is not known outweighs what came after it, unless that speaks for both.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::Rejected { .. } | Self::NotSent { .. } | Self::Build { .. } => Effect::None,
            Self::Problem { body, in_doubt: false, .. } if body.status < 500 || body.status == 503 => {
                Effect::None
            }
            Self::Problem { .. } | Self::Unknown { .. } | Self::Decode { .. } => Effect::Unknown,
        }
    }

    /// The target's own problem, if it answered with one: for matching on its `code`.
    #[must_use]
    pub fn problem(&self) -> Option<&ProblemBody> {
        match self {
            Self::Problem { body, .. } => Some(body),
            _ => None,
        }
    }

    /// The status the target answered with, if it answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.problem().map(|body| body.status)
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Problem { body, .. } => body.status >= 500 || body.status == 429,
            Self::Rejected { .. } | Self::NotSent { .. } | Self::Unknown { .. } => true,
            Self::Decode { .. } | Self::Build { .. } => false,
        }
    }

    /// When it is worth trying again, if anybody said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem { retry_after, .. } => *retry_after,
            Self::Rejected { rejected, .. } => rejected.retry_after,
            _ => None,
        }
    }
}

/// What a handler answers when a call that it needs has failed. Codes of the target that mean something to the caller are
/// for the handler to match first.
///
/// A call whose outcome is not known is answered with 504, whatever its target said: a 503 would tell our caller that
/// nothing happened, and a saga would undo all but what the target has done. A handler that has changed something itself
/// before the call, here or at another service, must not use `?` on it either: see [`Problem`].
impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let retry_after = error.retry_after().unwrap_or(Duration::from_secs(1));
        let unavailable = |status| Self::new(status, code::UPSTREAM_UNAVAILABLE).retry_after(retry_after);
        match (&error, error.effect()) {
            (CallError::Build { .. }, _) => Self::internal(&error),
            (CallError::Decode { .. }, _) => {
                tracing::warn!(%error, "unreadable answer");
                Self::new(StatusCode::BAD_GATEWAY, code::UPSTREAM_INVALID)
            }
            (_, Effect::Unknown) => {
                tracing::warn!(%error, "a call has no known outcome");
                unavailable(StatusCode::GATEWAY_TIMEOUT)
            }
            (CallError::Problem { body, .. }, Effect::None) if body.status < 500 && body.status != 429 => {
                // We asked for something that the target refuses: to our caller that is our fault.
                tracing::warn!(%error, "refused by an upstream");
                Self::new(StatusCode::BAD_GATEWAY, code::UPSTREAM_INVALID)
            }
            (_, Effect::None) => unavailable(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_happened() {
        let problem = |status, in_doubt| CallError::Problem {
            target: "payments".into(),
            body: Box::new(ProblemBody {
                status,
                code: String::new(),
                title: String::new(),
                detail: None,
                extra: serde_json::Map::new(),
            }),
            retry_after: None,
            in_doubt,
        };
        for (status, in_doubt, effect) in [
            (404, false, Effect::None),
            (503, false, Effect::None),
            (500, false, Effect::Unknown),
            (504, false, Effect::Unknown),
            (503, true, Effect::Unknown),
            (404, true, Effect::Unknown),
        ] {
            let error = problem(status, in_doubt);
            assert_eq!(error.effect(), effect, "{status} {in_doubt}");
            // 503 is a promise, and only what is known can be promised.
            let answer = Problem::from(error).status();
            assert!(
                effect == Effect::None || answer != StatusCode::SERVICE_UNAVAILABLE,
                "{status} {in_doubt}"
            );
        }
    }
}
