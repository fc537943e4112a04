//! How many wrong passwords one address takes: a pure rule over its last failures.

use std::time::Duration;

/// Wrong passwords before the first pause: enough for a person's typing mistakes.
pub(crate) const FREE_FAILURES: i64 = 5;
/// The first pause; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause: an attacker must not lock the owner out for a day.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// After this long without a failure the count starts anew.
pub(crate) const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);

/// What is remembered of one address. Times are Unix milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Throttle {
    /// Failures in a row.
    pub(crate) failures: i64,
    /// When the last one was.
    pub(crate) last_ms: i64,
}

impl Throttle {
    /// How long this address must still wait before a password is looked at.
    pub(crate) fn wait(self, now_ms: i64) -> Option<Duration> {
        let over = self.failures - FREE_FAILURES;
        if over < 0 || self.is_forgotten(now_ms) {
            return None;
        }
        let doublings = u32::try_from(over).unwrap_or(u32::MAX).min(16);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        let since = u64::try_from(now_ms - self.last_ms).unwrap_or(0);
        pause.checked_sub(Duration::from_millis(since)).filter(|left| !left.is_zero())
    }

    /// The memory after one more wrong password.
    pub(crate) fn failed(self, now_ms: i64) -> Self {
        let failures = if self.is_forgotten(now_ms) { 1 } else { self.failures.saturating_add(1) };
        Self { failures, last_ms: now_ms }
    }

    fn is_forgotten(self, now_ms: i64) -> bool {
        u64::try_from(now_ms - self.last_ms).is_ok_and(|since| Duration::from_millis(since) >= FORGET_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(failures: i64) -> Throttle {
        (0..failures).fold(Throttle::default(), |throttle, n| throttle.failed(1_000 + n))
    }

    #[test]
    fn the_first_failures_are_free_and_the_next_pauses_double() {
        assert_eq!(after(FREE_FAILURES - 1).wait(1_010), None);
        let at = |failures: i64| after(failures).wait(1_000 + failures - 1);
        assert_eq!(at(FREE_FAILURES), Some(Duration::from_secs(2)));
        assert_eq!(at(FREE_FAILURES + 1), Some(Duration::from_secs(4)));
        assert_eq!(at(FREE_FAILURES + 30), Some(LONGEST_PAUSE));
    }

    #[test]
    fn a_pause_ends_and_an_hour_forgets() {
        let throttle = after(FREE_FAILURES);
        assert_eq!(throttle.wait(throttle.last_ms + 2_000), None);
        assert_eq!(throttle.failed(throttle.last_ms + 3_600_000).failures, 1);
    }

    #[test]
    fn a_clock_that_steps_back_does_not_extend_the_pause() {
        let throttle = after(FREE_FAILURES);
        assert_eq!(throttle.wait(throttle.last_ms - 10_000), Some(Duration::from_secs(2)));
    }
}
