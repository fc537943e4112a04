//! The breaker's options.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::ConfigErrors;
use crate::mode::Mode;

/// Options of a [`CircuitBreaker`](super::CircuitBreaker).
///
/// ```
/// use leeward_resilience::breaker::{Breaker, CircuitBreaker};
/// let options = Breaker { failure_rate: 0.3, ..Breaker::default() };
/// let breaker = CircuitBreaker::new("payments", options)?;
/// # Ok::<(), leeward_resilience::ConfigErrors>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// Share of failures that opens it, in 0 (exclusive) ..= 1. Default 0.5: below, retries within their budget do better.
    pub failure_rate: f64,
    /// The time that the rates look back, 100 ms ..= 1 h. Default 10 s: a few times a usual timeout.
    pub window: Duration,
    /// The rates look back over the last so many calls instead of a time, 1 ..= 10,000. Default `None`: with a count, what an
    /// upstream with little traffic did an hour ago still decides, and a busy one's window is over in milliseconds. It suits a
    /// steady stream, such as a consumer's.
    pub window_calls: Option<NonZeroU32>,
    /// Fewer calls than that in the window do not make a rate, at most `window_calls`. Default 20: then 50 % is rarely chance.
    pub minimum_calls: NonZeroU32,
    /// A call that takes so long or longer is slow, whatever its outcome. Default `None`, off: what is slow only its caller knows.
    /// A slow probe is a failed one.
    pub slow_after: Option<Duration>,
    /// Share of slow calls that opens it, in 0 (exclusive) ..= 1. Default 0.8: an upstream that is slow for most still works for
    /// some, and a break is worse for these.
    pub slow_rate: f64,
    /// So many failures in a row open it, also below `minimum_calls`; `None` is off. Default 5: a dead upstream with
    /// little traffic must be noticed too.
    pub consecutive_failures: Option<NonZeroU32>,
    /// The first break, 1 ms ..= `break_max`. Default 5 s: a restart takes about that.
    pub break_initial: Duration,
    /// The longest break, also for an upstream's `Retry-After`, up to 1 h. Default 60 s.
    pub break_max: Duration,
    /// Each break in a row is so many times the one before, 1 ..= 10. Default 2. To the break comes up to a quarter of
    /// it as jitter, so that many callers do not come back at once.
    pub break_growth: f64,
    /// Successful probes that close it, and the most probes at a time, 1 ..= 1000. Default 5.
    pub probes: NonZeroU32,
    /// When all the probes that may run have been on their way for so long without any outcome, they count as
    /// failed. Default 30 s: a lost permit must not hold it half-open for ever.
    pub probation: Duration,
    /// A permit dropped after so long is a failure, one dropped earlier is neutral. Default 10 s; a pipeline sets it to
    /// its attempt timeout.
    pub abandoned_after: Duration,
    /// Whether it refuses, or only says so. Default [`Mode::Enforced`].
    pub mode: Mode,
}

const fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("the default is not zero")
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failure_rate: 0.5,
            window: Duration::from_secs(10),
            window_calls: None,
            minimum_calls: const { count(20) },
            slow_after: None,
            slow_rate: 0.8,
            consecutive_failures: Some(const { count(5) }),
            break_initial: Duration::from_secs(5),
            break_max: Duration::from_secs(60),
            break_growth: 2.0,
            probes: const { count(5) },
            probation: Duration::from_secs(30),
            abandoned_after: Duration::from_secs(10),
            mode: Mode::Enforced,
        }
    }
}

/// Most calls of a window: 2.5 kB of bits.
const WINDOW_CALLS_MAX: u32 = 10_000;

const HOUR: Duration = Duration::from_secs(3600);

impl Breaker {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let rate = self.failure_rate;
        errors.check(rate > 0.0 && rate <= 1.0, "breaker.failure_rate", rate, "more than 0%, up to 100%");
        let window = self.window;
        errors.check(
            (Duration::from_millis(100)..=HOUR).contains(&window),
            "breaker.window",
            window,
            "100ms to 1h",
        );
        if let Some(calls) = self.window_calls {
            errors.check(calls.get() <= WINDOW_CALLS_MAX, "breaker.window_calls", calls, "1 to 10000");
            let minimum = self.minimum_calls;
            errors.check(minimum <= calls, "breaker.minimum_calls", minimum, "at most window_calls");
        }
        let slow_after = self.slow_after;
        errors.check(
            slow_after.is_none_or(|after| !after.is_zero() && after <= HOUR),
            "breaker.slow_after",
            slow_after,
            "more than 0, at most 1h",
        );
        let slow = self.slow_rate;
        errors.check(slow > 0.0 && slow <= 1.0, "breaker.slow_rate", slow, "more than 0%, up to 100%");
        let initial = self.break_initial;
        let initial_ok = initial >= Duration::from_millis(1) && initial <= self.break_max;
        errors.check(initial_ok, "breaker.break_initial", initial, "1ms to break_max");
        errors.check(self.break_max <= HOUR, "breaker.break_max", self.break_max, "at most 1h");
        let growth = self.break_growth;
        errors.check((1.0..=10.0).contains(&growth), "breaker.break_growth", growth, "1 to 10");
        errors.check(self.probes.get() <= 1000, "breaker.probes", self.probes, "1 to 1000");
        let probation = self.probation;
        errors.check(
            !probation.is_zero() && probation <= HOUR,
            "breaker.probation",
            probation,
            "more than 0, at most 1h",
        );
        let abandoned = self.abandoned_after;
        errors.check(!abandoned.is_zero(), "breaker.abandoned_after", abandoned, "more than 0");
        errors.finish()
    }
}
