//! The options of the adaptive limit.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::{
    self, COUNT_MAX, ConfigErrors, Fields, HOUR, MILLI, MINUTE, OneOf, Options, above, count,
};
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
    /// How it finds its value. Default [`Aimd`]: it reads failures alone, which nobody has to tune.
    pub algorithm: Algorithm,
    /// A permit dropped after so long is overload, one dropped earlier is neutral; more than 0, at most 1 h. Default 10 s; best set
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
    /// Finds the most calls at a time that do not queue.
    Knee(Knee),
}

/// Options of additive increase, multiplicative decrease.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aimd {
    /// Overload multiplies the limit by it, 0.5 ..= 0.99. Default 0.9: half, as in TCP, gives away too much where overload
    /// is told apart from bad luck.
    pub backoff: f64,
    /// A slower success counts as overload; `None` is off, else more than 0, at most 1 h. Default off: no bound is right for all.
    pub latency_max: Option<Duration>,
}

/// Options of the latency gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gradient2 {
    /// The time whose mean latency is one step, 10 ms ..= 60 s. Default 200 ms: some calls of a busy upstream, and five
    /// steps a second.
    pub window: Duration,
    /// Fewer successes do not make a step: the window goes on, 1 ..= 10,000. Default 10: the mean of fewer is chance.
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
    /// Overload multiplies the limit by it, 0.5 ..= 0.99. Default 0.9, as of the other algorithm.
    pub backoff: f64,
}

/// Options of the search for the knee.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knee {
    /// The time whose mean latency is one step, 10 ms ..= 60 s; a step also is no shorter than a call. Default 200 ms: five steps
    /// a second.
    pub window: Duration,
    /// Fewer calls do not make a step: the window goes on, 1 ..= 10,000. Default 10: the mean of fewer is chance.
    pub samples_min: u32,
    /// Slower than without a queue by so much is where it settles, 1.1 ..= 5. Default 1.5: a short queue keeps the upstream
    /// busy, and latencies vary.
    pub tolerance: f64,
    /// A step in which most calls fail at once multiplies the limit by it, 0.5 ..= 0.99. Default 0.7: an upstream that refuses most is
    /// found out within a second, and the way back is as fast.
    pub backoff: f64,
}

impl Default for Knee {
    fn default() -> Self {
        Self { window: Duration::from_millis(200), samples_min: 10, tolerance: 1.5, backoff: 0.7 }
    }
}

const fn whole(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("the default is not zero")
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            limit_min: const { whole(5) },
            limit_max: const { whole(500) },
            limit_initial: const { whole(20) },
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
        config::check(self)
    }
}

impl Options for Adaptive {
    const NAME: &'static str = "adaptive";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let (min, max) = (count(self.limit_min), count(self.limit_max));
        let what = "The limit never falls below.";
        let at = fields.at("limit_min", what, "Some calls must pass for it to learn that all is well.");
        at.at_most("limit_max", max).count(&mut self.limit_min, 1..=COUNT_MAX);
        let at = fields.at(
            "limit_max",
            "The limit never grows beyond.",
            "A mistake of the algorithm is bounded too.",
        );
        at.count(&mut self.limit_max, 1..=COUNT_MAX);
        let at =
            fields.at("limit_initial", "Where it starts.", "Growing costs less than having been too much.");
        let at = at.at_least("limit_min", min).at_most("limit_max", max);
        at.count(&mut self.limit_initial, 1..=COUNT_MAX);
        let at = fields.at(
            "algorithm",
            "How it finds its value.",
            "It reads failures alone, which nobody has to tune.",
        );
        at.one_of(&mut self.algorithm);
        let what = "A permit dropped after so long is overload, one dropped earlier is neutral.";
        let at = fields.at("abandoned_after", what, "Best set to the attempt timeout.");
        at.duration(&mut self.abandoned_after, above(Duration::ZERO, HOUR));
        fields.mode(&mut self.mode);
    }
}

impl OneOf for Algorithm {
    const NAMES: &'static [&'static str] = &["aimd", "gradient2", "knee"];

    fn form(&self) -> usize {
        match self {
            Self::Aimd(_) => 0,
            Self::Gradient2(_) => 1,
            Self::Knee(_) => 2,
        }
    }

    fn base(form: usize) -> Self {
        match form {
            1 => Self::Gradient2(Gradient2::default()),
            2 => Self::Knee(Knee::default()),
            _ => Self::default(),
        }
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        match self {
            Self::Aimd(aimd) => aimd.visit(fields),
            Self::Gradient2(gradient) => gradient.visit(fields),
            Self::Knee(knee) => knee.visit(fields),
        }
    }
}

/// What both algorithms do at once when there is overload.
const BACKOFF: &str = "Overload multiplies the limit by it.";

impl Aimd {
    fn visit(&mut self, fields: &mut Fields<'_>) {
        let why = "Half, as in TCP, gives away too much where overload is told apart from bad luck.";
        fields.at("backoff", BACKOFF, why).number(&mut self.backoff, 0.5..=0.99);
        let at =
            fields.at("latency_max", "A slower success counts as overload.", "No bound is right for all.");
        at.duration(&mut self.latency_max, above(Duration::ZERO, HOUR));
    }
}

impl Knee {
    fn visit(&mut self, fields: &mut Fields<'_>) {
        let what = "The time whose mean latency is one step; a step also is no shorter than a call.";
        let at = fields.at("window", what, "Five steps a second.");
        at.duration(&mut self.window, 10 * MILLI..=MINUTE);
        let what = "Fewer calls do not make a step: the window goes on.";
        fields
            .at("samples_min", what, "The mean of fewer is chance.")
            .count(&mut self.samples_min, 1..=10_000);
        let what = "Slower than without a queue by so much is where it settles.";
        let why = "A short queue keeps the upstream busy, and latencies vary.";
        fields.at("tolerance", what, why).number(&mut self.tolerance, 1.1..=5.0);
        let what = "A step in which most calls fail at once multiplies the limit by it.";
        fields
            .at("backoff", what, "An upstream that refuses most is found out within a second.")
            .number(&mut self.backoff, 0.5..=0.99);
    }
}

impl Gradient2 {
    fn visit(&mut self, fields: &mut Fields<'_>) {
        let what = "The time whose mean latency is one step.";
        let at = fields.at("window", what, "Some calls of a busy upstream, and five steps a second.");
        at.duration(&mut self.window, 10 * MILLI..=MINUTE);
        let what = "Fewer successes do not make a step: the window goes on.";
        let at = fields.at("samples_min", what, "The mean of fewer is chance.");
        at.count(&mut self.samples_min, 1..=10_000);
        let at =
            fields.at("baseline_steps", "Steps that the long average looks back.", "Two minutes of traffic.");
        at.count(&mut self.baseline_steps, 10..=100_000);
        let what = "Slower than the long average by so much is still normal.";
        fields.at("tolerance", what, "Latencies vary.").number(&mut self.tolerance, 1.0..=3.0);
        let at = fields.at(
            "smoothing",
            "The share of each step that is taken.",
            "One odd window moves the limit little.",
        );
        at.share(&mut self.smoothing, above(0.0, 1.0));
        let what = "What a step without slowness adds, before the smoothing.";
        let at = fields.at("headroom", what, "About the queue that one likes to see at the upstream.");
        at.count(&mut self.headroom, 1..=100);
        let at = fields.at("backoff", BACKOFF, "As of the other algorithm.");
        at.number(&mut self.backoff, 0.5..=0.99);
    }
}
