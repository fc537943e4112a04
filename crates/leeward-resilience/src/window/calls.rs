//! The last so many calls, two bits each.

use super::Counts;

/// A ring over the newest calls: each one that comes in pushes the oldest out, so that what is counted is always exactly the
/// last `capacity` calls, or all there were.
#[derive(Debug)]
pub(crate) struct CallWindow {
    /// Bit `i` of the first is call `i`'s failure, of the second its slowness.
    bits: Box<[[u64; 2]]>,
    capacity: u32,
    /// Where the next call goes: the place of the oldest, once the ring is full.
    next: u32,
    counts: Counts,
}

/// Calls in one word of bits.
const WORD: u32 = u64::BITS;

impl CallWindow {
    /// An empty window of `capacity` calls, 1 or more.
    pub(crate) fn new(capacity: u32) -> Self {
        let capacity = capacity.max(1);
        let words = usize::try_from(capacity.div_ceil(WORD)).unwrap_or(1);
        Self { bits: vec![[0; 2]; words].into(), capacity, next: 0, counts: Counts::default() }
    }

    pub(crate) fn record(&mut self, missed: bool, slow: bool) -> Counts {
        let is_full = self.counts.all() >= self.capacity;
        let (mask, at) = (1_u64 << (self.next % WORD), usize::try_from(self.next / WORD).unwrap_or(0));
        let [misses, slows] = &mut self.bits[at];
        if is_full {
            let was_missed = *misses & mask != 0;
            self.counts.misses -= u32::from(was_missed);
            self.counts.hits -= u32::from(!was_missed);
            self.counts.slow -= u32::from(*slows & mask != 0);
        }
        *misses = (*misses & !mask) | (u64::from(missed) << (self.next % WORD));
        *slows = (*slows & !mask) | (u64::from(slow) << (self.next % WORD));
        self.counts.misses += u32::from(missed);
        self.counts.hits += u32::from(!missed);
        self.counts.slow += u32::from(slow);
        self.next = if self.next + 1 == self.capacity { 0 } else { self.next + 1 };
        self.counts
    }

    /// What is counted.
    pub(crate) const fn latest(&self) -> Counts {
        self.counts
    }

    /// So many hits in a row, none of them slow: as if each were recorded, 64 at a time.
    pub(crate) fn absorb(&mut self, hits: u64) {
        let all = u64::from(self.counts.all()).saturating_add(hits).min(u64::from(self.capacity));
        let mut left = u32::try_from(hits).unwrap_or(u32::MAX).min(self.capacity);
        // Among nothing but fast hits no place differs from another.
        while left > 0 && (self.counts.misses > 0 || self.counts.slow > 0) {
            let places = left.min(WORD - self.next % WORD).min(self.capacity - self.next);
            self.clear(places);
            left -= places;
        }
        self.counts.hits = u32::try_from(all).unwrap_or(u32::MAX) - self.counts.misses;
    }

    /// The next so many places, all in one word, are fast hits.
    fn clear(&mut self, places: u32) {
        let mask = (u64::MAX >> (WORD - places)) << (self.next % WORD);
        let [misses, slows] = &mut self.bits[usize::try_from(self.next / WORD).unwrap_or(0)];
        self.counts.misses -= (*misses & mask).count_ones();
        self.counts.slow -= (*slows & mask).count_ones();
        *misses &= !mask;
        *slows &= !mask;
        self.next = if self.next + places == self.capacity { 0 } else { self.next + places };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_counts_the_last_calls_like_the_naive_model(
            capacity in 1_u32..200,
            // Now and then a run of fast hits, which comes as one number.
            calls in prop::collection::vec((any::<bool>(), any::<bool>(), prop_oneof![4 => Just(0), 1 => 0_u64..500]), 1..700),
        ) {
            let mut window = CallWindow::new(capacity);
            let mut model: VecDeque<(bool, bool)> = VecDeque::new();
            for (missed, slow, hits) in calls {
                window.absorb(hits);
                model.extend((0..hits).map(|_| (false, false)));
                model.push_back((missed, slow));
                model.drain(..model.len().saturating_sub(usize::try_from(capacity).unwrap()));
                let count = |which: fn(&(bool, bool)) -> bool| {
                    u32::try_from(model.iter().filter(|call| which(call)).count()).unwrap()
                };
                let expected =
                    Counts { hits: count(|call| !call.0), misses: count(|call| call.0), slow: count(|call| call.1) };
                prop_assert_eq!(window.record(missed, slow), expected);
            }
        }
    }
}
