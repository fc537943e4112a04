//! The store of a single process.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::Arc;

use super::{Decision, KeyedRateLimiter, RateStore, Rule};
use crate::config::ConfigErrors;
use crate::mode::Mode;
use crate::time::Instant;

/// A [`RateStore`] in the memory of this process: bounded as a [`KeyedRateLimiter`] is, never late, never failing.
///
/// It always says what the rule says. Whether that is enforced is the limiter's [`SharedRate::mode`](super::SharedRate::mode);
/// the rule's own plays no part.
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
        let rule = (*rule).into().with_mode(Mode::Enforced);
        Ok(Self { keys: KeyedRateLimiter::new(&rule, keys_max)? })
    }

    /// Puts another rule into force: see [`KeyedRateLimiter::reconfigure`].
    ///
    /// # Errors
    /// Every option outside its range; the old rule then stays.
    pub fn reconfigure<R: Into<Rule> + Copy>(&self, rule: &R) -> Result<(), ConfigErrors> {
        self.keys.reconfigure(&(*rule).into().with_mode(Mode::Enforced))
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
