//! The latency gradient.

use super::{End, Gradient2, Limit, Sample};
use crate::time::Instant;

/// The most that one step shrinks the limit by.
const GRADIENT_MIN: f64 = 0.5;

/// A long average beyond so many times the short one comes from an outage that is over, and
const STALE: f64 = 2.0;
/// decays by this factor a step, so that it is not forgotten a thousand steps later.
const DECAY: f64 = 0.95;

#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Gradient2,
    pub(super) limit: Limit,
    /// Seconds; `None` before the first step.
    baseline: Option<f64>,
    window: Window,
}

/// The successes of the running step.
#[derive(Debug)]
struct Window {
    since: Instant,
    samples: u32,
    seconds: f64,
    in_flight_max: u32,
}

impl Window {
    const fn new(since: Instant) -> Self {
        Self { since, samples: 0, seconds: 0.0, in_flight_max: 0 }
    }
}

impl Core {
    pub(super) const fn new(config: Gradient2, limit: Limit, now: Instant) -> Self {
        Self { config, limit, baseline: None, window: Window::new(now) }
    }

    pub(super) fn sample(&mut self, sample: Sample, now: Instant) -> u32 {
        if sample.end == End::Overload {
            self.limit.cut(self.config.backoff, sample, now);
            return self.limit.whole();
        }
        let window = &mut self.window;
        window.samples = window.samples.saturating_add(1);
        window.seconds += now.saturating_duration_since(sample.started).as_secs_f64();
        window.in_flight_max = window.in_flight_max.max(sample.in_flight);
        let over = now.saturating_duration_since(window.since) >= self.config.window;
        if over && window.samples >= self.config.samples_min {
            let window = std::mem::replace(window, Window::new(now));
            // No latency at all would have no ratio.
            let short = (window.seconds / f64::from(window.samples)).max(1e-9);
            self.step(short, window.in_flight_max);
        }
        self.limit.whole()
    }

    fn step(&mut self, short: f64, in_flight_max: u32) {
        let in_use = self.limit.in_use(in_flight_max);
        let baseline = self.follow(short, !in_use || self.limit.value <= self.limit.min);
        if !in_use {
            return;
        }
        let gradient = (self.config.tolerance * baseline / short).clamp(GRADIENT_MIN, 1.0);
        // The headroom is for growing alone: added while it shrinks, it would outweigh a small slowness for ever.
        let target = if gradient < 1.0 {
            self.limit.value * gradient
        } else {
            self.limit.value + f64::from(self.config.headroom)
        };
        self.limit.set(self.limit.value + (target - self.limit.value) * self.config.smoothing);
    }

    /// Moves the long average towards `short`, upwards only when it `may_rise`.
    fn follow(&mut self, short: f64, may_rise: bool) -> f64 {
        let weight = 2.0 / (f64::from(self.config.baseline_steps) + 1.0);
        let old = self.baseline.unwrap_or(short);
        let baseline = if may_rise || short < old { old + (short - old) * weight } else { old };
        let baseline = if baseline > STALE * short { baseline * DECAY } else { baseline };
        self.baseline = Some(baseline);
        baseline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core(value: f64, baseline: f64) -> Core {
        let limit = Limit { min: 5.0, max: 500.0, value, cut_at: None };
        let mut core = Core::new(Gradient2::default(), limit, Instant::ZERO);
        core.baseline = Some(baseline);
        core
    }

    #[test]
    fn the_average_follows_slowly_and_forgets_an_outage() {
        // Of 600 steps, the weight is 2 / 601.
        for (old, short, may_rise, expected) in [
            (0.1, 0.4, true, 0.1 + 0.6 / 601.0),
            (0.1, 0.4, false, 0.1),
            (1.0, 0.9, false, 1.0 - 0.2 / 601.0),
            (1.0, 0.5, true, 1.0 - 1.0 / 601.0),
            (1.0, 0.4, true, 0.95 * (1.0 - 1.2 / 601.0)),
        ] {
            let mut core = core(20.0, old);
            let followed = core.follow(short, may_rise);
            assert!((followed - expected).abs() < 1e-12, "{old} {short} {may_rise} {followed}");
            assert_eq!(core.baseline, Some(followed));
        }
    }

    #[test]
    fn the_average_rises_while_the_limit_is_not_the_cause() {
        for (value, in_flight_max, rises) in
            [(20.0, 9, true), (20.0, 10, false), (5.0, 5, true), (5.0, 2, true)]
        {
            let mut core = core(value, 0.1);
            core.step(0.4, in_flight_max);
            assert_eq!(core.baseline > Some(0.1), rises, "{in_flight_max} of {value}");
        }
    }
}
