//! What a call to an endpoint is expected to cost: the pure part of balancing.
//!
//! **Rule.** `cost = latency * (calls on their way + 1) * (1 + 50 * failure share)`. The latency is an exponentially
//! weighted average that follows a slow answer three times as fast as a quick one (after Finagle's peak EWMA, which
//! takes over a peak whole and then starves an endpoint for a minute because of one pause). The latency of a failure
//! counts only when it was slow: quick failures must not attract load, and the failure share (the same kind of average)
//! multiplies the cost instead, fully for an endpoint that asks to be left alone (`Retry-After`). Both fade while no call
//! ends, so that an endpoint that looks bad is tried again. The first answer is taken over whole; before it an endpoint
//! counts as quick as the others are on average, or, when nobody was measured yet, as very quick, so that each is tried.
//! The calls on their way count for the endpoint's weight.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leeward_resilience::Instant;

/// Weight of an answer slower than the average, and of a failure.
const WEIGHT_UP: f64 = 0.3;
/// Weight of a quicker answer.
const WEIGHT_DOWN: f64 = 0.1;
/// What all-failures multiplies the cost by, less one.
const FAILURE_FACTOR: f64 = 50.0;
/// Below this, latencies are noise and only the calls on their way count.
const LATENCY_FLOOR_S: f64 = 0.0001;
/// What an endpoint that failed before it ever did its work is believed to take: its quick failures say nothing.
const FAILED_FIRST_S: f64 = 0.1;

/// How one call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sample {
    Success,
    Failure {
        asks_for_patience: bool,
    },
    /// Dropped before its end, or none of the endpoint's business: the time it took is the least it would have taken.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    latency_s: f64,
    /// Whether the latency is its own.
    measured: bool,
    failures: f64,
    at: Instant,
}

impl Load {
    /// A newcomer with the latency that is expected of it.
    pub(crate) fn new(latency: Duration, now: Instant) -> Self {
        Self { latency_s: latency.as_secs_f64(), measured: false, failures: 0.0, at: now }
    }

    pub(crate) fn record(&mut self, sample: Sample, latency: Duration, now: Instant, decay: Duration) {
        *self = self.faded(now, decay);
        let seconds = latency.as_secs_f64();
        let slower = seconds > self.latency_s;
        if slower || sample == Sample::Success {
            let weight = match (self.measured, slower) {
                (false, _) => 1.0,
                (true, true) => WEIGHT_UP,
                (true, false) => WEIGHT_DOWN,
            };
            self.latency_s += weight * (seconds - self.latency_s);
            self.measured = true;
        }
        if !self.measured && matches!(sample, Sample::Failure { .. }) {
            self.latency_s = self.latency_s.max(FAILED_FIRST_S);
        }
        match sample {
            Sample::Success => self.failures -= WEIGHT_DOWN * self.failures,
            Sample::Failure { asks_for_patience: true } => self.failures = 1.0,
            Sample::Failure { asks_for_patience: false } => {
                self.failures += WEIGHT_UP * (1.0 - self.failures)
            }
            Sample::Unknown => {}
        }
    }

    /// What one call more is expected to cost, with so many on their way for its weight.
    pub(crate) fn cost(&self, outstanding: f64, now: Instant, decay: Duration) -> f64 {
        let faded = self.faded(now, decay);
        faded.latency_s.max(LATENCY_FLOOR_S) * (outstanding + 1.0) * (1.0 + FAILURE_FACTOR * faded.failures)
    }

    pub(crate) fn latency(&self) -> Duration {
        Duration::from_secs_f64(self.latency_s.max(0.0))
    }

    pub(crate) fn is_measured(&self) -> bool {
        self.measured
    }

    pub(crate) fn failures(&self, now: Instant, decay: Duration) -> f64 {
        self.faded(now, decay).failures
    }

    fn faded(&self, now: Instant, decay: Duration) -> Self {
        let idle = now.saturating_duration_since(self.at).as_secs_f64();
        let keep = (-idle / decay.as_secs_f64()).exp();
        Self {
            latency_s: self.latency_s * keep,
            failures: self.failures * keep,
            at: self.at.max(now),
            ..*self
        }
    }
}

/// A [`Load`] that many cores read and change without a lock.
#[derive(Debug)]
pub(crate) struct Cell {
    /// Latency in seconds as an `f32`; then the failure share in 2^-31ths; then whether the latency was measured.
    state: AtomicU64,
    /// Nanoseconds of an `Instant`. Written after the state: who reads in between takes a new state for an older one, and
    /// fades it a bit too much for one pick.
    at: AtomicU64,
}

/// The failure share 1.
const SHARE_ONE: f64 = 2_147_483_647.0;

impl Cell {
    pub(crate) fn new(load: Load) -> Self {
        Self { state: AtomicU64::new(pack(load)), at: AtomicU64::new(load.at.as_nanos()) }
    }

    pub(crate) fn get(&self) -> Load {
        unpack(self.state.load(Ordering::Relaxed), Instant::from_nanos(self.at.load(Ordering::Relaxed)))
    }

    pub(crate) fn record(&self, sample: Sample, latency: Duration, now: Instant, decay: Duration) {
        let at = Instant::from_nanos(self.at.load(Ordering::Relaxed));
        let changed = |state| {
            let mut load = unpack(state, at);
            load.record(sample, latency, now, decay);
            Some(pack(load))
        };
        // Goes round again only when another core was quicker, so that one of them always gets on.
        let _state = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed);
        self.at.fetch_max(now.as_nanos(), Ordering::Relaxed);
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of 31 bits; an f32 is enough"
)]
fn pack(load: Load) -> u64 {
    let latency = u64::from((load.latency_s as f32).to_bits());
    let failures = (load.failures.clamp(0.0, 1.0) * SHARE_ONE) as u64;
    latency << 32 | failures << 1 | u64::from(load.measured)
}

fn unpack(state: u64, at: Instant) -> Load {
    let (latency, rest) =
        (u32::try_from(state >> 32).unwrap_or(0), u32::try_from(state & 0xffff_ffff).unwrap_or(0));
    Load {
        latency_s: f64::from(f32::from_bits(latency)),
        measured: rest & 1 == 1,
        failures: f64::from(rest >> 1) / SHARE_ONE,
        at,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Instant = Instant::from_nanos(60_000_000_000);
    const DECAY: Duration = Duration::from_secs(10);
    const MS: Duration = Duration::from_millis(1);

    fn measured(samples: &[(Sample, Duration)]) -> Load {
        let mut load = Load::new(Duration::ZERO, NOW);
        load.record(Sample::Success, MS, NOW, DECAY);
        for &(sample, latency) in samples {
            load.record(sample, latency, NOW, DECAY);
        }
        load
    }

    #[test]
    fn quick_failures_do_not_attract_load() {
        let failing = measured(&[(Sample::Failure { asks_for_patience: false }, Duration::ZERO)]);
        let working = measured(&[(Sample::Success, 5 * MS)]);
        assert!(failing.cost(0.0, NOW, DECAY) > working.cost(3.0, NOW, DECAY));
        let patient = measured(&[(Sample::Failure { asks_for_patience: true }, Duration::ZERO)]);
        assert!(patient.cost(0.0, NOW, DECAY) > failing.cost(0.0, NOW, DECAY));
    }

    /// Always the cheaper of two endpoints; says how often the one that rejects within a millisecond was chosen.
    fn rejecting_chosen(asks_for_patience: bool) -> u32 {
        let (mut rejecting, mut working) = (measured(&[]), measured(&[]));
        let (mut now, mut chosen) = (NOW, 0);
        for _ in 0..1000 {
            if rejecting.cost(0.0, now, DECAY) < working.cost(0.0, now, DECAY) {
                chosen += 1;
                now = now + MS;
                rejecting.record(Sample::Failure { asks_for_patience }, MS, now, DECAY);
            } else {
                now = now + 20 * MS;
                working.record(Sample::Success, 20 * MS, now, DECAY);
            }
        }
        chosen
    }

    /// By its latency alone the endpoint that rejects is twenty times as good as the one that works.
    #[test]
    fn defect_14_fast_429s_do_not_attract_load() {
        let (plain, patient) = (rejecting_chosen(false), rejecting_chosen(true));
        assert!(plain <= 20, "{plain} of 1000");
        assert!(patient <= plain, "{patient} of 1000, {plain} without Retry-After");
        assert!(plain > 0, "it is tried again now and then");
    }

    #[test]
    fn one_pause_does_not_starve_and_all_is_forgotten_in_time() {
        let paused = measured(&[(Sample::Success, 50 * MS)]);
        let steady = measured(&[(Sample::Success, MS)]);
        assert!(paused.cost(0.0, NOW, DECAY) > steady.cost(5.0, NOW, DECAY));
        let later = NOW + Duration::from_secs(30);
        assert!(paused.cost(0.0, later, DECAY) < steady.cost(0.0, NOW, DECAY));
    }

    #[test]
    fn the_first_answer_is_taken_over_whole() {
        let mut load = Load::new(80 * MS, NOW);
        load.record(Sample::Success, 3 * MS, NOW, DECAY);
        assert_eq!(load.latency(), 3 * MS);
        load.record(Sample::Success, 2 * MS, NOW, DECAY);
        assert!(load.latency() > 2 * MS);
    }

    #[test]
    fn an_abandoned_call_counts_as_at_least_as_slow() {
        assert!(measured(&[(Sample::Unknown, 500 * MS)]).latency() > 100 * MS);
        assert_eq!(measured(&[(Sample::Unknown, Duration::ZERO)]).latency(), MS);
    }

    proptest! {
        #[test]
        fn the_cost_is_a_positive_number_that_grows_with_the_calls(
            samples in prop::collection::vec((0_u8..4, 0_u64..10_000_000, 0_u64..20_000), 0..60),
            outstanding in 0.0..1000.0,
        ) {
            let mut load = Load::new(Duration::ZERO, NOW);
            let mut now = NOW;
            for (kind, micros, wait_ms) in samples {
                now = now + Duration::from_millis(wait_ms);
                let sample = match kind {
                    0 => Sample::Success,
                    1 => Sample::Unknown,
                    other => Sample::Failure { asks_for_patience: other == 3 },
                };
                load.record(sample, Duration::from_micros(micros), now, DECAY);
                prop_assert!((0.0..=1.0).contains(&load.failures(now, DECAY)));
            }
            let cost = load.cost(outstanding, now, DECAY);
            prop_assert!(cost.is_finite() && cost > 0.0);
            prop_assert!(load.cost(outstanding + 1.0, now, DECAY) > cost);
        }
    }

    #[test]
    fn a_cell_keeps_what_it_is_given() {
        let cell = Cell::new(Load::new(80 * MS, NOW));
        let mut load = Load::new(80 * MS, NOW);
        for (sample, ms) in [
            (Sample::Success, 3),
            (Sample::Failure { asks_for_patience: false }, 9),
            (Sample::Unknown, 20),
            (Sample::Success, 1),
        ] {
            let now = NOW + ms * MS;
            cell.record(sample, ms * MS, now, DECAY);
            load.record(sample, ms * MS, now, DECAY);
            let kept = cell.get();
            assert!((kept.latency_s - load.latency_s).abs() < 1e-6 * load.latency_s, "{kept:?} {load:?}");
            assert!((kept.failures - load.failures).abs() < 1e-6);
            assert_eq!((kept.measured, kept.at), (load.measured, load.at));
        }
        cell.record(Sample::Failure { asks_for_patience: true }, MS, NOW, DECAY);
        assert_eq!(cell.get().failures, 1.0);
    }
}
