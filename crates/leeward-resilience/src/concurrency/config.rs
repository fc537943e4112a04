//! The options of the concurrency limit.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Order;
use crate::config::{self, ConfigErrors};
use crate::mode::Mode;

/// Options of a [`ConcurrencyLimit`](super::ConcurrencyLimit).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Calls at a time, 1 ..= 1,000,000. Default 256: what a pool of connections usually has.
    pub limit: NonZeroU32,
    /// Places in the queue, at most 1,000,000; 0 rejects at once. Default 256: about one more service time of waiting at full
    /// load.
    pub queue: u32,
    /// The longest wait, at most 60 s. Default 500 ms: an answer after a longer one mostly comes too late.
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
        config::check(self)
    }

    /// Whoever is rejected is best told to wait for as long as those in the queue do.
    pub(super) fn retry_after(&self) -> Duration {
        self.max_wait.max(Duration::from_secs(1))
    }
}
