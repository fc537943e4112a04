//! The options of the two rules.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::units::{self, Rate};
use crate::config::{self, COUNT_MAX, ConfigErrors, DAY, Fields, MILLI, OneOf, Options, SECOND, count};
use crate::mode::Mode;

/// Options of a limit by GCRA: so many calls a period, with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls a period, 1 ..= 1,000,000. Required in a document.
    pub limit: NonZeroU32,
    /// The period, 1 ms ..= 24 h. In a document 1 s where nothing is said.
    pub period: Duration,
    /// Calls that may come at once after a pause, 1 ..= 1,000,000. Usually the limit, and in a document so where nothing
    /// is said.
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
        config::check(self)
    }
}

impl Options for RateLimit {
    const NAME: &'static str = "rate_limit";
    const SHORT: Option<&'static str> = Some("a rate as 100/s, or as 100/s burst 200");

    fn base() -> Self {
        Self::per_second(NonZeroU32::MIN)
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let follows = self.burst == self.limit;
        visit(&mut self.limit, &mut self.period, fields);
        if follows {
            self.burst = self.limit;
        }
        let what = "Calls that may come at once after a pause.";
        let at = fields.at("burst", what, "Callers that were quiet have saved so much.");
        at.follows("limit", count(self.limit)).count(&mut self.burst, 1..=COUNT_MAX);
        fields.mode(&mut self.mode);
    }

    fn from_short(text: &str) -> Option<Self> {
        let (rate, burst) = match text.split_once(" burst ") {
            Some((rate, burst)) => (rate, Some(burst.trim().parse::<NonZeroU32>().ok()?)),
            None => (text, None),
        };
        let Rate { count, per: period } = units::rate(rate.trim())?;
        let limit = NonZeroU32::new(u32::try_from(count).ok()?)?;
        Some(Self { limit, period, burst: burst.unwrap_or(limit), mode: Mode::Enforced })
    }
}

/// What both rules have.
fn visit(limit: &mut NonZeroU32, period: &mut Duration, fields: &mut Fields<'_>) {
    let at = fields.at("limit", "Calls a period.", "Only its owner knows.");
    at.required().count(limit, 1..=COUNT_MAX);
    let at = fields.at("period", "The period.", "Rates are thought of by the second.");
    at.duration(period, MILLI..=DAY);
}

/// Options of a limit by sliding window: never more than so many calls in a period, wherever it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindow {
    /// Calls in a period, 1 ..= 1,000,000. All of them may come at once. Required in a document.
    pub limit: NonZeroU32,
    /// The period, 1 ms ..= 24 h. In a document 1 s where nothing is said.
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
        config::check(self)
    }
}

impl Options for SlidingWindow {
    const NAME: &'static str = "rate_limit";
    const SHORT: Option<&'static str> = Some("a rate as 100/s");

    fn base() -> Self {
        Self { limit: NonZeroU32::MIN, period: SECOND, mode: Mode::Enforced }
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        visit(&mut self.limit, &mut self.period, fields);
        fields.mode(&mut self.mode);
    }

    fn from_short(text: &str) -> Option<Self> {
        let Rate { count, per: period } = units::rate(text)?;
        let limit = NonZeroU32::new(u32::try_from(count).ok()?)?;
        Some(Self { limit, period, mode: Mode::Enforced })
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

impl OneOf for Rule {
    const NAMES: &'static [&'static str] = &["gcra", "sliding_window"];
    const SHORT: Option<&'static str> = RateLimit::SHORT;

    fn form(&self) -> usize {
        match self {
            Self::Gcra(_) => 0,
            Self::SlidingWindow(_) => 1,
        }
    }

    fn base(form: usize) -> Self {
        if form == 1 { SlidingWindow::base().into() } else { RateLimit::base().into() }
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        match self {
            Self::Gcra(config) => config.visit(fields),
            Self::SlidingWindow(config) => config.visit(fields),
        }
    }

    fn from_short(text: &str) -> Option<Self> {
        RateLimit::from_short(text).map(Self::Gcra)
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
