//! The point in time after which nobody waits for the answer any more, and how it travels.
//!
//! **Rule.** A deadline is inherited: the caller's, capped by what this hop allows, or this hop's own when there is none. It goes
//! on as the milliseconds that are left, rounded down. Nothing is started, neither an attempt nor a wait, that could not end
//! before it, and there always is one: a pipeline's is 10 s unless another is set.
//!
//! Trade-off: a hop whose caller set a long deadline works on for somebody who may have gone away; only a dropped connection
//! says so. What the network took is not subtracted.
//!
//! Source: deadlines of gRPC (`grpc-timeout`) and of Google's RPCs: Beyer et al., "Site Reliability Engineering" (2016),
//! chapter 22, "Deadline Propagation".
//!
//! ```
//! use std::time::Duration;
//! use leeward_resilience::{Clock, Deadline, ManualClock};
//!
//! let clock = ManualClock::new();
//! let longest = Duration::from_secs(5);
//! let inherited = Deadline::from_header("750", clock.now(), longest).expect("a number");
//! clock.advance(Duration::from_millis(250));
//! assert_eq!(inherited.header_ms(clock.now()), 500);
//! // Whoever asks for an hour gets what this hop allows.
//! let greedy = Deadline::from_header("3600000", clock.now(), longest).expect("a number");
//! assert_eq!(greedy.remaining(clock.now()), longest);
//! ```

use std::time::Duration;

use crate::time::Instant;

/// Header with the milliseconds that remain to the caller's deadline. A duration, not a time: clocks differ.
pub const DEADLINE_HEADER: &str = "x-deadline-ms";

/// Header with what the caller says about its own attempts, see [`Effort`](crate::Effort): absent for a first attempt.
pub const ATTEMPT_HEADER: &str = "x-retry-attempt";

/// A deadline on the caller's clock. It travels as the time that remains ([`DEADLINE_HEADER`]), so each hop loses only
/// the network time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// Later than any clock goes.
    pub(crate) const NEVER: Self = Self(Instant::NEVER);

    /// The deadline `timeout` after `now`.
    #[must_use]
    pub fn after(now: Instant, timeout: Duration) -> Self {
        Self(now + timeout)
    }

    /// The deadline at `instant`.
    #[must_use]
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// When it is.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// What remains at `now`, zero when past.
    #[must_use]
    pub const fn remaining(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// Whether nothing remains at `now`.
    #[must_use]
    pub fn is_past(self, now: Instant) -> bool {
        now >= self.0
    }

    /// The earlier of two.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }

    /// The value of [`DEADLINE_HEADER`]: whole milliseconds, rounded down, so that a hop never believes in more than there is.
    #[must_use]
    pub fn header_ms(self, now: Instant) -> u64 {
        u64::try_from(self.remaining(now).as_millis()).unwrap_or(u64::MAX)
    }

    /// Reads a [`DEADLINE_HEADER`] value, capped by `max`; `None` when it is not a number (the header is then ignored).
    #[must_use]
    pub fn from_header(value: &str, now: Instant, max: Duration) -> Option<Self> {
        let ms = value.trim().parse::<u64>().ok()?;
        Some(Self::after(now, Duration::from_millis(ms).min(max)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_nanos(5_000_000_000);

    #[test]
    fn what_remains_is_never_negative() {
        let deadline = Deadline::after(NOW, Duration::from_millis(20));
        assert_eq!(deadline.remaining(NOW), Duration::from_millis(20));
        assert!(!deadline.is_past(NOW + Duration::from_millis(19)));
        assert!(deadline.is_past(NOW + Duration::from_millis(20)));
        assert_eq!(deadline.remaining(NOW + Duration::from_secs(9)), Duration::ZERO);
    }

    #[test]
    fn a_header_is_capped_and_nonsense_is_ignored() {
        let max = Duration::from_secs(30);
        let read = |value| Deadline::from_header(value, NOW, max).map(|it| it.header_ms(NOW));
        assert_eq!(read("250"), Some(250));
        assert_eq!(read("99999999999999"), Some(30_000));
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("-1"), None);
        assert_eq!(read("soon"), None);
    }
}
