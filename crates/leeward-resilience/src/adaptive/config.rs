//! The options of the adaptive limit.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::ConfigErrors;
use crate::mode::Mode;

/// Options of an [`AdaptiveLimit`](super::AdaptiveLimit).
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptive {
    /// The limit never falls below, 1 ..= `limit_max`. Default 5: some calls must pass for it to learn that all is well.
    pub limit_min: NonZeroU32,
    /// The limit never grows beyond, up to 1,000,000. Default 500: a mistake of the algorithm is bounded too.
    pub limit_max: NonZeroU32,
    /// Where it starts, `limit_min` ..= `limit_max`. Default 20: growing costs less than having been too much.
    pub limit_initial: NonZeroU32,
    /// How it finds its value. Default [`Aimd`].
    pub algorithm: Algorithm,
    /// A permit dropped after so long is overload, one dropped earlier is neutral; more than 0. Default 10 s; best set
    /// to the attempt timeout.
    pub abandoned_after: Duration,
    /// Whether it rejects, or only says so. Default [`Mode::Enforced`].
    pub mode: Mode,
}

/// How an adaptive limit finds its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Algorithm {
    /// Learns from failures, and from calls slower than a fixed bound.
    Aimd(Aimd),
    /// Learns from the change of the latency.
    Gradient2(Gradient2),
}

/// Options of additive increase, multiplicative decrease.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aimd {
    /// Overload multiplies the limit by it, 0.5 ..= 0.99. Default 0.9: half, as in TCP, gives away too much where overload
    /// is told apart from bad luck.
    pub backoff: f64,
    /// A slower success counts as overload; `None` is off, else more than 0. Default off: no bound is right for all.
    pub latency_max: Option<Duration>,
}

/// Options of the latency gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gradient2 {
    /// The time whose mean latency is one step, 10 ms ..= 60 s. Default 200 ms.
    pub window: Duration,
    /// Fewer successes do not make a step: the window goes on, 1 ..= 10,000. Default 10.
    pub samples_min: u32,
    /// Steps that the long average looks back, 10 ..= 100,000. Default 600: two minutes of traffic.
    pub baseline_steps: u32,
    /// Slower than the long average by so much is still normal, 1 ..= 3. Default 1.5: latencies vary.
    pub tolerance: f64,
    /// The share of each step that is taken, in 0 (exclusive) ..= 1. Default 0.2: one odd window moves the limit little.
    pub smoothing: f64,
    /// What a step without slowness adds, before the smoothing, 1 ..= 100. Default 4, about the queue that one likes to
    /// see at the upstream.
    pub headroom: u32,
    /// Overload multiplies the limit by it, 0.5 ..= 0.99. Default 0.9.
    pub backoff: f64,
}

const fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("the default is not zero")
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            limit_min: const { count(5) },
            limit_max: const { count(500) },
            limit_initial: const { count(20) },
            algorithm: Algorithm::default(),
            abandoned_after: Duration::from_secs(10),
            mode: Mode::Enforced,
        }
    }
}

impl Default for Algorithm {
    fn default() -> Self {
        Self::Aimd(Aimd::default())
    }
}

impl Default for Aimd {
    fn default() -> Self {
        Self { backoff: 0.9, latency_max: None }
    }
}

impl Default for Gradient2 {
    fn default() -> Self {
        Self {
            window: Duration::from_millis(200),
            samples_min: 10,
            baseline_steps: 600,
            tolerance: 1.5,
            smoothing: 0.2,
            headroom: 4,
            backoff: 0.9,
        }
    }
}

impl Adaptive {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let Self { limit_min: min, limit_max: max, limit_initial: initial, .. } = *self;
        errors.check(min <= max, "adaptive.limit_min", min, "1 to limit_max");
        errors.check(max.get() <= 1_000_000, "adaptive.limit_max", max, "1 to 1000000");
        let initial_ok = (min..=max).contains(&initial);
        errors.check(initial_ok, "adaptive.limit_initial", initial, "limit_min to limit_max");
        match &self.algorithm {
            Algorithm::Aimd(aimd) => aimd.check(&mut errors),
            Algorithm::Gradient2(gradient) => gradient.check(&mut errors),
        }
        let abandoned = self.abandoned_after;
        errors.check(!abandoned.is_zero(), "adaptive.abandoned_after", abandoned, "more than 0");
        errors.finish()
    }
}

impl Aimd {
    fn check(&self, errors: &mut ConfigErrors) {
        let backoff_ok = (0.5..=0.99).contains(&self.backoff);
        errors.check(backoff_ok, "adaptive.aimd.backoff", self.backoff, "0.5 to 0.99");
        let latency_ok = self.latency_max.is_none_or(|max| !max.is_zero());
        errors.check(latency_ok, "adaptive.aimd.latency_max", self.latency_max, "more than 0");
    }
}

impl Gradient2 {
    fn check(&self, errors: &mut ConfigErrors) {
        let window_ok = (Duration::from_millis(10)..=Duration::from_secs(60)).contains(&self.window);
        errors.check(window_ok, "adaptive.gradient2.window", self.window, "10ms to 60s");
        let samples_ok = (1..=10_000).contains(&self.samples_min);
        errors.check(samples_ok, "adaptive.gradient2.samples_min", self.samples_min, "1 to 10000");
        let steps_ok = (10..=100_000).contains(&self.baseline_steps);
        errors.check(steps_ok, "adaptive.gradient2.baseline_steps", self.baseline_steps, "10 to 100000");
        let tolerance_ok = (1.0..=3.0).contains(&self.tolerance);
        errors.check(tolerance_ok, "adaptive.gradient2.tolerance", self.tolerance, "1 to 3");
        let smoothing_ok = self.smoothing > 0.0 && self.smoothing <= 1.0;
        errors.check(smoothing_ok, "adaptive.gradient2.smoothing", self.smoothing, "more than 0, up to 1");
        let headroom_ok = (1..=100).contains(&self.headroom);
        errors.check(headroom_ok, "adaptive.gradient2.headroom", self.headroom, "1 to 100");
        let backoff_ok = (0.5..=0.99).contains(&self.backoff);
        errors.check(backoff_ok, "adaptive.gradient2.backoff", self.backoff, "0.5 to 0.99");
    }
}
