//! Retry: sends a failed call again, rarely enough not to make an outage worse.
//!
//! **Rule.** A failure that a retry can help against is sent again after a random wait ([`Jitter`]): with full jitter, the
//! default, in `0 ..= min(backoff_max, backoff_base * 2^(n-1))`; with decorrelated jitter in `backoff_base ..=
//! min(backoff_max, 3 * the wait before)` (AWS Architecture Blog, "Exponential backoff and jitter", 2015). An upstream's
//! `Retry-After` is waited for in full, and the jitter comes on top. Nothing is sent again when
//! - the call may not be repeated (not idempotent, or its body is gone),
//! - it already is a retry of somebody further out: layers must not multiply,
//! - the answer is a rejection by one of our own policies, or will be, since the breaker is open,
//! - the wait, and `attempt_min` after it, do not fit before the deadline,
//! - or the [`RetryBudget`] is spent. Then the last real answer is the answer.
//!
//! In [`Mode::Shadow`] the first failure that would be retried draws on the budget, is told, and stands.
//!
//! The budget is what keeps an outage from becoming a retry storm: see [`RetryBudget`].
//!
//! **Cost.** Without a failure no lock: each thread counts calls for the budget in a cache line of its own, and takes a short lock
//! only for the first in each tenth of the budget's window, and in a pipeline while a retry is in the window, to tell the next hop
//! how much is spent. A retry draws one random number and takes that lock.
//!
//! Trade-off: a retry turns a failure that the caller sees into latency that it sees. What was executed and whose answer was
//! lost is executed again: only what is idempotent may be repeated ([`Call::REPLAYABLE`](crate::Call::REPLAYABLE)). Nothing is
//! ever sent again without a random wait, and never for ever; whoever polls needs a timer and not this.
//!
//! Source: the blog post above for the waits; for the budget see there; "only at one layer" from Beyer et al., "Site
//! Reliability Engineering" (2016), chapter 22.
//!
//! ```
//! use std::time::Duration;
//! use leeward_resilience::{Attempt, Call, Class, Pipeline, Retry};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pipeline = Pipeline::builder("users").retry(Retry { max_retries: 1, ..Retry::default() }).build()?;
//! let busy_once = async |attempt: Attempt| match attempt.number {
//!     0 => Err(503),
//!     number => Ok(number),
//! };
//! // The upstream asks for two seconds, and gets them.
//! let patience = Some(Duration::from_secs(2));
//! let classify = |answer: &Result<u32, u16>| match answer {
//!     Ok(_) => Class::Success,
//!     Err(status) => Class::of_http_status(*status, patience),
//! };
//! let asked = tokio::time::Instant::now();
//! assert_eq!(pipeline.call(Call::REPLAYABLE, busy_once, classify).await, Ok(1));
//! assert!(asked.elapsed() >= Duration::from_secs(2));
//!
//! // What must be sent at most once is.
//! assert!(pipeline.call(Call::ONCE, busy_once, classify).await.is_err());
//! # Ok(())
//! # }
//! ```

mod budget;
mod layer;
mod options;
mod policy;

use std::time::Duration;

pub use self::budget::{Budget, RetryBudget};
pub use self::layer::{RetryLayer, RetryService};
pub use self::policy::RetryPolicy;

use crate::config::{self, ConfigErrors};
use crate::deadline::Deadline;
use crate::mode::Mode;
use crate::outcome::Class;
use crate::random::Rng;
use crate::time::Instant;

/// The policy's name in metrics and `explain()`.
pub const NAME: &str = "retry";

/// How the waits of a retry are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Anywhere between nothing and the ceiling: the least work for the upstream, and a first retry that may come at once. The
    /// default: our waits are short beside a deadline, and half of them are shorter still.
    #[default]
    Full,
    /// Between the base and three times the wait before: never at once, and growing without a count of attempts. For an upstream that
    /// needs every retry to leave it some time.
    Decorrelated,
}

/// Options of the retry policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Attempts after the first, 0 ..= 10. Default 2: the third hardly ever helps where two did not.
    pub max_retries: u32,
    /// How the waits are spread. Default [`Jitter::Full`].
    pub jitter: Jitter,
    /// With full jitter the ceiling of the wait before the first retry, doubled for each one more; with decorrelated jitter the
    /// shortest wait; more than 0, at most `backoff_max`. Default 25 ms: some round trips in one data centre.
    pub backoff_base: Duration,
    /// Ceiling of any wait, 1 ms ..= 60 s. Default 250 ms: longer waits belong to the caller, who knows whether it still wants the answer.
    pub backoff_max: Duration,
    /// An upstream that asks for more patience than that is not retried, at most 1 h. Default 5 s: few callers wait for longer.
    pub retry_after_max: Duration,
    /// An attempt that would have less than that until the deadline is not started, at most 60 s. Default 5 ms: nothing answers
    /// sooner over a network.
    pub attempt_min: Duration,
    /// What all the calls together may spend on retries. On by default.
    pub budget: Budget,
    /// Whether attempts are repeated, or it is only said which would be. Default [`Mode::Enforced`].
    pub mode: Mode,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_retries: 2,
            jitter: Jitter::Full,
            backoff_base: Duration::from_millis(25),
            backoff_max: Duration::from_millis(250),
            retry_after_max: Duration::from_secs(5),
            attempt_min: Duration::from_millis(5),
            budget: Budget::default(),
            mode: Mode::Enforced,
        }
    }
}

/// Doubling stops here: 2^20 times the base is beyond any ceiling.
const DOUBLINGS_MAX: u32 = 20;

impl Retry {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        config::check(self)
    }

    /// The wait before retry `number` (from 1), for one draw of a random number in `0.0 .. 1.0`; `previous` is the wait before the one
    /// before it, zero at the first. An upstream's `Retry-After` is not in it.
    #[must_use]
    pub fn backoff(&self, number: u32, previous: Duration, draw: f64) -> Duration {
        match self.jitter {
            Jitter::Full => {
                let doublings = number.saturating_sub(1).min(DOUBLINGS_MAX);
                self.backoff_base.saturating_mul(1 << doublings).min(self.backoff_max).mul_f64(draw)
            }
            Jitter::Decorrelated => {
                let ceiling = previous.max(self.backoff_base).saturating_mul(3).min(self.backoff_max);
                self.backoff_base + ceiling.saturating_sub(self.backoff_base).mul_f64(draw)
            }
        }
    }

    /// The wait before the next attempt after the retries `done`, or `None` when this failure is final. The budget is not
    /// asked: that comes last, so that only a retry that would happen draws on it.
    pub(crate) fn next(
        &self,
        class: Class,
        done: Done,
        now: Instant,
        deadline: Deadline,
        rng: &dyn Rng,
    ) -> Option<Wait> {
        let Class::Failure { retryable: true, retry_after, .. } = class else { return None };
        if done.retries >= self.max_retries || retry_after.is_some_and(|after| after > self.retry_after_max) {
            return None;
        }
        let backoff = self.backoff(done.retries + 1, done.backoff, rng.unit_f64());
        let delay = retry_after.unwrap_or_default() + backoff;
        let done = Done { retries: done.retries + 1, backoff };
        (delay + self.attempt_min < deadline.remaining(now)).then_some(Wait { delay, done })
    }
}

/// The retries of one call so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Done {
    pub(crate) retries: u32,
    /// The last wait of our own.
    backoff: Duration,
}

/// What comes before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) delay: Duration,
    /// The retries so far, once it has been waited for.
    pub(crate) done: Done,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::FastRng;

    const NOW: Instant = Instant::from_nanos(9_000_000_000);

    fn after(retries: u32) -> Done {
        Done { retries, ..Done::default() }
    }

    proptest! {
        #[test]
        fn a_backoff_is_jittered_below_its_ceiling(number in 1_u32..200, draw in 0.0_f64..1.0) {
            let retry = Retry::default();
            let ceiling_ms = (25.0 * 2.0_f64.powi(i32::try_from(number).unwrap() - 1)).min(250.0);
            let backoff = retry.backoff(number, Duration::ZERO, draw);
            prop_assert!(backoff.as_secs_f64() * 1000.0 <= ceiling_ms);
            prop_assert!((backoff.as_secs_f64() * 1000.0 - ceiling_ms * draw).abs() < 1e-3);
        }

        #[test]
        fn a_decorrelated_wait_is_between_the_base_and_three_times_the_one_before(
            draws in prop::collection::vec(0.0_f64..1.0, 1..20),
        ) {
            let retry = Retry { jitter: Jitter::Decorrelated, ..Retry::default() };
            let mut previous = Duration::ZERO;
            for (number, draw) in (1..).zip(draws) {
                let wait = retry.backoff(number, previous, draw);
                let ceiling = (previous.max(retry.backoff_base) * 3).min(retry.backoff_max);
                prop_assert!(wait >= retry.backoff_base && wait <= ceiling, "{wait:?} after {previous:?}");
                let expected = 0.025 + (ceiling.as_secs_f64() - 0.025) * draw;
                prop_assert!((wait.as_secs_f64() - expected).abs() < 1e-6);
                previous = wait;
            }
        }

        #[test]
        fn no_wait_reaches_the_deadline(remaining_ms in 0_u64..400, done in 0_u32..2, seed in any::<u64>()) {
            let deadline = Deadline::after(NOW, Duration::from_millis(remaining_ms));
            let retry = Retry::default();
            let rng = FastRng::seeded(seed);
            if let Some(wait) = retry.next(Class::RETRYABLE, after(done), NOW, deadline, &rng) {
                prop_assert!(deadline.remaining(NOW + wait.delay) > retry.attempt_min);
            }
        }
    }

    #[test]
    fn retry_after_is_kept_in_full_or_not_retried_at_all() {
        let asks = |after| Class::Failure { retryable: true, retry_after: Some(after), untouched: false };
        let deadline = Deadline::after(NOW, Duration::from_secs(60));
        let rng = FastRng::seeded(1);
        let retry = Retry::default();
        let delay = retry.next(asks(Duration::from_secs(2)), after(0), NOW, deadline, &rng).unwrap().delay;
        assert!(delay >= Duration::from_secs(2) && delay <= Duration::from_millis(2025), "{delay:?}");
        assert_eq!(retry.next(asks(Duration::from_secs(6)), after(0), NOW, deadline, &rng), None);
        let short = Deadline::after(NOW, Duration::from_secs(1));
        assert_eq!(retry.next(asks(Duration::from_secs(2)), after(0), NOW, short, &rng), None);
    }

    /// Always the longest wait.
    #[derive(Debug)]
    struct Highest;

    impl crate::random::Rng for Highest {
        fn next_u64(&self) -> u64 {
            u64::MAX
        }
    }

    #[test]
    fn decorrelated_waits_of_one_call_grow_from_each_other() {
        let retry = Retry { jitter: Jitter::Decorrelated, max_retries: 3, ..Retry::default() };
        let deadline = Deadline::after(NOW, Duration::from_secs(60));
        let (mut done, mut waits) = (Done::default(), Vec::new());
        while let Some(wait) = retry.next(Class::RETRYABLE, done, NOW, deadline, &Highest) {
            waits.push(wait.delay.as_millis());
            done = wait.done;
        }
        assert_eq!(waits, [75, 225, 250], "three times the one before, up to the maximum");
    }

    /// Always the shortest wait.
    #[derive(Debug)]
    struct Lowest;

    impl crate::random::Rng for Lowest {
        fn next_u64(&self) -> u64 {
            0
        }
    }

    #[test]
    fn the_ceiling_of_a_wait_doubles_from_the_second_retry_on() {
        let retry = Retry { max_retries: 5, ..Retry::default() };
        let deadline = Deadline::after(NOW, Duration::from_secs(60));
        let (mut done, mut waits) = (Done::default(), Vec::new());
        // Bounded, whatever `next` makes of what is done.
        for _ in 0..6 {
            let Some(wait) = retry.next(Class::RETRYABLE, done, NOW, deadline, &Highest) else { break };
            waits.push(wait.delay.as_secs_f64() * 1000.0);
            done = wait.done;
        }
        let waits: Vec<f64> = waits.into_iter().map(f64::round).collect();
        assert_eq!(waits, [25.0, 50.0, 100.0, 200.0, 250.0]);
    }

    #[test]
    fn patience_and_time_suffice_to_the_bound() {
        let lowest = Lowest;
        let asks = |after| Class::Failure { retryable: true, retry_after: Some(after), untouched: false };
        let retry = Retry::default();
        let far = Deadline::after(NOW, Duration::from_secs(60));
        let patient = |after| retry.next(asks(after), Done::default(), NOW, far, &lowest);
        assert_eq!(patient(retry.retry_after_max).map(|wait| wait.delay), Some(retry.retry_after_max));
        assert_eq!(patient(retry.retry_after_max + Duration::from_nanos(1)), None);
        let in_time = |left| {
            let deadline = Deadline::after(NOW, left);
            retry.next(asks(Duration::from_secs(1)), Done::default(), NOW, deadline, &lowest).is_some()
        };
        let needed = Duration::from_secs(1) + retry.attempt_min;
        assert!(!in_time(needed) && in_time(needed + Duration::from_nanos(1)));
    }

    #[test]
    fn what_cannot_help_is_not_tried() {
        let deadline = Deadline::after(NOW, Duration::from_secs(60));
        let rng = FastRng::seeded(1);
        let next = |class, done| Retry::default().next(class, after(done), NOW, deadline, &rng);
        assert!(next(Class::RETRYABLE, 1).is_some());
        assert_eq!(next(Class::RETRYABLE, 2), None);
        assert_eq!(next(Class::PERMANENT, 0), None);
        assert_eq!(next(Class::Ignored, 0), None);
        assert_eq!(next(Class::Success, 0), None);
    }
}
