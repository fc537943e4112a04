//! The options of the cache.

use std::time::Duration;

use crate::config::{self, COUNT_MAX, ConfigErrors, DAY, Fields, HOUR, MILLI, Options, SECOND, above};
use crate::fallback::Fallback;
use crate::mode::Mode;

/// Options of an [`AnswerCache`](super::AnswerCache).
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// So long an answer is fresh, 1 ms ..= 24 h. Default 10 s: short enough that nobody has to be told to forget.
    pub ttl: Duration,
    /// Up to this share is taken off each TTL, 0 ..= 0.5. Default 0.1, so that what was loaded together does not expire
    /// together.
    pub ttl_jitter: f64,
    /// So long after its TTL an answer may still stand in for an error, up to 24 h; 0 is off. Default 5 min: a deployment
    /// or a failover takes about that.
    pub stale_max: Duration,
    /// Which causes a stale answer stands in for. As for a [`Fallback`]; its `within` and `mode` play no part.
    pub stale_on: Fallback,
    /// So long an error that does not pass by itself is remembered for its key, up to 1 h. Default `None`: errors are
    /// not cached.
    pub negative_ttl: Option<Duration>,
    /// Errors that are remembered at most, 1 ..= 1,000,000. Default 1,000.
    pub negative_entries_max: usize,
    /// Callers that may wait for the same load, up to 1,000,000. Default 1,000. Beyond, a call is rejected.
    pub waiters_max: u32,
    /// The longest wait for the load of another caller, more than 0, at most 1 h. Default 10 s, the deadline of a pipeline.
    pub wait_max: Duration,
    /// The longest that the store may take, more than 0, at most 10 s. Default 50 ms: a slow cache is worse than none.
    pub store_timeout: Duration,
    /// Whether it gives answers, or only says which it would give. Default [`Mode::Enforced`].
    pub mode: Mode,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(10),
            ttl_jitter: 0.1,
            stale_max: Duration::from_secs(300),
            stale_on: Fallback::default(),
            negative_ttl: None,
            negative_entries_max: 1000,
            waiters_max: 1000,
            wait_max: Duration::from_secs(10),
            store_timeout: Duration::from_millis(50),
            mode: Mode::Enforced,
        }
    }
}

impl Cache {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        config::check(self)
    }
}

impl Options for Cache {
    const NAME: &'static str = "cache";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let at = fields.at(
            "ttl",
            "So long an answer is fresh.",
            "Short enough that nobody has to be told to forget.",
        );
        at.duration(&mut self.ttl, MILLI..=DAY);
        let what = "Up to this share is taken off each TTL.";
        let at = fields.at("ttl_jitter", what, "What was loaded together must not expire together.");
        at.share(&mut self.ttl_jitter, 0.0..=0.5);
        let what = "So long after its TTL an answer may still stand in for an error.";
        let at = fields.at("stale_max", what, "A deployment or a failover takes about that.");
        at.duration(&mut self.stale_max, Duration::ZERO..=DAY);
        let what = "Which causes a stale answer stands in for; `within` plays no part.";
        fields.at("stale_on", what, "").group(&mut self.stale_on);
        let what = "So long an error that does not pass by itself is remembered for its key.";
        let at = fields.at("negative_ttl", what, "An error that is kept outlives its cause.");
        at.duration(&mut self.negative_ttl, above(Duration::ZERO, HOUR));
        let at =
            fields.at("negative_entries_max", "Errors that are remembered at most.", "Errors are few kinds.");
        at.count(&mut self.negative_entries_max, 1..=COUNT_MAX);
        let what = "Callers that may wait for the same load; beyond, a call is rejected.";
        let at = fields.at("waiters_max", what, "More callers than that of one key are a stampede.");
        at.count(&mut self.waiters_max, 0..=COUNT_MAX);
        let what = "The longest wait for the load of another caller.";
        let at = fields.at("wait_max", what, "The deadline of a pipeline.");
        at.duration(&mut self.wait_max, above(Duration::ZERO, HOUR));
        let at = fields.at(
            "store_timeout",
            "The longest that the store may take.",
            "A slow cache is worse than none.",
        );
        at.duration(&mut self.store_timeout, above(Duration::ZERO, 10 * SECOND));
        fields.mode(&mut self.mode);
    }
}
