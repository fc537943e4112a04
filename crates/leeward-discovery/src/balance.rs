//! The options of balancing: which endpoint gets a call.

use std::time::Duration;

use leeward_resilience::ConfigErrors;
use leeward_resilience::config::{self, Fields, OneOf, Options};

use crate::outlier::Outlier;

/// Options of picking an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Balance {
    /// How one of the endpoints that may be picked is chosen. Default [`Algorithm::PeakEwma`].
    pub algorithm: Algorithm,
    /// Health and ejections are ignored when less than this share of the endpoints is available, 0 ..= 1. Default 0.3:
    /// one of three may carry on alone, one of four would be run over.
    pub panic_threshold: f64,
    /// An endpoint that joins others, or comes back, gets a share that grows from a tenth to the whole in this time, up to
    /// 1 h; `None` is off. Default 10 s: caches and connections are cold.
    pub slow_start: Option<Duration>,
    /// Calls on their way at a time for each endpoint: the endpoint's concurrency limit, 1 ..= 1,000,000. Default 1024.
    pub outstanding_max: u32,
    /// A call that is dropped after so long counts as a failure, one dropped earlier does not; more than 0, at most 1 h.
    /// Default 10 s; best set to the attempt timeout.
    pub abandoned_after: Duration,
    /// Ejection of endpoints that do worse than the others; `None` is off.
    pub outlier: Option<Outlier>,
}

/// How an endpoint is chosen. A call with a key goes by the ring whatever the algorithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Algorithm {
    /// Of two drawn at random the one that is expected to cost less: latency, calls on their way, failures.
    PeakEwma(PeakEwma),
    /// The one with the fewest calls on their way, of all, for its weight.
    LeastRequest,
    /// Each in turn, as often as its weight says.
    RoundRobin,
    /// Of two drawn at random the one with fewer calls on their way, for its weight.
    RandomOfTwo,
    /// By consistent hash of the call's key; a call without one goes by random of two.
    RingHash(RingHash),
}

/// Options of the choice by expected cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeakEwma {
    /// In this time latency and failures of an endpoint fade to a third when no call ends, 100 ms ..= 1 h. Default 10 s.
    pub decay: Duration,
}

/// Options of consistent hashing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RingHash {
    /// An endpoint with so many times its fair share of the calls on their way is passed over, 1.05 ..= 10; `None`: never.
    /// Default 1.25: most keys stay, and no endpoint has much more than the others.
    pub bounded_load: Option<f64>,
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self { decay: Duration::from_secs(10) }
    }
}

impl Default for RingHash {
    fn default() -> Self {
        Self { bounded_load: Some(1.25) }
    }
}

impl Default for Algorithm {
    fn default() -> Self {
        Self::PeakEwma(PeakEwma::default())
    }
}

impl Default for Balance {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            panic_threshold: 0.3,
            slow_start: Some(Duration::from_secs(10)),
            outstanding_max: 1024,
            abandoned_after: Duration::from_secs(10),
            outlier: Some(Outlier::default()),
        }
    }
}

const MOMENT: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

impl Balance {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        config::check(self)
    }

    /// In what time latency and failures fade.
    pub(crate) fn decay(&self) -> Duration {
        match self.algorithm {
            Algorithm::PeakEwma(options) => options.decay,
            _ => PeakEwma::default().decay,
        }
    }

    /// How far beyond its fair share an endpoint may go for calls with a key.
    pub(crate) fn bounded_load(&self) -> Option<f64> {
        match self.algorithm {
            Algorithm::RingHash(options) => options.bounded_load,
            _ => RingHash::default().bounded_load,
        }
    }

    /// Whether so few are sound that soundness no longer counts.
    #[allow(clippy::cast_precision_loss, reason = "counts of endpoints are far below 2^52")]
    pub(crate) fn is_panic(&self, sound: usize, all: usize) -> bool {
        sound == 0 || (sound as f64) < self.panic_threshold * all as f64
    }
}

/// As they stand beside the other options of a service. `abandoned_after` is not among them: it follows from the timeout of
/// an attempt.
impl Options for Balance {
    const NAME: &'static str = "";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let what = "How one of the endpoints that may be picked is chosen.";
        let why = "It sends least to whoever is slow or failing, with nothing to tune.";
        fields.at("balance", what, why).one_of(&mut self.algorithm);
        let what =
            "Health and ejections are ignored when less than this share of the endpoints is available.";
        let why = "One of three may carry on alone, one of four would be run over.";
        fields.at("panic_threshold", what, why).share(&mut self.panic_threshold, 0.0..=1.0);
        let what =
            "The share of an endpoint that joins others, or comes back, grows from a tenth in this time.";
        let at = fields.at("slow_start", what, "Caches and connections are cold.");
        at.duration(&mut self.slow_start, MOMENT..=HOUR);
        let what = "Requests at a time for each endpoint.";
        let why = "It is far above what an endpoint bears, and below what exhausts connections.";
        let at = fields.at("endpoint_concurrency_limit", what, why);
        at.count(&mut self.outstanding_max, 1..=1_000_000);
        let what = "Endpoints that do worse than the others are left alone for a while.";
        fields
            .at("outlier_ejection", what, "One bad endpoint is no bad service.")
            .optional(&mut self.outlier);
    }
}

impl OneOf for Algorithm {
    const NAMES: &'static [&'static str] =
        &["peak_ewma", "least_request", "round_robin", "random_of_two", "ring_hash"];

    fn form(&self) -> usize {
        match self {
            Self::PeakEwma(_) => 0,
            Self::LeastRequest => 1,
            Self::RoundRobin => 2,
            Self::RandomOfTwo => 3,
            Self::RingHash(_) => 4,
        }
    }

    fn base(form: usize) -> Self {
        match form {
            1 => Self::LeastRequest,
            2 => Self::RoundRobin,
            3 => Self::RandomOfTwo,
            4 => Self::RingHash(RingHash::default()),
            _ => Self::default(),
        }
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        match self {
            Self::PeakEwma(PeakEwma { decay }) => {
                let what = "In this time latency and failures fade to a third when no call ends.";
                let at = fields.at("decay", what, "One that looked bad is tried again soon.");
                at.duration(decay, Duration::from_millis(100)..=HOUR);
            }
            Self::RingHash(RingHash { bounded_load }) => {
                let what = "An endpoint with so many times its fair share of the calls is passed over.";
                let why = "Most keys stay, and no endpoint has much more than the others.";
                fields.at("bounded_load", what, why).number(bounded_load, 1.05..=10.0);
            }
            Self::LeastRequest | Self::RoundRobin | Self::RandomOfTwo => {}
        }
    }
}
