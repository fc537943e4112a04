//! The options of the cache.

use std::time::Duration;

use crate::config::ConfigErrors;
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

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

impl Cache {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let ttl_ok = (Duration::from_millis(1)..=DAY).contains(&self.ttl);
        errors.check(ttl_ok, "cache.ttl", self.ttl, "1ms to 24h");
        let jitter_ok = (0.0..=0.5).contains(&self.ttl_jitter);
        errors.check(jitter_ok, "cache.ttl_jitter", self.ttl_jitter, "0% to 50%");
        errors.check(self.stale_max <= DAY, "cache.stale_max", self.stale_max, "at most 24h");
        errors.merge(self.stale_on.validate());
        let negative_ok = self.negative_ttl.is_none_or(|ttl| !ttl.is_zero() && ttl <= HOUR);
        errors.check(negative_ok, "cache.negative_ttl", self.negative_ttl, "more than 0, at most 1h");
        let entries = self.negative_entries_max;
        let entries_ok = (1..=1_000_000).contains(&entries);
        errors.check(entries_ok, "cache.negative_entries_max", entries, "1 to 1000000");
        errors.check(self.waiters_max <= 1_000_000, "cache.waiters_max", self.waiters_max, "0 to 1000000");
        let wait_ok = !self.wait_max.is_zero() && self.wait_max <= HOUR;
        errors.check(wait_ok, "cache.wait_max", self.wait_max, "more than 0, at most 1h");
        let timeout_ok = !self.store_timeout.is_zero() && self.store_timeout <= Duration::from_secs(10);
        errors.check(timeout_ok, "cache.store_timeout", self.store_timeout, "more than 0, at most 10s");
        errors.finish()
    }
}
