//! The generic cell rate algorithm: the pure rule.

use std::time::Duration;

use super::{Core, Decision, RateLimit, Used};
use crate::time::{Instant, nanos};

/// The pure rule, with its options turned into nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gcra {
    limit: u32,
    period: Duration,
    /// What a call costs. Rounded up, so that never more than the limit passes.
    cost_nanos: u64,
    /// The debt that may be had.
    debt_nanos: u64,
}

impl Gcra {
    pub(super) fn new(config: &RateLimit) -> Self {
        let cost_nanos = nanos(config.period).div_ceil(u64::from(config.limit.get()));
        let debt_nanos = cost_nanos.saturating_mul(u64::from(config.burst.get()));
        Self { limit: config.limit.get(), period: config.period, cost_nanos, debt_nanos }
    }

    /// Decides from `paid_at`, the instant at which the debt is paid off, and says what it is after the call.
    pub(super) fn step(self, paid_at: u64, now: u64) -> (Decision, u64) {
        let before = paid_at.max(now);
        let after = before.saturating_add(self.cost_nanos);
        let allowed = after - now <= self.debt_nanos;
        let paid_at = if allowed { after } else { before };
        let debt = paid_at - now;
        let decision = Decision {
            allowed,
            limit: self.limit,
            period: self.period,
            remaining: u32::try_from((self.debt_nanos - debt.min(self.debt_nanos)) / self.cost_nanos)
                .unwrap_or(u32::MAX),
            reset_after: Duration::from_nanos(debt),
            retry_after: (!allowed).then(|| Duration::from_nanos(after - now - self.debt_nanos)),
            version: 1,
        };
        (decision, paid_at)
    }
}

impl Core for Gcra {
    /// The instant at which the debt is paid off, in nanoseconds.
    type State = u64;

    fn decide(&self, state: &mut u64, now: Instant) -> Decision {
        let (decision, paid_at) = self.step(*state, now.as_nanos());
        *state = paid_at;
        decision
    }

    fn undo(&self, paid_at: &mut u64) {
        *paid_at = paid_at.saturating_sub(self.cost_nanos);
    }

    fn clear_at(&self, state: &u64) -> Instant {
        Instant::from_nanos(*state)
    }

    fn used(&self, paid_at: &u64, now: Instant) -> Used {
        let debt = paid_at.saturating_sub(now.as_nanos()).min(self.debt_nanos);
        Used { part: debt, whole: self.debt_nanos }
    }

    fn with_used(&self, used: Used, now: Instant) -> u64 {
        now.as_nanos().saturating_add(used.of(self.debt_nanos))
    }

    /// A debt stays the same part of what may be had, so that who has used up one burst has used up the other.
    fn carry(&self, old: &Self, paid_at: &u64, now: Instant) -> u64 {
        self.with_used(old.used(paid_at, now), now)
    }
}
