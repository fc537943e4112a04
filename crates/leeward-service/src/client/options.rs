//! What may be chosen for one target.

use std::time::Duration;

use leeward_resilience::{Breaker, Concurrency, Retry};

/// How one target is called. The defaults suit a service nearby.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The longest a call may take with all its attempts. Default 5 s; a nearer deadline of the caller wins.
    pub deadline: Duration,
    /// The longest one attempt may take. Default 2 s.
    pub attempt_timeout: Duration,
    /// How a failed attempt is repeated. Only for calls that may be.
    pub retry: Retry,
    /// When to stop calling.
    pub breaker: Breaker,
    /// Calls to the target at a time.
    pub concurrency: Concurrency,
    /// The largest answer that is read. Default 8 MiB.
    pub answer_bytes_max: usize,
    /// Whether the target is a service that understands our assertions. False for anything outside.
    pub asserts: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(2),
            retry: Retry::default(),
            breaker: Breaker::default(),
            concurrency: Concurrency::default(),
            answer_bytes_max: 8 * 1024 * 1024,
            asserts: true,
        }
    }
}

impl ClientOptions {
    /// For a target that is no service of ours, such as a payment provider: no assertion is sent there.
    #[must_use]
    pub fn outside() -> Self {
        Self { asserts: false, ..Self::default() }
    }
}
