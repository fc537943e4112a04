//! The store of a single process.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::Arc;

use super::{Decision, KeyedRateLimiter, RateStore, Rule};
use crate::config::ConfigErrors;
use crate::time::Instant;

/// A [`RateStore`] in the memory of this process: bounded as a [`KeyedRateLimiter`] is, never late, never failing.
#[derive(Debug)]
pub struct MemoryStore {
    keys: KeyedRateLimiter<Arc<str>>,
}

impl MemoryStore {
    /// A store that remembers up to `keys_max` keys, rounded up to a multiple of 16.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new<R: Into<Rule> + Copy>(rule: &R, keys_max: usize) -> Result<Self, ConfigErrors> {
        Ok(Self { keys: KeyedRateLimiter::new(rule, keys_max)? })
    }

    /// Keys that are remembered.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.keys()
    }
}

impl RateStore for MemoryStore {
    type Error = Infallible;

    fn take(&self, key: &str, now: Instant) -> impl Future<Output = Result<Decision, Infallible>> + Send {
        ready(Ok(self.keys.check(key, now)))
    }
}
