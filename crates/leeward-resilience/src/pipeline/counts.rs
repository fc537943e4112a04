//! What a pipeline counts of itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::window::{slot, slots};

/// What a [`Pipeline`](super::Pipeline) did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that came in.
    pub calls: u64,
    /// Those of them that already were a retry of somebody further out.
    pub calls_repeated: u64,
    /// Attempts that were sent.
    pub attempts: u64,
    /// Attempts that a policy refused.
    pub rejected: u64,
}

impl Counts {
    /// Attempts sent for each call that came in: 1 without retries and hedges, below 1 when policies refuse. 0 without calls.
    #[must_use]
    pub fn amplification(&self) -> f64 {
        if self.calls == 0 { 0.0 } else { ratio(self.attempts, self.calls) }
    }

    /// Attempts sent for each call that was new at the outermost hop, as far as the hops tell
    /// ([`Effort`](crate::Effort)): what all the layers together make of one call.
    #[must_use]
    pub fn amplification_over_hops(&self) -> f64 {
        let new = self.calls.saturating_sub(self.calls_repeated);
        if new == 0 { 0.0 } else { ratio(self.attempts, new) }
    }
}

#[allow(clippy::cast_precision_loss, reason = "beyond 2^53 calls a ratio is still good to fifteen digits")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Counted without a lock, by each thread in lines of its own: a count that all share would be what a call costs.
#[derive(Debug)]
pub(super) struct Counters {
    stripes: Box<[Stripe]>,
}

/// Two cache lines: processors fetch them in pairs.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Stripe {
    calls: AtomicU64,
    calls_repeated: AtomicU64,
    attempts: AtomicU64,
    rejected: AtomicU64,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self { stripes: (0..slots()).map(|_| Stripe::default()).collect() }
    }

    pub(super) fn call(&self, repeated: bool) {
        let stripe = self.own();
        count(&stripe.calls);
        if repeated {
            count(&stripe.calls_repeated);
        }
    }

    pub(super) fn attempt(&self) {
        count(&self.own().attempts);
    }

    pub(super) fn rejected(&self) {
        count(&self.own().rejected);
    }

    pub(super) fn read(&self) -> Counts {
        let sum = |counter: fn(&Stripe) -> &AtomicU64| -> u64 {
            self.stripes.iter().map(|stripe| counter(stripe).load(Ordering::Relaxed)).sum()
        };
        Counts {
            calls: sum(|stripe| &stripe.calls),
            calls_repeated: sum(|stripe| &stripe.calls_repeated),
            attempts: sum(|stripe| &stripe.attempts),
            rejected: sum(|stripe| &stripe.rejected),
        }
    }

    /// That of this thread; one without a slot shares the first.
    fn own(&self) -> &Stripe {
        &self.stripes[slot().unwrap_or(0)]
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
