//! How long to wait before a step is tried again, and how often.

use std::num::NonZeroU32;
use std::time::Duration;

/// The retry policy of one action or undo: exponential backoff with jitter, and for some steps a bound.
///
/// The wait before attempt `n + 1` is drawn evenly from the upper half of `min(cap, first * 2^(n - 1))` (jitter keeps sagas that
/// failed together from coming back together; the lower half is left out so that a step never hammers a service that just failed).
///
/// What the bound counts depends on the step: before and at the pivot, attempts that surely had no effect
/// ([`Transient`](crate::Outcome::Transient)), after which the saga compensates; for an undo, every failed attempt, after which the
/// saga is stuck. After the pivot, and while an outcome is unknown, an action is tried for ever.
///
/// | parameter | range | default | why |
/// |---|---|---|---|
/// | first | more than 0 | 100 ms | a restart of a peer takes about a second: do not give up in it, do not hammer it |
/// | cap | at least `first` | 30 s | a saga that waits for an outage to end goes on within half a minute |
/// | attempts | 1.. or unbounded | action 10 (about a minute), undo 30 (about ten minutes) | a customer waits for the first, nobody for the second |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    first: Duration,
    cap: Duration,
    attempts: Option<NonZeroU32>,
}

const FIRST: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(30);
const ACTION_ATTEMPTS: NonZeroU32 = NonZeroU32::new(10).unwrap();
const UNDO_ATTEMPTS: NonZeroU32 = NonZeroU32::new(30).unwrap();

impl Retry {
    /// The default of actions before and at the pivot.
    pub const ACTION: Self = Self { first: FIRST, cap: CAP, attempts: Some(ACTION_ATTEMPTS) };
    /// The default of compensations.
    pub const UNDO: Self = Self { first: FIRST, cap: CAP, attempts: Some(UNDO_ATTEMPTS) };
    /// The default after the pivot, where nothing rolls back any more.
    pub const FOR_EVER: Self = Self { first: FIRST, cap: CAP, attempts: None };

    /// At most `attempts` attempts, counting the first.
    #[must_use]
    pub const fn attempts(attempts: NonZeroU32) -> Self {
        Self { first: FIRST, cap: CAP, attempts: Some(attempts) }
    }

    /// The wait before the second attempt, and the longest one.
    #[must_use]
    pub const fn backoff(mut self, first: Duration, cap: Duration) -> Self {
        self.first = first;
        self.cap = cap;
        self
    }

    /// The bound, none when there is none.
    #[must_use]
    pub const fn bound(&self) -> Option<NonZeroU32> {
        self.attempts
    }

    /// Whether `attempt`, counted from 1, was the last.
    #[must_use]
    pub fn is_last(&self, attempt: u32) -> bool {
        self.attempts.is_some_and(|bound| attempt >= bound.get())
    }

    /// The wait in milliseconds after the failed attempt `attempt`, counted from 1; `jitter` in `0.0 .. 1.0`.
    #[must_use]
    pub fn wait_ms(&self, attempt: u32, jitter: f64) -> i64 {
        let doublings = attempt.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.cap);
        let wait = whole.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
        i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).max(1)
    }

    pub(crate) fn is_valid(&self) -> bool {
        !self.first.is_zero() && self.first <= self.cap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_within_their_upper_half() {
        let retry = Retry::FOR_EVER.backoff(Duration::from_millis(100), Duration::from_secs(1));
        let longest: Vec<_> = (1..=6).map(|attempt| retry.wait_ms(attempt, 1.0)).collect();
        let shortest: Vec<_> = (1..=6).map(|attempt| retry.wait_ms(attempt, 0.0)).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(shortest, [50, 100, 200, 400, 500, 500]);
        assert_eq!(retry.wait_ms(u32::MAX, 1.0), 1000);
    }

    #[test]
    fn a_bound_counts_the_first_attempt() {
        let retry = Retry::attempts(NonZeroU32::new(2).unwrap());
        assert!(!retry.is_last(1));
        assert!(retry.is_last(2));
        assert!(!Retry::FOR_EVER.is_last(u32::MAX));
    }
}
