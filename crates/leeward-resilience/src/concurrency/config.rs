//! The options of the concurrency limit.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Order;
use crate::config::ConfigErrors;
use crate::mode::Mode;

/// Options of a [`ConcurrencyLimit`](super::ConcurrencyLimit).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Calls at a time, up to 1,000,000. Default 256.
    pub limit: NonZeroU32,
    /// Places in the queue; 0 rejects at once. Default 256: about one more service time of waiting at full load.
    pub queue: u32,
    /// The longest wait. Default 500 ms.
    pub max_wait: Duration,
    /// Who in the queue is next. Default [`Order::Fifo`].
    pub order: Order,
    /// Whether it makes calls wait and rejects them, or only says so. Default [`Mode::Enforced`].
    pub mode: Mode,
}

impl Default for Concurrency {
    fn default() -> Self {
        let limit = const { NonZeroU32::new(256).expect("the default is not zero") };
        let max_wait = Duration::from_millis(500);
        Self { limit, queue: 256, max_wait, order: Order::default(), mode: Mode::Enforced }
    }
}

impl Concurrency {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        errors.check(self.limit.get() <= 1_000_000, "concurrency.limit", self.limit, "1 to 1000000");
        errors.check(self.queue <= 1_000_000, "concurrency.queue", self.queue, "0 to 1000000");
        let wait_ok = self.max_wait <= Duration::from_secs(60);
        errors.check(wait_ok, "concurrency.max_wait", self.max_wait, "at most 60s");
        if let Order::LifoUnderOverload { after } = self.order {
            let after_ok = (Duration::from_millis(1)..=Duration::from_secs(60)).contains(&after);
            errors.check(after_ok, "concurrency.lifo_after", after, "1ms to 60s");
        }
        errors.finish()
    }

    /// Whoever is rejected is best told to wait for as long as those in the queue do.
    pub(super) fn retry_after(&self) -> Duration {
        self.max_wait.max(Duration::from_secs(1))
    }
}
