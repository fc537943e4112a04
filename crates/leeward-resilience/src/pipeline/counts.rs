//! What a pipeline counts of itself.

use std::sync::atomic::{AtomicU64, Ordering};

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

/// Counted without a lock.
#[derive(Debug, Default)]
pub(super) struct Counters {
    calls: AtomicU64,
    calls_repeated: AtomicU64,
    attempts: AtomicU64,
    rejected: AtomicU64,
}

impl Counters {
    pub(super) fn call(&self, repeated: bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if repeated {
            self.calls_repeated.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            calls: read(&self.calls),
            calls_repeated: read(&self.calls_repeated),
            attempts: read(&self.attempts),
            rejected: read(&self.rejected),
        }
    }
}
