//! A quantile of recent latencies in constant space.

use std::time::Duration;

use crate::time::{Instant, nanos};

/// Steps in each doubling: a latency is known to one eighth.
const STEPS: u64 = 8;

/// 28 times `STEPS`: all that is longer than 2^30 us, 18 minutes, counts as that.
const BUCKETS: usize = 28 * 8;

/// A quantile is computed anew after so many samples, and whenever old ones are forgotten.
const REFRESH_AFTER: u32 = 16;

/// Counts of latencies in buckets whose width grows with the latency, in two halves: the running one and the one before.
///
/// A half lasts `half`; then the older one is forgotten as a whole, so that what is seen is between one and two halves
/// old. Rotation is driven by the time alone. It takes 2 KiB, whatever the traffic.
///
/// Source: the bucket layout is that of HdrHistogram (Gil Tene, 2012) with three significant bits.
#[derive(Debug)]
pub(super) struct Latencies {
    quantile: f64,
    half_nanos: u64,
    /// Number of the running half since the origin of time.
    head: u64,
    halves: [Half; 2],
    fresh: u32,
    known: Option<Duration>,
}

#[derive(Debug)]
struct Half {
    buckets: [u32; BUCKETS],
    samples: u32,
}

impl Half {
    const EMPTY: Self = Self { buckets: [0; BUCKETS], samples: 0 };
}

impl Latencies {
    pub(super) fn new(quantile: f64, half: Duration, now: Instant) -> Self {
        let half_nanos = nanos(half).max(1);
        let head = now.as_nanos() / half_nanos;
        Self { quantile, half_nanos, head, halves: [Half::EMPTY, Half::EMPTY], fresh: 0, known: None }
    }

    /// Looks for another quantile of the same latencies.
    pub(super) fn look_for(&mut self, quantile: f64, now: Instant) {
        self.rotate(now);
        self.quantile = quantile;
        self.refresh();
    }

    pub(super) fn record(&mut self, latency: Duration, now: Instant) {
        self.rotate(now);
        let half = &mut self.halves[usize::from(self.head % 2 == 1)];
        if half.samples == u32::MAX {
            return;
        }
        half.samples += 1;
        half.buckets[bucket(latency)] += 1;
        self.fresh += 1;
        if self.fresh >= REFRESH_AFTER {
            self.refresh();
        }
    }

    /// The quantile, rounded up to the end of its bucket; `None` while fewer than `samples_min` are known.
    pub(super) fn quantile(&mut self, samples_min: u32, now: Instant) -> Option<Duration> {
        self.rotate(now);
        self.known.filter(|_| self.samples() >= u64::from(samples_min))
    }

    fn samples(&self) -> u64 {
        self.halves.iter().map(|half| u64::from(half.samples)).sum()
    }

    fn rotate(&mut self, now: Instant) {
        let target = now.as_nanos() / self.half_nanos;
        let steps = target.saturating_sub(self.head);
        if steps == 0 {
            return;
        }
        for step in 1..=steps.min(2) {
            self.halves[usize::from((self.head + step) % 2 == 1)] = Half::EMPTY;
        }
        // After an odd number of halves beyond two the parity must fit, and both are empty anyway.
        self.head = target;
        self.refresh();
    }

    fn refresh(&mut self) {
        self.fresh = 0;
        let rank = rank(self.quantile, self.samples());
        let mut seen = 0_u64;
        self.known = (0..BUCKETS).find_map(|index| {
            seen += self.halves.iter().map(|half| u64::from(half.buckets[index])).sum::<u64>();
            (seen >= rank).then(|| upper(index))
        });
    }
}

/// The number of samples, at least one, that are not above the quantile of so many.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of two u32 fit into an f64, and the result lies between 1 and the count"
)]
fn rank(quantile: f64, samples: u64) -> u64 {
    ((quantile * samples as f64).ceil() as u64).max(1)
}

/// The first `STEPS` buckets are one microsecond wide; from there on each doubling has `STEPS` of them.
fn bucket(latency: Duration) -> usize {
    let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    let index = if us < STEPS {
        us
    } else {
        let doubling = u64::from(us.ilog2()) - u64::from(STEPS.ilog2());
        (doubling + 1) * STEPS + ((us >> doubling) - STEPS)
    };
    usize::try_from(index).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// The shortest latency beyond a bucket.
fn upper(index: usize) -> Duration {
    let next = u64::try_from(index).unwrap_or(u64::MAX) + 1;
    let us = if next < STEPS { next } else { (STEPS + next % STEPS) << (next / STEPS - 1) };
    Duration::from_micros(us)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HALF: Duration = Duration::from_secs(10);
    const START: Instant = Instant::from_nanos(40_000_000_000);

    proptest! {
        /// The naive model keeps every sample, drops the old halves, and sorts.
        #[test]
        fn it_knows_the_quantile_of_the_naive_model_to_an_eighth(
            steps in prop::collection::vec((0_u64..3_000, 0_u32..28, 0_u64..1000), 1..300),
            quantile in 0.5_f64..1.0,
        ) {
            let mut now = START;
            let mut latencies = Latencies::new(quantile, HALF, now);
            let mut model: Vec<(u64, u64)> = Vec::new();
            for (pause_ms, doubling, fraction) in steps {
                now = now + Duration::from_millis(pause_ms / 4);
                let us = (1_u64 << doubling.min(26)) * (1000 + fraction) / 1000;
                latencies.record(Duration::from_micros(us), now);
                latencies.refresh();
                let head = now.as_nanos() / 10_000_000_000;
                model.push((head, us));
                model.retain(|(half, _)| half + 2 > head);
                let mut sorted: Vec<u64> = model.iter().map(|&(_, us)| us).collect();
                sorted.sort_unstable();
                let share = |index: usize| (index + 1) as f64 / sorted.len() as f64;
                let exact = (0..).find(|&index| share(index) >= quantile - 1e-12).map(|index| sorted[index]).unwrap();
                let exact = exact as f64;
                let known = latencies.quantile(1, now).unwrap().as_secs_f64() * 1e6;
                prop_assert!(known > exact && known <= exact * 1.125 + 1.0, "{known} for {exact}");
            }
        }

        #[test]
        fn a_latency_lies_below_the_end_of_its_bucket_and_not_below_that_of_the_one_before(us in 0_u64..200_000_000) {
            let index = bucket(Duration::from_micros(us));
            let latency = Duration::from_micros(us);
            prop_assert!(index == BUCKETS - 1 || latency < upper(index));
            prop_assert!(index == 0 || latency >= upper(index - 1));
        }
    }

    #[test]
    fn nothing_old_is_left_after_idleness_and_few_samples_say_nothing() {
        for halves in [2_u32, 3, 4, 1001] {
            let mut latencies = Latencies::new(0.9, HALF, START);
            for _ in 0..100 {
                latencies.record(Duration::from_millis(80), START);
            }
            assert_eq!(latencies.quantile(101, START), None);
            let known = latencies.quantile(100, START).unwrap();
            assert!(known > Duration::from_millis(80) && known <= Duration::from_millis(90), "{known:?}");
            // Seen one half later, or not looked at until then.
            if halves > 3 {
                assert_eq!(latencies.quantile(100, START + HALF), Some(known));
            }
            assert_eq!(latencies.quantile(1, START + HALF * halves), None);
        }
    }

    #[test]
    fn a_quantile_is_computed_anew_after_so_many_samples_and_not_with_each() {
        let mut latencies = Latencies::new(0.5, HALF, START);
        let mut known = Vec::new();
        for number in 1..=32 {
            latencies.record(Duration::from_millis(if number <= 16 { 1 } else { 100 }), START);
            known.push(latencies.quantile(1, START).map(|known| known.as_millis()));
        }
        assert_eq!(known[..15], [None; 15]);
        assert_eq!(known[15..31], [Some(1); 16]);
    }

    #[test]
    fn the_longest_latency_and_time_that_runs_backwards_are_harmless() {
        let mut latencies = Latencies::new(0.5, HALF, START);
        for _ in 0..REFRESH_AFTER {
            latencies.record(Duration::MAX, START.saturating_sub(HALF));
        }
        assert!(latencies.quantile(1, START).unwrap() > Duration::from_secs(100));
    }
}
