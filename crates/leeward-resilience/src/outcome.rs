//! What a policy learns about a call: its [`Class`], and what it says when it refuses one or gives up.

mod rejected;

use std::time::Duration;

use crate::fault::Fault;

pub(crate) use self::rejected::per_mille;
pub use self::rejected::{Opened, OpenedBy, Reason, Rejected};

/// What an answer means to the policies. The caller of a pipeline classifies: only it knows what a 404 or a decline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The upstream did its work. A business refusal (declined card, not found) is a success here.
    Success,
    /// The upstream failed: counts for breaker and outlier ejection.
    Failure {
        /// Whether the same call may succeed when it is sent again, provided that the call may be repeated at all.
        retryable: bool,
        /// The upstream's own `Retry-After`.
        retry_after: Option<Duration>,
        /// Whether nothing of the call was executed, and it can be sent again: then it is retried also where it may not be
        /// repeated.
        untouched: bool,
    },
    /// Says nothing about the upstream: the caller's mistake, or a rejection by one of our own policies.
    Ignored,
}

impl Class {
    /// A failure that a retry can help against.
    pub const RETRYABLE: Self = Self::Failure { retryable: true, retry_after: None, untouched: false };
    /// A failure that a retry cannot help against.
    pub const PERMANENT: Self = Self::Failure { retryable: false, retry_after: None, untouched: false };
    /// A failure of a call that was refused before anything of it was executed.
    pub const UNTOUCHED: Self = Self::Failure { retryable: true, retry_after: None, untouched: true };

    /// The class of an HTTP status as HTTP itself defines it: 502, 503, 504 and 429 are retryable failures, other 5xx
    /// permanent ones, the rest successes.
    #[must_use]
    pub const fn of_http_status(status: u16, retry_after: Option<Duration>) -> Self {
        match status {
            429 | 502..=504 => Self::Failure { retryable: true, retry_after, untouched: false },
            500..=599 => Self::Failure { retryable: false, retry_after, untouched: false },
            _ => Self::Success,
        }
    }
}

/// Who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// Whoever made the call: it asks too much, too often, or for too short a time.
    Caller,
    /// This process: it has too much to do, or its operator decided so.
    Ourselves,
    /// Who was called.
    Upstream,
}

/// What to do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Whose fault it is.
    pub blame: Blame,
    /// Whether the same call may end better when it is made again, provided that it may be repeated.
    pub retry: bool,
    /// The soonest that it is worth it; `None` when nobody said.
    pub after: Option<Duration>,
}

impl Reason {
    /// Whose fault the refusal is.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::RateExceeded { .. } => Blame::Caller,
            Self::ForcedOpen
            | Self::QueueFull { .. }
            | Self::WaitedTooLong { .. }
            | Self::StoreUnavailable
            | Self::Shed { .. } => Blame::Ourselves,
            Self::Open(_)
            | Self::Probing { .. }
            | Self::AdaptiveLimit { .. }
            | Self::Throttled { .. }
            | Self::NoEndpoint
            | Self::EndpointsBusy { .. } => Blame::Upstream,
        }
    }
}

/// How a call ended without an answer, or with an error of its own. Exhaustive on purpose: each case needs another reaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error<E> {
    /// One of our own policies refused the call and it was not sent. The same target must not be retried.
    #[error(transparent)]
    Rejected(Rejected),
    /// The last attempt took longer than the attempt timeout. It may have been executed.
    #[error("no answer within {after:?}")]
    Timeout {
        /// The attempt timeout.
        after: Duration,
    },
    /// The caller's deadline passed. When `attempts` is not 0, the call may have been executed.
    #[error("deadline exceeded after {attempts} attempts")]
    DeadlineExceeded {
        /// Attempts that were started.
        attempts: u32,
        /// The error of the attempt before the one that the deadline cut short.
        last: Option<E>,
    },
    /// An experiment made the last attempt fail ([`FaultInjector`](crate::FaultInjector)). After a lost reply it was executed.
    #[error("{0} by fault injection")]
    Injected(Fault),
    /// The call's own error, from the last attempt that had one.
    #[error(transparent)]
    Inner(E),
}

impl<E> Error<E> {
    /// Whether the upstream cannot have seen the call.
    #[must_use]
    pub const fn not_sent(&self) -> bool {
        matches!(self, Self::Rejected(_) | Self::DeadlineExceeded { attempts: 0, .. })
    }

    /// Whose fault it is, and whether and when the same call is worth another try. `class` is the caller's word on its own
    /// error, as for [`Pipeline::call`](crate::Pipeline::call).
    pub fn advice(&self, class: impl FnOnce(&E) -> Class) -> Advice {
        match self {
            Self::Rejected(rejected) => {
                let after = rejected.retry_after;
                Advice { blame: rejected.reason.blame(), retry: after.is_some(), after }
            }
            // Another call may be faster; whether it may be repeated at all only its caller knows.
            Self::Timeout { .. } | Self::Injected(_) => {
                Advice { blame: Blame::Upstream, retry: true, after: None }
            }
            Self::DeadlineExceeded { .. } => Advice { blame: Blame::Caller, retry: false, after: None },
            Self::Inner(error) => match class(error) {
                Class::Failure { retryable, retry_after, .. } => {
                    Advice { blame: Blame::Upstream, retry: retryable, after: retry_after }
                }
                Class::Success | Class::Ignored => Advice { blame: Blame::Caller, retry: false, after: None },
            },
        }
    }

    /// When it is worth trying again, if a policy knows.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected(rejected) => rejected.retry_after,
            _ => None,
        }
    }
}

impl<E> Error<Error<E>> {
    /// One level for two: for stacks of tower layers, each of which adds one.
    #[must_use]
    pub fn flatten(self) -> Error<E> {
        match self {
            Self::Inner(inner) => inner,
            Self::Rejected(rejected) => Error::Rejected(rejected),
            Self::Timeout { after } => Error::Timeout { after },
            Self::Injected(fault) => Error::Injected(fault),
            Self::DeadlineExceeded { attempts, last } => Error::DeadlineExceeded {
                attempts,
                last: last.and_then(|error| match error {
                    Error::Inner(inner) => Some(inner),
                    _ => None,
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_never_left_counts_as_not_sent() {
        type Inner = Error<std::io::Error>;
        assert!(Inner::DeadlineExceeded { attempts: 0, last: None }.not_sent());
        assert!(!Inner::DeadlineExceeded { attempts: 1, last: None }.not_sent());
        assert!(!Inner::Timeout { after: Duration::from_secs(1) }.not_sent());
    }

    #[test]
    fn advice_says_whose_fault_it_is_and_whether_and_when_to_come_back() {
        let advice = |error: Error<Class>| {
            let Advice { blame, retry, after } = error.advice(|class| *class);
            (blame, retry, after)
        };
        let soon = Some(Duration::from_secs(2));
        let rejected = |reason, after| Error::Rejected(Rejected::new("any", reason).with_retry_after(after));
        assert_eq!(
            advice(rejected(Reason::RateExceeded { limit: 1, period: Duration::from_secs(1) }, soon)),
            (Blame::Caller, true, soon)
        );
        assert_eq!(
            advice(rejected(Reason::QueueFull { limit: 1, queue: 0 }, soon)),
            (Blame::Ourselves, true, soon)
        );
        assert_eq!(advice(rejected(Reason::NoEndpoint, None)), (Blame::Upstream, false, None));
        assert_eq!(advice(Error::Timeout { after: Duration::ZERO }), (Blame::Upstream, true, None));
        assert_eq!(advice(Error::DeadlineExceeded { attempts: 1, last: None }), (Blame::Caller, false, None));
        let busy = Class::Failure { retryable: true, retry_after: soon, untouched: false };
        assert_eq!(advice(Error::Inner(busy)), (Blame::Upstream, true, soon));
        assert_eq!(advice(Error::Inner(Class::PERMANENT)), (Blame::Upstream, false, None));
        assert_eq!(advice(Error::Inner(Class::Ignored)), (Blame::Caller, false, None));
    }

    #[test]
    fn http_statuses() {
        assert_eq!(Class::of_http_status(404, None), Class::Success);
        assert_eq!(Class::of_http_status(503, None), Class::RETRYABLE);
        assert_eq!(Class::of_http_status(500, None), Class::PERMANENT);
        let patient = Some(Duration::from_secs(2));
        assert_eq!(
            Class::of_http_status(429, patient),
            Class::Failure { retryable: true, retry_after: patient, untouched: false }
        );
    }
}
