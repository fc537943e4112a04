//! The retry budget: what all calls together may spend on retries.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, ConfigErrors};
use crate::live::Live;
use crate::time::Instant;
use crate::window::{Counts, StripedWindow};

/// Options of a [`RetryBudget`].
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Retries for each call in the window, 0 ..= 1. Default 0.2: an outage adds a fifth to the load, not a multiple.
    pub ratio: f64,
    /// So many retries in the window are always allowed, so that a call in an idle hour can be retried, at most 10,000.
    /// Default 10.
    pub floor: u32,
    /// What both look back, 1 s ..= 10 min. Default 10 s, as long as that of a breaker.
    pub window: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { ratio: 0.2, floor: 10, window: Duration::from_secs(10) }
    }
}

impl Budget {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        config::check(self)
    }
}

/// Allows a retry as long as the retries of the window are fewer than `max(floor, ratio * calls)`. Clones share it.
///
/// Source: Finagle's `RetryBudget` and Envoy's retry budget. Calls are counted once each, when they start; retries of
/// one call draw on what all calls brought.
#[derive(Clone)]
pub struct RetryBudget {
    shared: Arc<Shared>,
}

struct Shared {
    live: Live<Budget>,
    /// Hits are calls, misses are retries.
    window: StripedWindow,
}

impl Budget {
    /// The most retries that this many calls allow.
    fn allowed(&self, counts: Counts) -> f64 {
        (self.ratio * f64::from(counts.hits)).max(f64::from(self.floor))
    }
}

impl RetryBudget {
    /// A budget without history.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(config: &Budget, now: Instant) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let window = StripedWindow::new(config.window, now);
        Ok(Self { shared: Arc::new(Shared { live: Live::new(config.clone()), window }) })
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> Budget {
        self.shared.live.load().options.clone()
    }

    /// How often they were replaced, from 1.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.shared.live.load().version
    }

    /// Puts other options into force. Calls and retries are kept; a window of another length takes over those that it
    /// reaches back to.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(&self, config: &Budget, now: Instant) -> Result<(), ConfigErrors> {
        config.validate()?;
        self.shared.live.replace(config.clone(), |old, new| {
            if old.window != new.window {
                self.shared.window.resize(new.window, now);
            }
        });
        Ok(())
    }

    /// Counts a call.
    pub fn deposit(&self, now: Instant) {
        self.shared.window.hit(now);
    }

    /// How much of the budget is spent, in percent, 0 ..= 100.
    #[must_use]
    pub fn spent_percent(&self, now: Instant) -> u8 {
        let Some(counts) = self.shared.window.counts_since_miss(now) else { return 0 };
        let spent = f64::from(counts.misses) / self.shared.live.load().options.allowed(counts).max(1.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 100")]
        let percent = (spent.min(1.0) * 100.0) as u8;
        percent
    }

    /// Takes one retry; `false` when the budget is spent.
    #[must_use]
    pub fn withdraw(&self, now: Instant) -> bool {
        let live = self.shared.live.load();
        let granted = |counts: Counts| f64::from(counts.misses) + 1.0 <= live.options.allowed(counts);
        self.shared.window.miss_if(now, granted)
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget").field("config", &self.config()).finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(budget: &RetryBudget, now: Instant, wanted: u32) -> usize {
        (0..wanted).filter(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn a_fifth_of_the_calls_and_a_floor() {
        let now = Instant::from_nanos(1);
        let budget = RetryBudget::new(&Budget::default(), now).unwrap();
        assert_eq!(granted(&budget, now, 100), 10);
        for _ in 0..1000 {
            budget.deposit(now);
        }
        assert_eq!(granted(&budget, now, 1000), 190);
    }

    #[test]
    fn it_recovers_with_time_and_not_with_refusals() {
        let now = Instant::from_nanos(1);
        let budget = RetryBudget::new(&Budget { floor: 2, ..Budget::default() }, now).unwrap();
        assert_eq!(granted(&budget, now, 50), 2);
        assert_eq!(granted(&budget, now + Duration::from_secs(11), 50), 2);
    }

    #[test]
    fn a_budget_of_nothing_grants_nothing() {
        let now = Instant::ZERO;
        let budget = RetryBudget::new(&Budget { ratio: 0.0, floor: 0, ..Budget::default() }, now).unwrap();
        budget.deposit(now);
        assert!(!budget.withdraw(now));
    }
}
