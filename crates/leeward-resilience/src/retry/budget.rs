//! The retry budget: what all calls together may spend on retries.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::config::ConfigErrors;
use crate::time::Instant;
use crate::window::{Counts, Window};

/// Options of a [`RetryBudget`].
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Retries for each call in the window, 0 ..= 1. Default 0.2: an outage adds a fifth to the load, not a multiple.
    pub ratio: f64,
    /// So many retries in the window are always allowed, so that a call in an idle hour can be retried. Default 10.
    pub floor: u32,
    /// What both look back, 1 s ..= 10 min. Default 10 s.
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
        let mut errors = ConfigErrors::default();
        errors.check((0.0..=1.0).contains(&self.ratio), "retry.budget.ratio", self.ratio, "0% to 100%");
        let window_ok = (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&self.window);
        errors.check(window_ok, "retry.budget.window", self.window, "1s to 10min");
        errors.finish()
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
    state: Mutex<State>,
}

struct State {
    config: Budget,
    /// Grows with every change of the options, from 1.
    version: u32,
    /// Hits are calls, misses are retries.
    window: Window,
}

impl RetryBudget {
    /// A budget without history.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(config: &Budget, now: Instant) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let window = Window::new(config.window, now);
        let state = Mutex::new(State { config: config.clone(), version: 1, window });
        Ok(Self { shared: Arc::new(Shared { state }) })
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> Budget {
        self.shared.state.lock().config.clone()
    }

    /// How often they were replaced, from 1.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.shared.state.lock().version
    }

    /// Puts other options into force. Calls and retries are kept; a window of another length takes over those that it
    /// reaches back to.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(&self, config: &Budget, now: Instant) -> Result<(), ConfigErrors> {
        config.validate()?;
        let mut state = self.shared.state.lock();
        if config.window != state.config.window {
            state.window = state.window.resized(config.window, now);
        }
        state.version = state.version.saturating_add(1);
        state.config = config.clone();
        Ok(())
    }

    /// Counts a call.
    pub fn deposit(&self, now: Instant) {
        self.shared.state.lock().window.hit(now);
    }

    /// Takes one retry; `false` when the budget is spent.
    #[must_use]
    pub fn withdraw(&self, now: Instant) -> bool {
        let State { config, window, .. } = &mut *self.shared.state.lock();
        let Counts { hits: calls, misses: retries, .. } = window.counts(now);
        let allowed = (config.ratio * f64::from(calls)).max(f64::from(config.floor));
        let granted = f64::from(retries) + 1.0 <= allowed;
        if granted {
            window.miss(now);
        }
        granted
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget").field("config", &self.config()).finish_non_exhaustive()
    }
}

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
