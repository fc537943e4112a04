//! What is set for each service: the outbound policies and where it is.

use std::num::NonZeroU32;
use std::time::Duration;

use http::Uri;
use leeward_resilience::config::Fields;
use leeward_resilience::{Breaker, Concurrency, Options, PipelineOptions, Retry, Timeout};

use super::parse::{HOUR, MOMENT};

/// The outbound side for one service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePolicy {
    /// Its endpoints; empty when the directory knows them.
    pub urls: Vec<Uri>,
    /// The policies in front of it, each in the configuration at the same level as the rest, and each but the attempt timeout `off` if so said. Default: retries of requests
    /// that may be repeated, a breaker over all its endpoints, 1,024 requests at a time without a queue (the gateway queues at its
    /// own door), and 5 s for an attempt, the sending of a body over 64 KiB included. The deadline is the route's; a last good copy
    /// is the route's too (`stale_if_error`), so that neither `fallback` nor `cache` is used here.
    pub policies: PipelineOptions,
    /// How long a connection may take to open. Default 1 s: endpoints are near.
    pub connect_timeout: Duration,
    /// How long it may be silent in the middle of an answer. Default 60 s: longer than the heartbeat of a stream of events.
    pub read_timeout: Duration,
    /// How long an idle connection to it is kept. Default 20 s: must be shorter than the service keeps its side.
    pub idle_timeout: Duration,
    /// Idle connections kept, a core and endpoint. Default 64.
    pub idle_connections: usize,
}

const LIMIT: NonZeroU32 = NonZeroU32::new(1_024).expect("not zero");

impl Default for ServicePolicy {
    fn default() -> Self {
        let concurrency = Concurrency {
            limit: LIMIT,
            queue: 0,
            max_wait: Duration::from_millis(100),
            ..Concurrency::default()
        };
        Self {
            urls: Vec::new(),
            policies: PipelineOptions {
                retry: Some(Retry::default()),
                breaker: Some(Breaker::default()),
                concurrency: Some(concurrency),
                attempt_timeout: Some(Timeout::from(Duration::from_secs(5))),
                ..PipelineOptions::default()
            },
            connect_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(20),
            idle_connections: 64,
        }
    }
}

impl ServicePolicy {
    /// The policies under the deadline of the service's routes, of which an attempt takes no more.
    #[must_use]
    pub fn outbound(&self, deadline: Duration) -> PipelineOptions {
        let mut options = PipelineOptions { deadline, ..self.policies.clone() };
        if let Some(timeout) = &mut options.attempt_timeout {
            timeout.after = timeout.after.min(deadline);
        }
        options
    }
}

impl Options for ServicePolicy {
    const NAME: &'static str = "service";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let at =
            fields.at("connect_timeout", "How long a connection may take to open.", "Endpoints are near.");
        at.duration(&mut self.connect_timeout, MOMENT..=HOUR);
        let at = fields.at(
            "read_timeout",
            "How long it may be silent in the middle of an answer.",
            "It is longer than the heartbeat of a stream of events.",
        );
        at.duration(&mut self.read_timeout, MOMENT..=HOUR);
        let at = fields.at(
            "idle_timeout",
            "How long an idle connection to it is kept.",
            "It must be shorter than the service keeps its side.",
        );
        at.duration(&mut self.idle_timeout, MOMENT..=HOUR);
        let at = fields.at(
            "idle_connections",
            "Idle connections kept, a core and endpoint.",
            "A core with more requests at a time to one endpoint is busy enough to open some anew.",
        );
        at.count(&mut self.idle_connections, 0..=10_000);
        self.policies.visit_policies(fields);
        let is_bounded = self.policies.attempt_timeout.is_some();
        fields.rule(
            "attempt_timeout",
            is_bounded,
            "off",
            "a time: without one a service that hangs is never found failing",
        );
    }
}
