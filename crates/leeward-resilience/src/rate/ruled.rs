//! A rule with the state of a single limiter, and how another rule takes it over.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::gcra::Gcra;
use super::sliding::{Passed, Sliding};
use super::{Core, Decision, Rule, Used};
use crate::time::Instant;

/// In place of an instant: the state was taken over, and counts no more.
const TAKEN: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Ruled {
    pub(super) rule: Rule,
    state: State,
}

#[derive(Debug)]
enum State {
    Gcra(Gcra, AtomicU64),
    /// `None` once it was taken over.
    Sliding(Sliding, Mutex<Option<Passed>>),
}

impl Ruled {
    /// The rule, with its whole limit free.
    pub(super) fn new(rule: Rule) -> Self {
        let state = match &rule {
            Rule::Gcra(config) => State::Gcra(Gcra::new(config), AtomicU64::default()),
            Rule::SlidingWindow(config) => {
                State::Sliding(Sliding::new(config), Mutex::new(Some(Passed::default())))
            }
        };
        Self { rule, state }
    }

    /// `None` when the state was taken over: then another rule is in force, or about to be.
    pub(super) fn decide(&self, now: Instant) -> Option<Decision> {
        match &self.state {
            State::Gcra(gcra, paid_at) => decide_gcra(*gcra, paid_at, now.as_nanos()),
            State::Sliding(sliding, passed) => {
                passed.lock().as_mut().map(|passed| sliding.decide(passed, now))
            }
        }
    }

    /// Takes over what is used up. From then on the old one decides nothing, so that no call is lost in between.
    pub(super) fn take_over(&self, old: &Self, now: Instant) {
        match (&self.state, &old.state) {
            (State::Gcra(gcra, paid_at), State::Gcra(old, state)) => {
                let state = gcra.carry(old, &state.swap(TAKEN, Ordering::AcqRel), now);
                paid_at.store(state, Ordering::Release);
            }
            (State::Sliding(sliding, passed), State::Sliding(old, state)) => {
                let state = state.lock().take().unwrap_or_default();
                *passed.lock() = Some(sliding.carry(old, &state, now));
            }
            (State::Gcra(gcra, paid_at), State::Sliding(old, state)) => {
                let used = old.used(&state.lock().take().unwrap_or_default(), now);
                paid_at.store(gcra.with_used(used, now), Ordering::Release);
            }
            (State::Sliding(sliding, passed), State::Gcra(old, state)) => {
                let used: Used = old.used(&state.swap(TAKEN, Ordering::AcqRel), now);
                *passed.lock() = Some(sliding.with_used(used, now));
            }
        }
    }
}

fn decide_gcra(gcra: Gcra, shared: &AtomicU64, now: u64) -> Option<Decision> {
    let mut seen = shared.load(Ordering::Relaxed);
    loop {
        if seen == TAKEN {
            return None;
        }
        let (decision, paid_at) = gcra.step(seen, now);
        if !decision.allowed {
            return Some(decision);
        }
        let paid_at = paid_at.min(TAKEN - 1);
        match shared.compare_exchange_weak(seen, paid_at, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return Some(decision),
            Err(other) => seen = other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::rate::RateLimit;

    #[test]
    fn no_debt_looks_like_a_state_that_was_taken_over() {
        let gcra = Gcra::new(&RateLimit::per_second(NonZeroU32::MIN));
        let state = AtomicU64::default();
        for _ in 0..3 {
            assert!(decide_gcra(gcra, &state, u64::MAX - 1).is_some());
        }
        assert!(decide_gcra(gcra, &AtomicU64::new(TAKEN), 0).is_none());
    }
}
