//! The options of hedging.

use std::time::Duration;

use crate::config::{self, ConfigErrors, Datum, Fields, MILLI, MINUTE, OneOf, Options, above, units};
use crate::mode::Mode;
use crate::retry::Budget;

/// When a hedge is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delay {
    /// So long after the attempt before it, more than 0, at most 60 s. For an upstream whose latencies are known. In a
    /// document `fixed: {after: 30ms}`, or `30ms` alone; `fixed` alone is 100 ms: most upstreams' slowest calls begin about
    /// there.
    Fixed(Duration),
    /// When the attempt before it takes longer than this share of the calls of the last 10 to 20 seconds do.
    Quantile {
        /// The share, 0.5 ..= 0.999. Default 0.95: one call in twenty is hedged, which adds 5 % to the load.
        quantile: f64,
        /// The delay while fewer than 50 calls are known, `min` ..= `max`. Default 250 ms: rather late than a second call
        /// for each.
        initial: Duration,
        /// Never sooner than that, more than 0. Default 5 ms: below, the second attempt costs more than it saves.
        min: Duration,
        /// Never later than that, more than 0, at most 60 s. Default 1 s: later, an attempt timeout is the better help.
        max: Duration,
    },
}

impl Default for Delay {
    fn default() -> Self {
        Self::Quantile {
            quantile: 0.95,
            initial: Duration::from_millis(250),
            min: Duration::from_millis(5),
            max: Duration::from_secs(1),
        }
    }
}

impl Delay {
    /// The share of the latencies that is looked for; half of them while nobody asks.
    pub(super) const fn quantile(self) -> f64 {
        match self {
            Self::Fixed(_) => 0.5,
            Self::Quantile { quantile, .. } => quantile,
        }
    }
}

/// Options of a [`Hedger`](super::Hedger).
///
/// ```
/// use std::time::Duration;
/// use leeward_resilience::hedge::{Delay, Hedge, Hedger};
/// let options = Hedge { delay: Delay::Fixed(Duration::from_millis(30)), ..Hedge::default() };
/// let hedger = Hedger::new(options)?;
/// # Ok::<(), leeward_resilience::ConfigErrors>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Hedge {
    /// When a hedge is sent. By default at the 95th percentile.
    pub delay: Delay,
    /// Attempts beside the first, 1 ..= 4. Default 1: nearly all that hedging gains, the second attempt gains.
    pub max_hedges: u32,
    /// A hedge that would have less than that until the deadline is not sent, at most 60 s. Default 5 ms: nothing answers
    /// sooner over a network.
    pub attempt_min: Duration,
    /// What all the calls together may spend on hedges, unless the budget of another policy is shared.
    pub budget: Budget,
    /// Whether hedges are sent, or it is only said when they would be. Default [`Mode::Enforced`].
    pub mode: Mode,
}

impl Default for Hedge {
    fn default() -> Self {
        let attempt_min = Duration::from_millis(5);
        let (delay, budget) = (Delay::default(), Budget::default());
        Self { delay, max_hedges: 1, attempt_min, budget, mode: Mode::Enforced }
    }
}

impl Hedge {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        config::check(self)
    }
}

impl Options for Hedge {
    const NAME: &'static str = "hedge";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let at = fields.at("delay", "When a hedge is sent.", "A quantile follows the upstream by itself.");
        at.one_of(&mut self.delay);
        let at = fields.at(
            "max_hedges",
            "Attempts beside the first.",
            "Nearly all that hedging gains, the second attempt gains.",
        );
        at.count(&mut self.max_hedges, 1..=4);
        let what = "A hedge that would have less than that until the deadline is not sent.";
        let at = fields.at("attempt_min", what, "Nothing answers sooner over a network.");
        at.duration(&mut self.attempt_min, Duration::ZERO..=MINUTE);
        let what =
            "What all the calls together may spend on hedges, unless the budget of another policy is shared.";
        fields.at("budget", what, "").group(&mut self.budget);
        fields.mode(&mut self.mode);
    }
}

impl OneOf for Delay {
    const NAMES: &'static [&'static str] = &["quantile", "fixed"];
    const SHORT: Option<&'static str> = Some("a fixed delay as 30ms");

    fn form(&self) -> usize {
        match self {
            Self::Quantile { .. } => 0,
            Self::Fixed(_) => 1,
        }
    }

    fn base(form: usize) -> Self {
        if form == 1 { Self::Fixed(100 * MILLI) } else { Self::default() }
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        match self {
            Self::Fixed(after) => {
                let what = "So long after the attempt before it.";
                let at = fields.at("after", what, "Most upstreams' slowest calls begin about there.");
                at.duration(after, above(Duration::ZERO, MINUTE));
            }
            Self::Quantile { quantile, initial, min, max } => {
                let what = "When the attempt before it takes longer than this share of the last calls do.";
                let at =
                    fields.at("quantile", what, "One call in twenty is hedged, which adds 5 % to the load.");
                at.share(quantile, 0.5..=0.999);
                let what = "The delay while fewer than 50 calls are known.";
                let at = fields.at("initial", what, "Rather late than a second call for each.");
                let at = at.at_least("min", Datum::Time(*min)).at_most("max", Datum::Time(*max));
                at.duration(initial, above(Duration::ZERO, MINUTE));
                let at = fields.at(
                    "min",
                    "Never sooner than that.",
                    "Below, the second attempt costs more than it saves.",
                );
                at.at_most("max", Datum::Time(*max)).duration(min, above(Duration::ZERO, MINUTE));
                let at = fields.at(
                    "max",
                    "Never later than that.",
                    "Later, an attempt timeout is the better help.",
                );
                at.duration(max, above(Duration::ZERO, MINUTE));
            }
        }
    }

    fn from_short(text: &str) -> Option<Self> {
        units::duration(text).map(Self::Fixed)
    }
}
