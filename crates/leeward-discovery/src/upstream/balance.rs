//! The options of balancing.

use std::time::Duration;

use leeward_resilience::ConfigErrors;

use crate::outlier::{Outlier, mistake};

/// Options of picking an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Balance {
    /// In this time latency and failures of an endpoint fade to a third when no call ends. Default 10 s.
    pub decay: Duration,
    /// Health and ejections are ignored when less than this share of the endpoints is available, 0 ..= 1. Default 0.3:
    /// one of three may carry on alone, one of four would be run over.
    pub panic_threshold: f64,
    /// Calls on their way at a time for each endpoint: the endpoint's concurrency limit. Default 1024.
    pub outstanding_max: u32,
    /// A call that is dropped after so long counts as a failure, one dropped earlier does not. Default 10 s.
    pub abandoned_after: Duration,
    /// Ejection of endpoints that keep failing.
    pub outlier: Outlier,
}

impl Default for Balance {
    fn default() -> Self {
        Self {
            decay: Duration::from_secs(10),
            panic_threshold: 0.3,
            outstanding_max: 1024,
            abandoned_after: Duration::from_secs(10),
            outlier: Outlier::default(),
        }
    }
}

impl Balance {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        if self.decay.is_zero() {
            errors.mistakes.push(mistake("balance.decay", &self.decay, "more than 0"));
        }
        if !(0.0..=1.0).contains(&self.panic_threshold) {
            errors.mistakes.push(mistake("balance.panic_threshold", &self.panic_threshold, "0% to 100%"));
        }
        if self.outstanding_max == 0 {
            errors.mistakes.push(mistake("balance.outstanding_max", &self.outstanding_max, "at least 1"));
        }
        if self.abandoned_after.is_zero() {
            errors.mistakes.push(mistake("balance.abandoned_after", &self.abandoned_after, "more than 0"));
        }
        self.outlier.mistakes(&mut errors);
        if errors.mistakes.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Whether so few are sound that soundness no longer counts.
    #[allow(clippy::cast_precision_loss, reason = "counts of endpoints are far below 2^52")]
    pub(super) fn is_panic(&self, sound: usize, all: usize) -> bool {
        sound == 0 || (sound as f64) < self.panic_threshold * all as f64
    }
}
