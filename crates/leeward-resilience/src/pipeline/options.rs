//! What a pipeline is made from.

use std::time::Duration;

use crate::adaptive::Adaptive;
use crate::breaker::Breaker;
use crate::cache::Cache;
use crate::concurrency::Concurrency;
use crate::fallback::Fallback;
use crate::fault::Faults;
use crate::hedge::Hedge;
use crate::rate::Rule;
use crate::retry::Retry;
use crate::throttle::Throttle;
use crate::timeout::Timeout;

/// The options of every policy of a [`Pipeline`](super::Pipeline), in its order; `None` is off.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineOptions {
    /// What stands in for a failed call.
    pub fallback: Option<Fallback>,
    /// Answers that are kept, and loaded once for all that ask.
    pub cache: Option<Cache>,
    /// The longest that a call may take with all its attempts, more than 0, at most 1 h. Default 10 s: about what a person
    /// waits before reloading. There always is one.
    pub deadline: Duration,
    /// Failed attempts are repeated.
    pub retry: Option<Retry>,
    /// Another attempt beside one that takes long.
    pub hedge: Option<Hedge>,
    /// Attempts are held back while the upstream refuses many.
    pub throttle: Option<Throttle>,
    /// No attempts for a while after too many failures.
    pub breaker: Option<Breaker>,
    /// So many attempts a period, at most.
    pub rate_limit: Option<Rule>,
    /// So many attempts at a time, found by measuring.
    pub adaptive: Option<Adaptive>,
    /// So many attempts at a time.
    pub concurrency: Option<Concurrency>,
    /// The longest that one attempt may take.
    pub attempt_timeout: Option<Timeout>,
    /// Faults put into calls on purpose.
    pub faults: Option<Faults>,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            fallback: None,
            cache: None,
            deadline: Duration::from_secs(10),
            retry: None,
            hedge: None,
            throttle: None,
            breaker: None,
            rate_limit: None,
            adaptive: None,
            concurrency: None,
            attempt_timeout: None,
            faults: None,
        }
    }
}
