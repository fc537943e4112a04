//! What is set for each service: the outbound policies and where it is.

use std::num::NonZeroU32;
use std::time::Duration;

use http::Uri;
use leeward_resilience::Concurrency;
use leeward_resilience::breaker::Breaker;
use leeward_resilience::retry::Retry;

/// The outbound side for one service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePolicy {
    /// Its endpoints; empty when the directory knows them.
    pub urls: Vec<Uri>,
    /// How long one attempt may take, the sending of a body over 64 KiB included. Default 5 s.
    pub attempt_timeout: Duration,
    /// How long a connection may take to open. Default 1 s: endpoints are near.
    pub connect_timeout: Duration,
    /// Retries of requests that may be repeated.
    pub retry: Retry,
    /// The breaker over all its endpoints.
    pub breaker: Breaker,
    /// Requests at a time over all its endpoints. Default 1,024 and no queue: the gateway queues at its own door.
    pub concurrency: Concurrency,
    /// How long an idle connection to it is kept. Default 20 s: must be shorter than the service keeps its side.
    pub idle_timeout: Duration,
    /// Idle connections kept, a core and endpoint. Default 64.
    pub idle_connections: usize,
}

const LIMIT: NonZeroU32 = NonZeroU32::new(1_024).expect("not zero");

impl Default for ServicePolicy {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            attempt_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            retry: Retry::default(),
            breaker: Breaker::default(),
            concurrency: Concurrency {
                limit: LIMIT,
                queue: 0,
                max_wait: Duration::from_millis(100),
                ..Concurrency::default()
            },
            idle_timeout: Duration::from_secs(20),
            idle_connections: 64,
        }
    }
}
