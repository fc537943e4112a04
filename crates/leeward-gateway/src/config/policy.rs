//! What is set for each service: the outbound policies and where it is.

use std::num::NonZeroU32;
use std::time::Duration;

use http::Uri;
use leeward_discovery::{Algorithm, Balance, dns};
use leeward_resilience::Pipeline;
use leeward_resilience::config::Fields;
use leeward_resilience::pipeline::PolicyNames;
use leeward_resilience::{Adaptive, Algorithm as Search, Knee};
use leeward_resilience::{Breaker, Budget, Concurrency, Options};
use leeward_resilience::{PipelineOptions, Retry, Timeout};

use super::parse::{HOUR, MOMENT};
use super::{HashOn, Limits, Protocol, ServiceTls};

/// The outbound side for one service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePolicy {
    /// Its endpoints; empty when the directory or DNS knows them.
    pub urls: Vec<Uri>,
    /// Where its endpoints are looked up, if they are.
    pub dns: Option<dns::Name>,
    /// How connections to it are encrypted, and who it must be. Where a URL of it is `https://` it is there; `None` speaks to no
    /// endpoint of that kind.
    pub tls: Option<ServiceTls>,
    /// Which version of HTTP it is spoken to in. Default: where connections are encrypted both sides agree on one, elsewhere HTTP/1.1.
    pub protocol: Protocol,
    /// Which of its endpoints gets a request, and which are left alone. `abandoned_after` follows from the attempt timeout.
    pub balance: Balance,
    /// What `balance: ring_hash` goes by. Default: the client's address.
    pub hash_on: HashOn,
    /// The policies in front of it, each in the configuration at the same level as the rest, and each but the attempt timeout `off` if so said. Default: retries of requests
    /// that may be repeated, one for ten requests (a service that fails gets a tenth more, not twice as much); a breaker over all its
    /// endpoints for when next to nothing succeeds, 80 % of the requests or 20 in a row (one bad endpoint is for outlier ejection, and
    /// a service that answers half of its requests is worth asking), with breaks of 250 to 500 ms, so that one does not outlast the
    /// trouble that it is for; a limit of requests at a time that finds out what the service bears, from 200, more than most services
    /// have and less than a second's work of those with too much, up to 1,024, which is also the most that may be at a time at all, without a
    /// queue (the gateway queues at its own door); and 5 s for an attempt, the sending of a body over 64 KiB included. The deadline is the route's; a last good copy (`stale_if_error`) and a fallback are the route's too, so that neither
    /// `fallback` nor `cache` is used here.
    pub policies: PipelineOptions,
    /// How long a connection may take to open, with the handshake where it is encrypted. Default 1 s: endpoints are near.
    pub connect_timeout: Duration,
    /// How long it may be silent in the middle of an answer. Default 60 s: longer than the heartbeat of a stream of events.
    pub read_timeout: Duration,
    /// How long an idle connection to it is kept. Default 20 s: must be shorter than the service keeps its side.
    pub idle_timeout: Duration,
    /// Idle connections kept, a core and endpoint. Default 1,024, as many as may be in use at a time: those that one wave of requests has opened
    /// are there for the next one, and those that are not used any more end with `idle_timeout`.
    pub idle_connections: usize,
}

const IDLE: usize = 1_024;
const LIMIT: NonZeroU32 = NonZeroU32::new(1_024).expect("not zero");
/// Where the limit that adapts starts.
const LIMIT_INITIAL: NonZeroU32 = NonZeroU32::new(200).expect("not zero");
const CONSECUTIVE: NonZeroU32 = NonZeroU32::new(20).expect("not zero");
/// The first break of a circuit breaker, and the longest.
const BREAKS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(500)];

impl Default for ServicePolicy {
    fn default() -> Self {
        let concurrency = Concurrency {
            limit: LIMIT,
            queue: 0,
            max_wait: Duration::from_millis(100),
            ..Concurrency::default()
        };
        let adaptive = Adaptive {
            limit_initial: LIMIT_INITIAL,
            limit_max: LIMIT,
            algorithm: Search::Knee(Knee::default()),
            ..Adaptive::default()
        };
        let retry = Retry { budget: Budget { ratio: 0.1, ..Budget::default() }, ..Retry::default() };
        let [break_initial, break_max] = BREAKS;
        let breaker = Breaker {
            failure_rate: 0.8,
            consecutive_failures: Some(CONSECUTIVE),
            break_initial,
            break_max,
            ..Breaker::default()
        };
        Self {
            urls: Vec::new(),
            dns: None,
            tls: None,
            protocol: Protocol::Auto,
            balance: Balance::default(),
            hash_on: HashOn::default(),
            policies: PipelineOptions {
                retry: Some(retry),
                breaker: Some(breaker),
                adaptive: Some(adaptive),
                concurrency: Some(concurrency),
                attempt_timeout: Some(Timeout::from(Duration::from_secs(5))),
                ..PipelineOptions::default()
            },
            connect_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(20),
            idle_connections: IDLE,
        }
    }
}

impl ServicePolicy {
    /// How connections to it are encrypted. Of endpoints that DNS finds, the certificate is for the name that was looked up, unless the
    /// configuration names another.
    pub(crate) fn believed(&self) -> Option<ServiceTls> {
        let mut tls = self.tls.clone()?;
        if tls.server_name.is_none() {
            tls.server_name = self.dns.as_ref().map(|name| name.domain().to_owned());
        }
        Some(tls)
    }

    /// The policies under the deadline of the service's routes, of which an attempt takes no more.
    #[must_use]
    pub fn outbound(&self, deadline: Duration) -> PipelineOptions {
        within_deadline(PipelineOptions { deadline, ..self.policies.clone() })
    }

    /// How endpoints are picked, for these policies: a call that is dropped at the end of its attempt is one that hangs.
    #[must_use]
    pub fn balance(&self, outbound: &PipelineOptions) -> Balance {
        Balance { abandoned_after: outbound.attempt_longest(), ..self.balance.clone() }
    }

    /// Where nothing was said of the limit that adapts, it stays within the fixed one; below that there is none where hardly anything is left
    /// to be found.
    pub(super) fn fit_adaptive(&mut self) {
        let (Some(adaptive), Some(fixed)) = (&mut self.policies.adaptive, &self.policies.concurrency) else {
            return;
        };
        if fixed.limit <= adaptive.limit_min {
            self.policies.adaptive = None;
            return;
        }
        adaptive.limit_max = fixed.limit;
        adaptive.limit_initial = adaptive.limit_initial.min(fixed.limit);
    }

    /// What a request is balanced by, if it is.
    #[must_use]
    pub fn key(&self) -> Option<&HashOn> {
        matches!(self.balance.algorithm, Algorithm::RingHash(_)).then_some(&self.hash_on)
    }
}

/// What the gateway calls the policies, in words that are not taken for one another: a circuit breaker stops all calls to a
/// service, outlier ejection leaves one endpoint alone, a concurrency limit bounds the calls at a time.
pub(crate) const POLICY_NAMES: PolicyNames = PolicyNames {
    breaker: "circuit_breaker",
    concurrency: "concurrency_limit",
    rate_limit: Some("rate_limit"),
    // Without a time for it a service that hangs is never found failing.
    bounds_attempts: true,
    reasons: &[
        ("retry", "Only requests that may be repeated are, within a budget."),
        ("retry.budget.ratio", "A service that fails gets a tenth more requests, not twice as many."),
        (
            "circuit_breaker",
            "It opens where next to nothing succeeds; one bad endpoint is for outlier ejection.",
        ),
        ("circuit_breaker.failure_rate", "A service that answers half of its requests is worth asking."),
        ("circuit_breaker.minimum_calls", "Then such a rate is not by chance."),
        ("circuit_breaker.consecutive_failures", "Several endpoints in a row, and all of their retries."),
        ("circuit_breaker.break_initial", "A break does not outlast the trouble that it is for."),
        ("circuit_breaker.break_max", "Twice a second it is looked whether the service is back."),
        ("circuit_breaker.break_growth", "The second break in a row is as long as they get."),
        ("adaptive", "What a service bears nobody knows beforehand, and it changes."),
        ("adaptive.limit_max", "As many as `concurrency_limit` lets through."),
        (
            "adaptive.limit_initial",
            "More than most services have under way, and less than a second's work of those with too much.",
        ),
        ("adaptive.algorithm", "It needs no threshold and no failures."),
        ("concurrency_limit", "It is the upper bound of `adaptive`."),
        (
            "concurrency_limit.limit",
            "Far above what most services bear, and below what exhausts the gateway.",
        ),
        ("concurrency_limit.queue", "The gateway queues at its own door."),
        ("concurrency_limit.max_wait", "For who has a queue: a fraction of what people notice."),
        ("attempt_timeout", "Without one a service that hangs is never found failing."),
        (
            "attempt_timeout.after",
            "Most answers take less, the sending of a body over 64 KiB included, and a second attempt fits into the deadline.",
        ),
    ],
};

/// A service's policies or a route's in the words of the configuration, with what is the gateway's default marked.
pub(crate) fn explained(pipeline: &Pipeline) -> String {
    let deadline = Limits::default().deadline;
    let defaults = PipelineOptions { deadline, ..ServicePolicy::default().policies };
    pipeline.explain_as(&POLICY_NAMES, &defaults)
}

/// An attempt takes no more than all of them.
pub(super) fn within_deadline(mut options: PipelineOptions) -> PipelineOptions {
    if let Some(timeout) = &mut options.attempt_timeout {
        timeout.after = timeout.after.min(options.deadline);
    }
    options
}

impl Options for ServicePolicy {
    const NAME: &'static str = "service";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let at = fields.at(
            "connect_timeout",
            "How long a connection may take to open, with its handshake.",
            "Endpoints are near.",
        );
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
            "What one wave of requests opened is there for the next one; what is not used ends with `idle_timeout`.",
        );
        at.count(&mut self.idle_connections, 0..=10_000);
        self.balance.visit(fields);
        self.policies.visit_policies_as(fields, &POLICY_NAMES);
    }
}
