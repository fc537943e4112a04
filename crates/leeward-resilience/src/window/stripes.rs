//! Hits that are counted without a lock, each thread in its own cache line.

use super::slots;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Instant;

/// What a window need not be told of at once. The owner of a window looks at the total whenever it has something to decide,
/// under its lock, and says until when hits are of no interest to it.
///
/// A stripe is written by the one thread that has its slot, so that counting is a load and a store of a line that no other
/// thread writes. What it wrote belongs to the period that was running when it began: after [`restart`](Self::restart)
/// a thread that had been held up for however long adds nothing to the new one.
pub(crate) struct Stripes {
    /// Hits at or after this instant must be counted under the lock. 0: all of them.
    until: AtomicU64,
    /// Grows with every restart.
    period: AtomicU64,
    stripes: Box<[Stripe]>,
}

/// Two lines: processors fetch them in pairs.
#[repr(align(128))]
#[derive(Default)]
struct Stripe {
    period: AtomicU64,
    hits: AtomicU64,
}

impl Stripes {
    /// As many stripes as there are slots; every hit is of interest.
    pub(crate) fn new() -> Self {
        let stripes = (0..slots()).map(|_| Stripe::default()).collect();
        Self { until: AtomicU64::new(0), period: AtomicU64::new(0), stripes }
    }

    /// Counts a hit at `now` in the stripe of the calling thread's `slot`; `false` when it must be counted under the lock.
    ///
    /// `holds` is asked after the period was read: if what it looks at is changed together with a restart, after it, then a
    /// hit that found it unchanged is of the period before.
    #[inline]
    pub(crate) fn hit(&self, slot: usize, now: Instant, holds: impl FnOnce() -> bool) -> bool {
        let Some(stripe) = self.stripes.get(slot) else { return false };
        if now.as_nanos() >= self.until.load(Ordering::Acquire) {
            return false;
        }
        let period = self.period.load(Ordering::Acquire);
        if !holds() {
            return false;
        }
        if stripe.period.load(Ordering::Relaxed) == period {
            let hits = stripe.hits.load(Ordering::Relaxed);
            stripe.hits.store(hits.wrapping_add(1), Ordering::Release);
        } else {
            // Whoever sees the new period sees this zero or what came after it.
            stripe.hits.store(0, Ordering::Release);
            stripe.period.store(period, Ordering::Release);
            stripe.hits.store(1, Ordering::Release);
        }
        true
    }

    /// All the hits of the running period. Under the lock of the owner.
    pub(crate) fn total(&self) -> u64 {
        let period = self.period.load(Ordering::Relaxed);
        let of_now = |stripe: &&Stripe| stripe.period.load(Ordering::Acquire) == period;
        self.stripes.iter().filter(of_now).map(|stripe| stripe.hits.load(Ordering::Acquire)).sum()
    }

    /// A new period without hits. Under the lock of the owner.
    pub(crate) fn restart(&self) {
        let period = self.period.load(Ordering::Relaxed);
        self.period.store(period + 1, Ordering::Release);
    }

    /// Until when, in nanoseconds, hits are of no interest. Under the lock of the owner.
    pub(crate) fn quiet_until(&self, until: u64) {
        if self.until.load(Ordering::Relaxed) != until {
            self.until.store(until, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_nanos(5);

    #[test]
    fn hits_count_until_the_instant_and_for_their_period_alone() {
        let stripes = Stripes::new();
        assert!(!stripes.hit(0, NOW, || true), "at first everything is of interest");
        stripes.quiet_until(6);
        for _ in 0..3 {
            assert!(stripes.hit(0, NOW, || true));
        }
        assert!(stripes.hit(1, NOW, || true));
        assert!(!stripes.hit(1, NOW, || false));
        assert!(!stripes.hit(1, Instant::from_nanos(6), || true));
        assert!(!stripes.hit(slots(), NOW, || true), "nobody has that slot");
        assert_eq!(stripes.total(), 4);
        stripes.restart();
        assert_eq!(stripes.total(), 0);
        assert!(stripes.hit(1, NOW, || true));
        assert_eq!(stripes.total(), 1);
    }

    #[test]
    fn a_thread_that_was_held_up_over_a_restart_counts_for_the_period_before() {
        let stripes = Stripes::new();
        stripes.quiet_until(u64::MAX);
        let held_up = || {
            stripes.restart();
            true
        };
        assert!(stripes.hit(0, NOW, held_up));
        assert_eq!(stripes.total(), 0);
    }

    #[test]
    fn no_hit_of_any_thread_is_lost() {
        const EACH: u64 = 20_000;
        let stripes = Stripes::new();
        stripes.quiet_until(u64::MAX);
        std::thread::scope(|scope| {
            let stripes = &stripes;
            for slot in 0..4 {
                scope.spawn(move || (0..EACH).for_each(|_| assert!(stripes.hit(slot, NOW, || true))));
            }
        });
        assert_eq!(stripes.total(), 4 * EACH);
    }
}
