//! A window whose length changes keeps what it counted.

use std::time::Duration;

use super::{BUCKETS, Window};
use crate::time::Instant;

impl Window {
    /// A window of another length with the counts of this one at `now`, each as old as it was to within a slice of the longer
    /// of the two; what lies further back than the new length is forgotten.
    ///
    /// A slice is taken for as young as its last call may be, so that nothing is forgotten early.
    pub(crate) fn resized(&self, length: Duration, now: Instant) -> Self {
        let end = |bucket: u64| {
            let end = (bucket + 1).saturating_mul(self.bucket_nanos) - 1;
            Instant::from_nanos(end).min(now)
        };
        let mut resized = Self::new(length, now);
        let oldest = (self.head + 1).saturating_sub(BUCKETS as u64);
        for bucket in oldest..=self.head {
            let counts = self.buckets[Self::index(bucket)];
            let its = end(bucket).as_nanos() / resized.bucket_nanos;
            if its + BUCKETS as u64 <= resized.head {
                continue;
            }
            for place in [&mut resized.buckets[Self::index(its)], &mut resized.sum] {
                place.hits = place.hits.saturating_add(counts.hits);
                place.misses = place.misses.saturating_add(counts.misses);
                place.slow = place.slow.saturating_add(counts.slow);
            }
        }
        resized
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::window::Counts;

    const MS: Duration = Duration::from_millis(1);
    const START: Instant = Instant::from_nanos(500_000_000_000);

    #[test]
    fn a_window_of_the_same_length_forgets_what_it_would_have_forgotten() {
        let mut window = Window::new(Duration::from_secs(10), START);
        for second in 0..10 {
            window.record(START + second * 1000 * MS, second % 2 == 0, second % 3 == 0);
        }
        let now = START + 9_400 * MS;
        let mut resized = window.resized(Duration::from_secs(10), now);
        for later in 0..=10 {
            let at = now + later * 1000 * MS;
            assert_eq!(resized.counts(at), window.counts(at), "{later} s later");
        }
        assert_eq!(window.latest(), Counts::default());
    }

    proptest! {
        /// The naive model keeps the time of each call. What is certainly within the new length must be there, and what is
        /// certainly beyond both lengths must not.
        #[test]
        fn calls_stay_as_old_as_they_are(
            pauses in prop::collection::vec(0_u32..1500, 1..60),
            before_s in 1_u32..30,
            after_s in 1_u32..30,
            later_ms in 0_u32..40_000,
        ) {
            let (before, after) = (before_s * 1000 * MS, after_s * 1000 * MS);
            let mut window = Window::new(before, START);
            let (mut now, mut calls) = (START, Vec::new());
            for pause in pauses {
                now = now + pause * MS;
                window.record(now, true, true);
                calls.push(now);
            }
            let mut resized = window.resized(after, now);
            now = now + later_ms * MS;
            let counted = resized.counts(now);
            let slice = before.max(after) / 10 + MS;
            let last = *calls.last().unwrap();
            let count = |bound: Duration, kept: Duration| {
                let young = |&&at: &&Instant| now.saturating_duration_since(at) <= bound;
                let known = |&&at: &&Instant| last.saturating_duration_since(at) <= kept;
                u32::try_from(calls.iter().filter(young).filter(known).count()).unwrap()
            };
            let least = count((after * 9 / 10).saturating_sub(slice), (before * 9 / 10).saturating_sub(slice));
            let most = count(after + slice * 2, before + slice);
            prop_assert!(counted.misses >= least && counted.misses <= most, "{counted:?} {least} {most}");
            prop_assert_eq!(counted, Counts { hits: 0, misses: counted.misses, slow: counted.misses });
        }
    }
}
