//! What the rates of a breaker look back over.

use super::Breaker;
use crate::time::Instant;
use crate::window::{CallWindow, Counts, Window};

#[derive(Debug)]
pub(super) enum Sample {
    Time(Window),
    Calls(CallWindow),
}

impl Sample {
    pub(super) fn new(config: &Breaker, now: Instant) -> Self {
        match config.window_calls {
            Some(calls) => Self::Calls(CallWindow::new(calls.get())),
            None => Self::Time(Window::new(config.window, now)),
        }
    }

    /// Looks back over another time, if it is one of time before and after; `false` when it has to begin anew.
    pub(super) fn resize(&mut self, config: &Breaker, now: Instant) -> bool {
        match self {
            Self::Time(window) if config.window_calls.is_none() => {
                *window = window.resized(config.window, now);
                true
            }
            _ => false,
        }
    }

    pub(super) fn record(&mut self, now: Instant, missed: bool, slow: bool) -> Counts {
        match self {
            Self::Time(window) => window.record(now, missed, slow),
            Self::Calls(window) => window.record(missed, slow),
        }
    }

    /// Successes since it was last touched, none of them slow, which were counted elsewhere.
    pub(super) fn absorb(&mut self, successes: u64) {
        match self {
            Self::Time(window) => window.absorb(successes),
            Self::Calls(window) => window.absorb(successes),
        }
    }

    pub(super) const fn latest(&self) -> Counts {
        match self {
            Self::Time(window) => window.latest(),
            Self::Calls(window) => window.latest(),
        }
    }

    /// Until when, in nanoseconds, nothing is forgotten unless something is recorded.
    pub(super) const fn stands_until(&self) -> u64 {
        match self {
            Self::Time(window) => window.running_until(),
            Self::Calls(_) => u64::MAX,
        }
    }
}
