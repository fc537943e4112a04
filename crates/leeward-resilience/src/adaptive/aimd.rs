//! Additive increase, multiplicative decrease.

use super::{Aimd, End, Limit, Sample};
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Aimd,
    pub(super) limit: Limit,
}

impl Core {
    pub(super) const fn new(config: Aimd, limit: Limit) -> Self {
        Self { config, limit }
    }

    pub(super) fn sample(&mut self, sample: Sample, now: Instant) -> u32 {
        let latency = now.saturating_duration_since(sample.started);
        if sample.end == End::Overload || self.config.latency_max.is_some_and(|max| latency > max) {
            self.limit.cut(self.config.backoff, sample, now);
        } else if self.limit.in_use(sample.in_flight) {
            self.limit.set(self.limit.value + 1.0 / self.limit.value);
        }
        self.limit.whole()
    }
}
