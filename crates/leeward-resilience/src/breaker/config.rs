//! The breaker's options.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::{self, COUNT_MAX, ConfigErrors, Datum, Fields, HOUR, MILLI, Options, above, count};
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
    /// Fewer calls than that in the window do not make a rate, 1 ..= 1,000,000 and at most `window_calls`. Default 20: then 50 % is rarely chance.
    pub minimum_calls: NonZeroU32,
    /// A call that takes so long or longer is slow, whatever its outcome, more than 0, at most 1 h. Default `None`, off: what is slow only its caller knows.
    /// A slow probe is a failed one.
    pub slow_after: Option<Duration>,
    /// Share of slow calls that opens it, in 0 (exclusive) ..= 1. Default 0.8: an upstream that is slow for most still works for
    /// some, and a break is worse for these.
    pub slow_rate: f64,
    /// So many failures in a row open it, also below `minimum_calls`, 1 ..= 1,000,000; `None` is off. Default 5: a dead upstream with
    /// little traffic must be noticed too.
    pub consecutive_failures: Option<NonZeroU32>,
    /// The first break, 1 ms ..= `break_max`. Default 5 s: a restart takes about that.
    pub break_initial: Duration,
    /// The longest break, also for an upstream's `Retry-After`, 1 ms ..= 1 h. Default 60 s: later, nobody
    /// remembers why nothing is sent.
    pub break_max: Duration,
    /// Each break in a row is so many times the one before, 1 ..= 10. Default 2. To the break comes up to a quarter of
    /// it as jitter, so that many callers do not come back at once.
    pub break_growth: f64,
    /// Successful probes that close it, and the most probes at a time, 1 ..= 1000. Default 5.
    pub probes: NonZeroU32,
    /// When all the probes that may run have been on their way for so long without any outcome, they count as
    /// failed, more than 0, at most 1 h. Default 30 s: a lost permit must not hold it half-open for ever.
    pub probation: Duration,
    /// A permit dropped after so long is a failure, one dropped earlier is neutral, more than 0, at most 1 h. Default 10 s; a pipeline sets it to
    /// its attempt timeout.
    pub abandoned_after: Duration,
    /// Whether it refuses, or only says so. Default [`Mode::Enforced`].
    pub mode: Mode,
}

const fn whole(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("the default is not zero")
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failure_rate: 0.5,
            window: Duration::from_secs(10),
            window_calls: None,
            minimum_calls: const { whole(20) },
            slow_after: None,
            slow_rate: 0.8,
            consecutive_failures: Some(const { whole(5) }),
            break_initial: Duration::from_secs(5),
            break_max: Duration::from_secs(60),
            break_growth: 2.0,
            probes: const { whole(5) },
            probation: Duration::from_secs(30),
            abandoned_after: Duration::from_secs(10),
            mode: Mode::Enforced,
        }
    }
}

impl Breaker {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        config::check(self)
    }
}

impl Options for Breaker {
    const NAME: &'static str = "breaker";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        self.visit_rates(fields);
        let at = fields.at("break_initial", "The first break.", "A restart takes about that.");
        at.at_most("break_max", Datum::Time(self.break_max)).duration(&mut self.break_initial, MILLI..=HOUR);
        let what = "The longest break, also for an upstream's `Retry-After`.";
        let at = fields.at("break_max", what, "Later, nobody remembers why nothing is sent.");
        at.duration(&mut self.break_max, MILLI..=HOUR);
        let what = "Each break in a row is so many times the one before.";
        let at = fields.at("break_growth", what, "Few breaks reach the longest, and few probes are wasted.");
        at.number(&mut self.break_growth, 1.0..=10.0);
        let what = "Successful probes that close it, and the most at a time.";
        let at = fields.at("probes", what, "One may be luck, and many are load on what has just come back.");
        at.count(&mut self.probes, 1..=1000);
        let what = "All probes on their way for so long without an outcome count as failed.";
        let at = fields.at("probation", what, "A lost permit must not hold it half-open for ever.");
        at.duration(&mut self.probation, above(Duration::ZERO, HOUR));
        let what = "A permit dropped after so long is a failure, one dropped earlier is neutral.";
        let at = fields.at("abandoned_after", what, "A pipeline sets it to its attempt timeout.");
        at.duration(&mut self.abandoned_after, above(Duration::ZERO, HOUR));
        fields.mode(&mut self.mode);
    }
}

impl Breaker {
    /// When it opens.
    fn visit_rates(&mut self, fields: &mut Fields<'_>) {
        let at = fields.at(
            "failure_rate",
            "Share of failures that opens it.",
            "Below, retries within their budget do better.",
        );
        at.share(&mut self.failure_rate, above(0.0, 1.0));
        let at = fields.at("window", "The time that the rates look back.", "A few times a usual timeout.");
        at.duration(&mut self.window, 100 * MILLI..=HOUR);
        let what = "The rates look back over the last so many calls instead of a time.";
        let why = "With a count, what an upstream with little traffic did an hour ago still decides.";
        fields.at("window_calls", what, why).count(&mut self.window_calls, 1..=WINDOW_CALLS_MAX);
        let what = "Fewer calls than that in the window do not make a rate.";
        let at = fields.at("minimum_calls", what, "Then 50 % is rarely chance.");
        at.at_most("window_calls", self.window_calls.map(count))
            .count(&mut self.minimum_calls, 1..=COUNT_MAX);
        let what = "A call that takes so long or longer is slow, whatever its outcome.";
        let at = fields.at("slow_after", what, "What is slow only the caller knows.");
        at.duration(&mut self.slow_after, above(Duration::ZERO, HOUR));
        let at = fields.at(
            "slow_rate",
            "Share of slow calls that opens it.",
            "An upstream that is slow for most still works for some, and a break is worse for these.",
        );
        at.share(&mut self.slow_rate, above(0.0, 1.0));
        let what = "So many failures in a row open it, also below `minimum_calls`.";
        let at = fields.at(
            "consecutive_failures",
            what,
            "A dead upstream with little traffic must be noticed too.",
        );
        at.count(&mut self.consecutive_failures, 1..=COUNT_MAX);
    }
}

/// Most calls of a window: 2.5 kB of bits.
const WINDOW_CALLS_MAX: u64 = 10_000;
