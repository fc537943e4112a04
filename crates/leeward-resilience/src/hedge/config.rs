//! The options of hedging.

use std::time::Duration;

use crate::config::ConfigErrors;
use crate::mode::Mode;
use crate::retry::Budget;

/// When a hedge is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delay {
    /// So long after the attempt before it, more than 0, at most 60 s. For an upstream whose latencies are known.
    Fixed(Duration),
    /// When the attempt before it takes longer than this share of the calls of the last 10 to 20 seconds do.
    Quantile {
        /// The share, 0.5 ..= 0.999. Default 0.95: one call in twenty is hedged, which adds 5 % to the load.
        quantile: f64,
        /// The delay while fewer than 50 calls are known. Default 250 ms.
        initial: Duration,
        /// Never sooner than that, more than 0. Default 5 ms: below, the second attempt costs more than it saves.
        min: Duration,
        /// Never later than that, at most 60 s. Default 1 s.
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
    /// A hedge that would have less than that until the deadline is not sent. Default 5 ms.
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

const DELAY_MAX: Duration = Duration::from_secs(60);

impl Hedge {
    /// Checks every option but those of the budget, which a [`RetryBudget`](crate::RetryBudget) checks itself.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        match self.delay {
            Delay::Fixed(delay) => {
                let ok = !delay.is_zero() && delay <= DELAY_MAX;
                errors.check(ok, "hedge.delay", delay, "more than 0, at most 60s");
            }
            Delay::Quantile { quantile, initial, min, max } => {
                let quantile_ok = (0.5..=0.999).contains(&quantile);
                errors.check(quantile_ok, "hedge.delay.quantile", quantile, "0.5 to 0.999");
                let initial_ok = (min..=max).contains(&initial);
                errors.check(initial_ok, "hedge.delay.initial", initial, "min to max");
                errors.check(
                    !min.is_zero() && min <= max,
                    "hedge.delay.min",
                    min,
                    "more than 0, at most max",
                );
                errors.check(max <= DELAY_MAX, "hedge.delay.max", max, "at most 60s");
            }
        }
        errors.check((1..=4).contains(&self.max_hedges), "hedge.max_hedges", self.max_hedges, "1 to 4");
        errors.finish()
    }
}
