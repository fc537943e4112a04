//! The options of the two rules.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::ConfigErrors;
use crate::mode::Mode;

/// Options of a limit by GCRA: so many calls a period, with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls a period.
    pub limit: NonZeroU32,
    /// The period, 1 ms ..= 24 h.
    pub period: Duration,
    /// Calls that may come at once after a pause, at least 1. Usually the limit.
    pub burst: NonZeroU32,
    /// Whether it rejects, or only says so. [`Mode::Enforced`] unless it is set.
    pub mode: Mode,
}

impl RateLimit {
    /// `limit` calls a second, as many at once.
    #[must_use]
    pub const fn per_second(limit: NonZeroU32) -> Self {
        Self { limit, period: Duration::from_secs(1), burst: limit, mode: Mode::Enforced }
    }

    /// `limit` calls a minute, as many at once.
    #[must_use]
    pub const fn per_minute(limit: NonZeroU32) -> Self {
        Self { limit, period: Duration::from_secs(60), burst: limit, mode: Mode::Enforced }
    }

    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = check(self.limit, self.period);
        errors.check(self.burst.get() <= 1_000_000, "rate-limit.burst", self.burst, "1 to 1000000");
        errors.finish()
    }
}

fn check(limit: NonZeroU32, period: Duration) -> ConfigErrors {
    let mut errors = ConfigErrors::default();
    let period_ok = (Duration::from_millis(1)..=Duration::from_secs(86_400)).contains(&period);
    errors.check(period_ok, "rate-limit.period", period, "1ms to 24h");
    errors.check(limit.get() <= 1_000_000, "rate-limit.limit", limit, "1 to 1000000");
    errors
}

/// Options of a limit by sliding window: never more than so many calls in a period, wherever it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindow {
    /// Calls in a period, 1 ..= 1,000,000. All of them may come at once.
    pub limit: NonZeroU32,
    /// The period, 1 ms ..= 24 h.
    pub period: Duration,
    /// Whether it rejects, or only says so. [`Mode::Enforced`] unless it is set.
    pub mode: Mode,
}

impl SlidingWindow {
    /// `limit` calls in any second.
    #[must_use]
    pub const fn per_second(limit: NonZeroU32) -> Self {
        Self { limit, period: Duration::from_secs(1), mode: Mode::Enforced }
    }

    /// `limit` calls in any minute.
    #[must_use]
    pub const fn per_minute(limit: NonZeroU32) -> Self {
        Self { limit, period: Duration::from_secs(60), mode: Mode::Enforced }
    }

    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        check(self.limit, self.period).finish()
    }
}

/// The rule of a limiter, with its options.
///
/// ```
/// use std::num::NonZeroU32;
/// use leeward_resilience::{Clock, RateLimiter, TokioClock, rate::SlidingWindow};
///
/// let limit = NonZeroU32::new(100).expect("not zero");
/// let limiter = RateLimiter::new(&SlidingWindow::per_minute(limit))?;
/// assert_eq!(limiter.check(TokioClock.now()).remaining, 99);
/// # Ok::<(), leeward_resilience::ConfigErrors>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// GCRA, the default choice.
    Gcra(RateLimit),
    /// A sliding window, where a period must never see more than the limit.
    SlidingWindow(SlidingWindow),
}

impl Rule {
    /// Whether it rejects, or only says so.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        match self {
            Self::Gcra(config) => config.mode,
            Self::SlidingWindow(config) => config.mode,
        }
    }

    /// The same rule in another mode.
    #[must_use]
    pub const fn with_mode(mut self, mode: Mode) -> Self {
        match &mut self {
            Self::Gcra(config) => config.mode = mode,
            Self::SlidingWindow(config) => config.mode = mode,
        }
        self
    }

    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        match self {
            Self::Gcra(config) => config.validate(),
            Self::SlidingWindow(config) => config.validate(),
        }
    }
}

impl From<RateLimit> for Rule {
    fn from(config: RateLimit) -> Self {
        Self::Gcra(config)
    }
}

impl From<SlidingWindow> for Rule {
    fn from(config: SlidingWindow) -> Self {
        Self::SlidingWindow(config)
    }
}
