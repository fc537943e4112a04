//! What the stack consists of, shared by all routes of a service.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use http::{HeaderMap, HeaderValue, StatusCode};
use leeward_resilience::concurrency::Permit;
use leeward_resilience::fault::Fault;
use leeward_resilience::rate::Decision;
use leeward_resilience::{
    Clock, Concurrency, ConfigErrors, DEADLINE_HEADER, Deadline, Instant, KeyedRateLimiter, Observer,
    PRIORITY_HEADER, Priority, RateLimit, Rng, Shed, Shedder,
};
use leeward_telemetry::Registry;

use super::metrics::Metrics;
use super::{RATED, Spec, name_value, run};
use crate::faults::{Faults, INBOUND};
use crate::identity::{ASSERTION_HEADER, Caller, Principal, Verifier};
use crate::problem::{Problem, code};

/// Principals whose rate is remembered: as many as are active within a period, in a few megabytes.
const RATED_PRINCIPALS_MAX: usize = 65_536;

/// What a service may choose about its inbound stack.
#[derive(Debug, Clone)]
pub struct InboundOptions {
    /// The longest that any request may take, whatever its caller says. Default 10 s: beyond it no client of a business
    /// API still waits.
    pub deadline_max: Duration,
    /// How many requests are worked on at a time, how many wait, how long, and from which delay on the least important ones are
    /// refused at once ([`RouteOptions::priority`](crate::RouteOptions::priority)). Default 512, 512, 250 ms, and 5 ms over
    /// 100 ms.
    pub shed: Shed,
    /// Requests a principal may make. Default none: the gateway limits users, and services trust each other's budgets.
    pub rate_limit: Option<RateLimit>,
}

impl Default for InboundOptions {
    fn default() -> Self {
        let limit = const { NonZeroU32::new(512).expect("the default is not zero") };
        Self {
            deadline_max: Duration::from_secs(10),
            shed: Shed {
                concurrency: Concurrency {
                    limit,
                    queue: 512,
                    max_wait: Duration::from_millis(250),
                    ..Concurrency::default()
                },
                ..Shed::default()
            },
            rate_limit: None,
        }
    }
}

/// The shared part of [`super::inbound`].
#[derive(Debug)]
pub(crate) struct Stack {
    pub(super) service: Arc<str>,
    pub(super) service_value: HeaderValue,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rng: Arc<dyn Rng>,
    pub(super) metrics: Metrics,
    pub(super) rate_policy: Option<HeaderValue>,
    deadline_max: Duration,
    verifier: Verifier,
    faults: Faults,
    shedder: Shedder,
    rate: Option<KeyedRateLimiter<Arc<str>>>,
}

/// In a response's extensions: the connection is to be cut instead of answering.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut;

/// What a stack is made of.
pub(crate) struct Parts<'a> {
    pub(crate) service: Arc<str>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) registry: &'a Registry,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) verifier: Verifier,
    pub(crate) faults: Faults,
}

impl Stack {
    pub(crate) fn new(parts: Parts<'_>, options: &InboundOptions) -> Result<Self, ConfigErrors> {
        let rate =
            options.rate_limit.map(|rate| KeyedRateLimiter::new(&rate, RATED_PRINCIPALS_MAX)).transpose()?;
        let (clock, rng, observer) = (Arc::clone(&parts.clock), Arc::clone(&parts.rng), parts.observer);
        let shedder = Shedder::with(INBOUND, options.shed.clone(), clock, rng, Some(observer))?;
        Ok(Self {
            service_value: name_value(&parts.service),
            metrics: Metrics::new(parts.registry),
            service: parts.service,
            clock: parts.clock,
            rng: parts.rng,
            rate_policy: options.rate_limit.as_ref().map(|rate| name_value(&rate.policy_item(RATED))),
            deadline_max: options.deadline_max,
            verifier: parts.verifier,
            faults: parts.faults,
            shedder,
            rate,
        })
    }

    pub(super) fn deadline(&self, spec: Spec, headers: &HeaderMap, now: Instant) -> Deadline {
        let max = spec.options.deadline_max.unwrap_or(self.deadline_max);
        headers
            .get(DEADLINE_HEADER)
            .and_then(|value| Deadline::from_header(value.to_str().ok()?, now, max))
            .unwrap_or_else(|| Deadline::after(now, max))
    }

    pub(super) async fn authenticate(&self, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
        let mut assertions = headers.get_all(ASSERTION_HEADER).iter();
        let Some(assertion) = assertions.next() else { return Ok(None) };
        if assertions.next().is_some() {
            return Err(Problem::unauthenticated("more than one assertion"));
        }
        match self.verifier.verify(assertion.as_bytes()).await {
            Ok(caller) => Ok(Some(caller)),
            Err(error) if error.is_transient() => Err(Problem::unavailable(error.to_string())),
            Err(error) => Err(Problem::unauthenticated(error.to_string())),
        }
    }

    /// What the rate of the caller says; none for those who have no rate.
    pub(super) fn rate(&self, spec: Spec, caller: Option<&Caller>) -> Option<Decision> {
        let (Some(rate), Some(caller), false) = (&self.rate, caller, spec.options.essential) else {
            return None;
        };
        let now = self.clock.now();
        Some(match caller.principal() {
            Principal::User(user) => rate.check(&*user.id, now),
            Principal::Service | Principal::Operator => rate.check(caller.issuer(), now),
        })
    }

    /// How much a request matters: what a caller who is known says, and else the route.
    pub(super) fn priority(spec: Spec, headers: &HeaderMap, caller: Option<&Caller>) -> Priority {
        let said = caller.and_then(|_| headers.get(PRIORITY_HEADER)?.to_str().ok());
        said.and_then(Priority::from_header).unwrap_or(spec.options.priority)
    }

    pub(super) async fn admit(
        &self,
        spec: Spec,
        priority: Priority,
        deadline: Deadline,
    ) -> Result<Option<Permit>, Problem> {
        if spec.options.essential {
            return Ok(None);
        }
        let remaining = deadline.remaining(self.clock.now());
        self.shedder.acquire_within(priority, remaining).await.map(Some).map_err(|rejected| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, code::OVERLOADED)
                .detail(rejected.reason.to_string())
                .retry_after(rejected.retry_after.unwrap_or(Duration::from_secs(1)))
        })
    }

    pub(super) fn in_time(&self, deadline: Deadline) -> Result<(), Problem> {
        if deadline.is_past(self.clock.now()) { Err(Problem::deadline_exceeded()) } else { Ok(()) }
    }

    /// The handler's answer, unless a fault is in force.
    pub(super) async fn with_faults(&self, spec: Spec, request: Request, handler: Route) -> Response {
        let place = if spec.options.essential { None } else { self.faults.inbound() };
        let Some(place) = place else { return run(handler, request).await };
        place
            .disturb(
                || run(handler, request),
                |fault| match fault {
                    Fault::Refused | Fault::LostReply => cut(),
                    Fault::Error => Problem::new(place.error_status(), code::FAULT_INJECTED).into_response(),
                },
            )
            .await
    }
}

/// Passes, or 429 until the next request would pass.
pub(super) fn rate_allows(decision: &Decision) -> Result<(), Problem> {
    if decision.allowed {
        return Ok(());
    }
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, code::RATE_LIMITED);
    Err(problem.retry_after(decision.retry_after.unwrap_or(Duration::from_secs(1))))
}

fn cut() -> Response {
    let mut response = Response::new(Body::empty());
    // 499 is what proxies log for a connection that ended without an answer; nobody receives it.
    *response.status_mut() = StatusCode::from_u16(499).unwrap_or_default();
    response.extensions_mut().insert(Cut);
    response
}
