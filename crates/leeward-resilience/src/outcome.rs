//! What a policy learns about a call: its [`Class`], and what it says when it refuses one or gives up.

use std::fmt;
use std::time::Duration;

use crate::fault::Fault;
use crate::priority::Priority;

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
    },
    /// Says nothing about the upstream: the caller's mistake, or a rejection by one of our own policies.
    Ignored,
}

impl Class {
    /// A failure that a retry can help against.
    pub const RETRYABLE: Self = Self::Failure { retryable: true, retry_after: None };
    /// A failure that a retry cannot help against.
    pub const PERMANENT: Self = Self::Failure { retryable: false, retry_after: None };

    /// The class of an HTTP status as HTTP itself defines it: 502, 503, 504 and 429 are retryable failures, other 5xx
    /// permanent ones, the rest successes.
    #[must_use]
    pub const fn of_http_status(status: u16, retry_after: Option<Duration>) -> Self {
        match status {
            429 | 502..=504 => Self::Failure { retryable: true, retry_after },
            500..=599 => Self::Failure { retryable: false, retry_after },
            _ => Self::Success,
        }
    }
}

/// A call that a policy refused before it was sent. Nothing happened at the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The policy: one of the `NAME` constants of the policy modules.
    pub policy: &'static str,
    /// Why, with the numbers that decided.
    pub reason: Reason,
    /// When it is worth trying again; `None` when waiting does not help.
    pub retry_after: Option<Duration>,
}

/// What a breaker had seen when it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Which of its rules opened it; the threshold is in its options.
    pub cause: OpenedBy,
    /// Failures in the window.
    pub failures: u32,
    /// Slow calls in the window, failed ones among them; 0 when it does not look for them.
    pub slow: u32,
    /// Successes and failures in the window.
    pub calls: u32,
    /// Failures in a row.
    pub consecutive: u32,
    /// Under which version of its options: 1 for those that it was made with, one more for each
    /// [`reconfigure`](crate::CircuitBreaker::reconfigure).
    pub version: u32,
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, failures, slow, calls, consecutive, version } = self;
        match cause {
            OpenedBy::FailureRate => write!(f, "open after {failures} failures of {calls} calls")?,
            OpenedBy::SlowRate => write!(f, "open after {slow} slow calls of {calls}")?,
            OpenedBy::Consecutive => write!(f, "open after {consecutive} failures in a row")?,
        }
        if *version > 1 { write!(f, " (options of version {version})") } else { Ok(()) }
    }
}

/// Which rule opened a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenedBy {
    /// The share of failures.
    FailureRate,
    /// The share of slow calls.
    SlowRate,
    /// So many failures in a row.
    Consecutive,
}

/// Why a policy refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The breaker is open.
    Open(Opened),
    /// The breaker is half-open and all its probes are on their way.
    Probing {
        /// How many.
        in_flight: u32,
    },
    /// An operator holds the breaker open.
    ForcedOpen,
    /// All permits are taken and the queue is full.
    QueueFull {
        /// Calls at a time.
        limit: u32,
        /// Places in the queue.
        queue: u32,
    },
    /// No permit came free in time.
    WaitedTooLong {
        /// The time in the queue.
        waited: Duration,
    },
    /// More than so many calls in a period.
    RateExceeded {
        /// Calls a period.
        limit: u32,
    },
    /// The store of a shared rate limit gave no answer, and the limit fails closed.
    StoreUnavailable,
    /// As many calls are on their way as the limit that was found allows.
    AdaptiveLimit {
        /// Calls at a time.
        limit: u32,
    },
    /// The upstream refuses too much, and this call was among those that are not sent.
    Throttled {
        /// The probability that it was rejected with, in thousandths.
        per_mille: u32,
        /// Requests in the window.
        requests: u32,
        /// Those of them that the upstream accepted.
        accepts: u32,
    },
    /// Calls waited too long for their turn, and its priority is shed.
    Shed {
        /// The priority of the call.
        priority: Priority,
        /// The smallest delay of the last interval that was too slow.
        delay: Duration,
        /// What it should have been.
        target: Duration,
    },
    /// The upstream has no endpoints.
    NoEndpoint,
    /// Every endpoint of the upstream has as many calls on their way as it may have.
    EndpointsBusy {
        /// Calls at a time for each endpoint.
        limit: u32,
    },
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rejected by {}: {}", self.policy, self.reason)?;
        match self.retry_after {
            Some(after) => write!(f, "; try again in {after:?}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(opened) => opened.fmt(f),
            Self::Probing { in_flight } => write!(f, "half-open with {in_flight} probes on their way"),
            Self::ForcedOpen => f.write_str("held open by an operator"),
            Self::QueueFull { limit, queue } => write!(f, "{limit} calls on their way and {queue} waiting"),
            Self::WaitedTooLong { waited } => write!(f, "no permit within {waited:?}"),
            Self::RateExceeded { limit } => write!(f, "more than {limit} calls a period"),
            Self::StoreUnavailable => f.write_str("the store of the limit gave no answer"),
            Self::AdaptiveLimit { limit } => {
                write!(f, "{limit} calls on their way, as many as it was found to take")
            }
            Self::Throttled { per_mille, requests, accepts } => write!(
                f,
                "throttled with a probability of {}.{} %: {accepts} of {requests} requests were accepted",
                per_mille / 10,
                per_mille % 10
            ),
            Self::Shed { priority, delay, target } => {
                write!(
                    f,
                    "priority {priority} is shed: nobody waited less than {delay:?}, the target is {target:?}"
                )
            }
            Self::NoEndpoint => f.write_str("the upstream has no endpoints"),
            Self::EndpointsBusy { limit } => write!(f, "every endpoint has {limit} calls on their way"),
        }
    }
}

/// The cause of every [`Rejected`]: what an error that is made of others still shows of one.
#[derive(Debug, thiserror::Error)]
#[error("nothing was sent")]
struct NotSent;

impl std::error::Error for Rejected {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&NotSent)
    }
}

/// Causes that are looked at: more than anybody nests.
const CAUSES_MAX: usize = 32;

impl Rejected {
    /// Whether `error`, or any of the causes that its [`source`](std::error::Error::source) names, is a rejection by one of
    /// these policies: through stacks of layers, and through errors of your own that name theirs.
    #[must_use]
    pub fn caused(error: &(dyn std::error::Error + 'static)) -> bool {
        std::iter::successors(Some(error), |&error| error.source())
            .take(CAUSES_MAX)
            .any(|cause| cause.is::<NotSent>())
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
                Class::Failure { retryable, retry_after } => {
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
    fn a_rejection_names_its_numbers() {
        let rejected = Rejected {
            policy: "breaker",
            reason: Reason::Open(Opened {
                cause: OpenedBy::FailureRate,
                failures: 11,
                slow: 0,
                calls: 20,
                consecutive: 3,
                version: 1,
            }),
            retry_after: Some(Duration::from_secs(5)),
        };
        assert_eq!(
            rejected.to_string(),
            "rejected by breaker: open after 11 failures of 20 calls; try again in 5s"
        );
    }

    #[test]
    fn a_rejection_is_known_through_any_stack_and_nothing_else_is_one() {
        #[derive(Debug, thiserror::Error)]
        #[error("the user's own")]
        struct Own(#[source] Error<Error<std::io::Error>>);

        let rejected = Rejected { policy: "breaker", reason: Reason::ForcedOpen, retry_after: None };
        assert!(Rejected::caused(&rejected));
        assert!(Rejected::caused(&Own(Error::Rejected(rejected))));
        assert!(Rejected::caused(&Own(Error::Inner(Error::Rejected(rejected)))));
        let timeout = Error::Timeout { after: Duration::from_secs(1) };
        assert!(!Rejected::caused(&Own(Error::Inner(timeout))));
        assert!(!Rejected::caused(&Own(Error::Inner(Error::Inner(std::io::Error::other("503"))))));
    }

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
        let rejected = |reason, retry_after| Error::Rejected(Rejected { policy: "any", reason, retry_after });
        assert_eq!(advice(rejected(Reason::RateExceeded { limit: 1 }, soon)), (Blame::Caller, true, soon));
        assert_eq!(
            advice(rejected(Reason::QueueFull { limit: 1, queue: 0 }, soon)),
            (Blame::Ourselves, true, soon)
        );
        assert_eq!(advice(rejected(Reason::NoEndpoint, None)), (Blame::Upstream, false, None));
        assert_eq!(advice(Error::Timeout { after: Duration::ZERO }), (Blame::Upstream, true, None));
        assert_eq!(advice(Error::DeadlineExceeded { attempts: 1, last: None }), (Blame::Caller, false, None));
        let busy = Class::Failure { retryable: true, retry_after: soon };
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
            Class::Failure { retryable: true, retry_after: patient }
        );
    }
}
