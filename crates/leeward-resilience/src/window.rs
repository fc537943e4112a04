//! Counts over a sliding window, of time or of calls, in constant time and space.

mod calls;
mod resize;
mod slot;
mod striped;
mod stripes;

pub(crate) use self::calls::CallWindow;
pub(crate) use self::slot::{slot, slots};
pub(crate) use self::striped::StripedWindow;
pub(crate) use self::stripes::Stripes;

use std::time::Duration;

use crate::time::{Instant, nanos};

/// Slices of a window. Ten: what is forgotten at once is a tenth of it, and the whole fits into three cache lines.
const BUCKETS: usize = 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) hits: u32,
    pub(crate) misses: u32,
    /// Hits and misses that took long, where somebody asks for it.
    pub(crate) slow: u32,
}

impl Counts {
    pub(crate) const fn all(self) -> u32 {
        self.hits.saturating_add(self.misses)
    }
}

/// Rotation is driven by the time alone, so that a window which nobody touched for a while is empty and not stale.
///
/// It covers between nine and ten tenths of its length: the running tenth and the nine before. Time that runs backwards
/// (threads that read the clock in one order and arrive in another) counts as the running tenth.
#[derive(Debug)]
pub(crate) struct Window {
    bucket_nanos: u64,
    /// Number of the running bucket since the origin of time.
    head: u64,
    buckets: [Counts; BUCKETS],
    sum: Counts,
}

impl Window {
    pub(crate) fn new(length: Duration, now: Instant) -> Self {
        let bucket_nanos = (nanos(length) / BUCKETS as u64).max(1);
        let head = now.as_nanos() / bucket_nanos;
        Self { bucket_nanos, head, buckets: [Counts::default(); BUCKETS], sum: Counts::default() }
    }

    pub(crate) fn hit(&mut self, now: Instant) -> Counts {
        let bucket = self.running(now);
        bucket.hits = bucket.hits.saturating_add(1);
        self.sum.hits = self.sum.hits.saturating_add(1);
        self.sum
    }

    pub(crate) fn miss(&mut self, now: Instant) -> Counts {
        let bucket = self.running(now);
        bucket.misses = bucket.misses.saturating_add(1);
        self.sum.misses = self.sum.misses.saturating_add(1);
        self.sum
    }

    /// A hit or a miss, and whether it took long.
    pub(crate) fn record(&mut self, now: Instant, missed: bool, slow: bool) -> Counts {
        if slow {
            let bucket = self.running(now);
            bucket.slow = bucket.slow.saturating_add(1);
            self.sum.slow = self.sum.slow.saturating_add(1);
        }
        if missed { self.miss(now) } else { self.hit(now) }
    }

    pub(crate) fn counts(&mut self, now: Instant) -> Counts {
        self.rotate(now);
        self.sum
    }

    /// What was counted when it was last touched.
    pub(crate) const fn latest(&self) -> Counts {
        self.sum
    }

    /// Hits of the running tenth that were counted elsewhere meanwhile.
    pub(crate) fn absorb(&mut self, hits: u64) {
        let hits = u32::try_from(hits).unwrap_or(u32::MAX);
        let bucket = &mut self.buckets[Self::index(self.head)];
        bucket.hits = bucket.hits.saturating_add(hits);
        self.sum.hits = self.sum.hits.saturating_add(hits);
    }

    /// When the running tenth ends, in nanoseconds.
    pub(crate) const fn running_until(&self) -> u64 {
        self.head.saturating_add(1).saturating_mul(self.bucket_nanos)
    }

    fn running(&mut self, now: Instant) -> &mut Counts {
        self.rotate(now);
        &mut self.buckets[Self::index(self.head)]
    }

    fn rotate(&mut self, now: Instant) {
        let target = now.as_nanos() / self.bucket_nanos;
        let steps = target.saturating_sub(self.head);
        if steps == 0 {
            return;
        }
        for step in 1..=steps.min(BUCKETS as u64) {
            let expired = std::mem::take(&mut self.buckets[Self::index(self.head.wrapping_add(step))]);
            self.sum.hits -= expired.hits.min(self.sum.hits);
            self.sum.misses -= expired.misses.min(self.sum.misses);
            self.sum.slow -= expired.slow.min(self.sum.slow);
        }
        self.head = target;
    }

    fn index(bucket: u64) -> usize {
        usize::try_from(bucket % BUCKETS as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const LENGTH: Duration = Duration::from_secs(10);

    /// The naive model: every single event with its bucket, counted anew each time.
    #[derive(Default)]
    struct Model {
        head: u64,
        events: VecDeque<(u64, bool, bool)>,
    }

    impl Model {
        fn record(&mut self, now: Instant, hit: bool, slow: bool) -> Counts {
            self.head = self.head.max(now.as_nanos() / 1_000_000_000);
            self.events.push_back((self.head, hit, slow));
            self.counts()
        }

        fn counts(&self) -> Counts {
            let covered = || self.events.iter().filter(|(bucket, ..)| bucket + BUCKETS as u64 > self.head);
            let count = |number: usize| u32::try_from(number).unwrap();
            Counts {
                hits: count(covered().filter(|(_, hit, _)| *hit).count()),
                misses: count(covered().filter(|(_, hit, _)| !*hit).count()),
                slow: count(covered().filter(|(.., slow)| *slow).count()),
            }
        }
    }

    proptest! {
        #[test]
        fn the_window_counts_like_the_naive_model(
            steps in prop::collection::vec(
                (0_u64..4_000, any::<bool>(), any::<bool>(), prop::bool::weighted(0.05)), 1..400,
            ),
        ) {
            let mut now = Instant::from_nanos(77_000_000_000);
            let mut window = Window::new(LENGTH, now);
            let mut model = Model { head: 77, ..Model::default() };
            for (ms, hit, slow, long) in steps {
                now = now + Duration::from_millis(if long { ms * 10 } else { ms / 8 });
                let counted = window.record(now, !hit, slow);
                prop_assert_eq!(counted, model.record(now, hit, slow));
            }
        }
    }

    #[test]
    fn nothing_old_is_left_after_idleness() {
        let start = Instant::from_nanos(1);
        let mut window = Window::new(LENGTH, start);
        for _ in 0..100 {
            window.miss(start);
        }
        assert_eq!(window.counts(start + Duration::from_secs(8)).misses, 100);
        assert_eq!(window.counts(start + Duration::from_secs(10)), Counts::default());
        assert_eq!(window.hit(start + Duration::from_secs(1000)), Counts { hits: 1, ..Counts::default() });
    }

    #[test]
    fn time_that_runs_backwards_loses_nothing() {
        let start = Instant::from_nanos(50_000_000_000);
        let mut window = Window::new(LENGTH, start);
        window.hit(start + Duration::from_secs(5));
        assert_eq!(window.miss(start), Counts { hits: 1, misses: 1, slow: 0 });
    }
}
