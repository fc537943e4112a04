//! What a policy says when it refuses a call: why, with the numbers and the options that decided.

use std::fmt;
use std::time::Duration;

use crate::priority::Priority;

/// A call that a policy refused before it was sent. Nothing happened at the upstream.
///
/// ```
/// use std::time::Duration;
/// use leeward_resilience::{Reason, Rejected};
/// let rejected = Rejected::new("directory", Reason::NoEndpoint).with_retry_after(Some(Duration::from_secs(1)));
/// assert_eq!(rejected.to_string(), "rejected by directory: the upstream has no endpoints; try again in 1s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejected {
    /// The policy: one of the `NAME` constants of the policy modules.
    pub policy: &'static str,
    /// Why, with the numbers that decided.
    pub reason: Reason,
    /// When it is worth trying again; `None` when waiting does not help.
    pub retry_after: Option<Duration>,
    /// The version of the options in force: 1 for those that the policy was made with, one more for each `reconfigure`.
    pub version: u32,
}

impl Rejected {
    /// A rejection that waiting does not help against, by options of version 1.
    #[must_use]
    pub const fn new(policy: &'static str, reason: Reason) -> Self {
        Self { policy, reason, retry_after: None, version: 1 }
    }

    /// With the time after which it is worth trying again.
    #[must_use]
    pub const fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// With the version of the options that decided.
    #[must_use]
    pub const fn with_version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }
}

/// What a breaker had seen when it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Which of its rules opened it, and the threshold that was reached.
    pub cause: OpenedBy,
    /// Failures in the window.
    pub failures: u32,
    /// Slow calls in the window, failed ones among them; 0 when it does not look for them.
    pub slow: u32,
    /// Successes and failures in the window.
    pub calls: u32,
    /// Failures in a row.
    pub consecutive: u32,
    /// Under which version of its options, which may be an earlier one than that of the rejection.
    pub version: u32,
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, failures, slow, calls, consecutive, .. } = self;
        match cause {
            OpenedBy::FailureRate { per_mille } => {
                write!(
                    f,
                    "open after {failures} failures of {calls} calls, threshold {}",
                    Percent(*per_mille)
                )
            }
            OpenedBy::SlowRate { per_mille } => {
                write!(f, "open after {slow} slow calls of {calls}, threshold {}", Percent(*per_mille))
            }
            OpenedBy::Consecutive { threshold } => {
                write!(f, "open after {consecutive} failures in a row, threshold {threshold}")
            }
        }
    }
}

/// Which rule opened a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenedBy {
    /// The share of failures.
    FailureRate {
        /// The share that opens it, in thousandths.
        per_mille: u32,
    },
    /// The share of slow calls.
    SlowRate {
        /// The share that opens it, in thousandths.
        per_mille: u32,
    },
    /// So many failures in a row.
    Consecutive {
        /// As many as open it.
        threshold: u32,
    },
}

/// A number as a whole number of thousandths: reasons are compared and copied.
pub(crate) fn per_mille(number: f64) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is outside the range becomes the end of it"
    )]
    let whole = (number * 1000.0).round() as u32;
    whole
}

/// Thousandths, shown as a percentage.
struct Percent(u32);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} %", self.0 / 10, self.0 % 10)
    }
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
        /// Successes that it needs to close.
        probes: u32,
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
        /// The period.
        period: Duration,
    },
    /// The store of a shared rate limit gave no answer, and the limit fails closed.
    StoreUnavailable,
    /// As many calls are on their way as the limit that was found allows.
    AdaptiveLimit {
        /// Calls at a time.
        limit: u32,
        /// Calls on their way.
        in_flight: u32,
    },
    /// The upstream refuses too much, and this call was among those that are not sent.
    Throttled {
        /// The probability that it was rejected with, in thousandths.
        per_mille: u32,
        /// Requests in the window.
        requests: u32,
        /// Those of them that the upstream accepted.
        accepts: u32,
        /// The throttle's `k`, how many requests it allows for each accepted one, in thousandths.
        k_per_mille: u32,
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

impl Reason {
    /// The name in metrics and span events.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Open(_) => "open",
            Self::Probing { .. } => "probing",
            Self::ForcedOpen => "forced-open",
            Self::QueueFull { .. } => "queue-full",
            Self::WaitedTooLong { .. } => "waited-too-long",
            Self::RateExceeded { .. } => "rate-exceeded",
            Self::StoreUnavailable => "store-unavailable",
            Self::AdaptiveLimit { .. } => "adaptive-limit",
            Self::Throttled { .. } => "throttled",
            Self::Shed { .. } => "shed",
            Self::NoEndpoint => "no-endpoint",
            Self::EndpointsBusy { .. } => "endpoints-busy",
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rejected by {}: {}", self.policy, self.reason)?;
        if let Some(after) = self.retry_after {
            write!(f, "; try again in {after:?}")?;
        }
        if self.version > 1 { write!(f, "; options of version {}", self.version) } else { Ok(()) }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(opened) => opened.fmt(f),
            Self::Probing { in_flight, .. } => write!(f, "half-open with {in_flight} probes on their way"),
            Self::ForcedOpen => f.write_str("held open by an operator"),
            Self::QueueFull { limit, queue } => write!(f, "{limit} calls on their way and {queue} waiting"),
            Self::WaitedTooLong { waited } => write!(f, "no permit within {waited:?}"),
            Self::RateExceeded { limit, period } => write!(f, "more than {limit} calls in {period:?}"),
            Self::StoreUnavailable => f.write_str("the store of the limit gave no answer"),
            Self::AdaptiveLimit { limit, in_flight } => {
                write!(f, "{in_flight} calls on their way, and it was found to take {limit}")
            }
            Self::Throttled { per_mille, requests, accepts, k_per_mille } => write!(
                f,
                "throttled with a probability of {}: {accepts} of {requests} requests were accepted, k = {}",
                Percent(*per_mille),
                f64::from(*k_per_mille) / 1000.0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Error;

    #[test]
    fn a_rejection_names_its_numbers_and_later_options() {
        let opened = Opened {
            cause: OpenedBy::FailureRate { per_mille: per_mille(0.333) },
            failures: 11,
            slow: 0,
            calls: 20,
            consecutive: 3,
            version: 1,
        };
        let after = Some(Duration::from_secs(5));
        let rejected = Rejected::new("breaker", Reason::Open(opened)).with_retry_after(after);
        let text =
            "rejected by breaker: open after 11 failures of 20 calls, threshold 33.3 %; try again in 5s";
        assert_eq!(rejected.to_string(), text);
        let later = rejected.with_version(2).to_string();
        assert_eq!(later, format!("{text}; options of version 2"));
    }

    #[test]
    fn a_rejection_is_known_through_any_stack_and_nothing_else_is_one() {
        #[derive(Debug, thiserror::Error)]
        #[error("the user's own")]
        struct Own(#[source] Error<Error<std::io::Error>>);

        let rejected = Rejected::new("breaker", Reason::ForcedOpen);
        assert!(Rejected::caused(&rejected));
        assert!(Rejected::caused(&Own(Error::Rejected(rejected))));
        assert!(Rejected::caused(&Own(Error::Inner(Error::Rejected(rejected)))));
        let timeout = Error::Timeout { after: Duration::from_secs(1) };
        assert!(!Rejected::caused(&Own(Error::Inner(timeout))));
        assert!(!Rejected::caused(&Own(Error::Inner(Error::Inner(std::io::Error::other("503"))))));
    }
}
