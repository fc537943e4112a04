//! From the gateway to a service and back.
//!
//! ```text
//! fallback (last good copy) > deadline > retry (budget) > hedge > throttle > circuit breaker (service) >
//! rate limit, adaptive or fixed limit (service) > attempt timeout > balance over healthy endpoints with room > call
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header;
use http::{Response, StatusCode};
use leeward_discovery::{NoEndpoint, PickHint, Picked};
use leeward_resilience::pipeline::Guard;
use leeward_resilience::{
    Attempt, Call, Class, Deadline, Error, Rejected, adaptive, breaker, rate, throttle,
};

use super::Core;
use super::fallback::{last_good_copy, tee};
use super::forward::Forward;
use super::sending::{Outgoing, Sending, body_refusal, is_idempotent};
use super::trip::Held;
use crate::access::Notes;
use crate::body::{Download, Passing};
use crate::headers;
use crate::refusal::{Refusal, Stage, code};
use crate::shared::{RouteState, Service};
use crate::upstream::{self, Answer, Lease};

/// Endpoints tried in one attempt while connections are refused: nothing was sent, so the next one may be asked at
/// once.
const REFUSED_MAX: usize = 3;

/// Why an attempt brought no answer.
#[derive(Debug)]
enum Failure {
    NoEndpoint(NoEndpoint),
    Upstream(upstream::Error),
}

/// An answer's head, and the connection that its body is still to come over.
struct Got {
    response: Response<Answer>,
    lease: Lease,
}

pub(super) async fn call(
    core: &Rc<Core>,
    (route, service): (&RouteState, &Service),
    forward: Forward,
    sending: Sending,
    deadline: Deadline,
    held: Held,
    notes: &Notes,
) -> Result<Response<Download>, Refusal> {
    let shared = &*core.shared;
    let idempotent = is_idempotent(&forward.method);
    let replayable = idempotent && sending.is_replayable();
    let call = Call { deadline: Some(deadline), replayable, ..Call::ONCE };
    let failed_at: RefCell<Vec<Arc<str>>> = RefCell::default();

    let begun = shared.clock.now();
    let answered = service
        .pipeline
        .call_held(
            call,
            |attempt| one_attempt(core, service, &forward, &sending, (&failed_at, notes), attempt),
            classify,
        )
        .await;
    notes.upstream(shared.clock.now().saturating_duration_since(begun));
    let answered = match answered {
        Ok(answered) => {
            let (got, guard) = answered.into_parts();
            checked(service, got).map(|got| (got, guard))
        }
        Err(error) => Err(refusal(route, service, &sending, error)),
    };
    let failed = answered.as_ref().map_or(true, |(got, _)| is_failure(got.response.status()));
    if failed && let Some(copy) = last_good_copy(shared, route, service, &forward) {
        return Ok(copy);
    }
    let (got, guard) = answered?;
    Ok(pass_on(core, route, service, &forward, got, guard, held))
}

/// An unasked-for protocol switch, or a status that HTTP does not have, is no answer.
fn checked(service: &Service, got: Got) -> Result<Got, Refusal> {
    if (200..=599).contains(&got.response.status().as_u16()) {
        return Ok(got);
    }
    let detail = format!("{} answered with a status that HTTP does not have", service.name);
    Err(Refusal::new(StatusCode::BAD_GATEWAY, code::UPSTREAM_INVALID, Stage::Upstream, detail))
}

async fn one_attempt(
    core: &Rc<Core>,
    service: &Service,
    forward: &Forward,
    sending: &Sending,
    (failed_at, notes): (&RefCell<Vec<Arc<str>>>, &Notes),
    attempt: Attempt,
) -> Result<Got, Failure> {
    let clock = &*core.shared.clock;
    let mut refused: Option<upstream::Error> = None;
    // Another endpoint each time, until one takes the connection.
    for _ in 0..REFUSED_MAX {
        let now = clock.now();
        let picked = pick(service, forward, failed_at, now).map_err(Failure::NoEndpoint)?;
        let here = Arc::clone(picked.endpoint().id());
        if refused.is_some() && failed_at.borrow().contains(&here) {
            break;
        }
        notes.attempt(&here);
        let mut trying = Trying { failed_at, here: Some(here) };
        let outgoing = Outgoing {
            forward,
            sending,
            host: forward.host.as_deref().unwrap_or(picked.endpoint().authority()),
            deadline_ms: attempt.deadline.header_ms(now),
            effort: attempt.effort,
        };
        let sent = core.pool.send(picked.endpoint(), &service.way, &outgoing).await;
        let sent = sent.map(|(response, lease)| Got { response, lease }).map_err(Failure::Upstream);
        let class = classify(&sent);
        if !matches!(class, Class::Failure { .. }) {
            trying.here = None;
        }
        drop(trying);
        picked.report(class, clock.now());
        match sent {
            Err(Failure::Upstream(error @ (upstream::Error::Connect(_) | upstream::Error::Handshake(_)))) => {
                refused = Some(error);
                if !sending.is_replayable() {
                    break;
                }
            }
            done => return done,
        }
    }
    let error = refused.unwrap_or_else(|| upstream::Error::Connect(std::io::ErrorKind::NotConnected.into()));
    Err(Failure::Upstream(error))
}

/// An endpoint that is being tried. It has failed unless something else is said, also when the attempt is dropped because its
/// time is over.
struct Trying<'a> {
    failed_at: &'a RefCell<Vec<Arc<str>>>,
    here: Option<Arc<str>>,
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        self.failed_at.borrow_mut().extend(self.here.take());
    }
}

fn pick(
    service: &Service,
    forward: &Forward,
    failed_at: &RefCell<Vec<Arc<str>>>,
    now: leeward_resilience::Instant,
) -> Result<Picked, NoEndpoint> {
    let avoid = failed_at.borrow();
    let key = service.hash_on.as_ref().and_then(|hash_on| hash_on.key(&forward.headers));
    service.upstream.pick(now, &PickHint { avoid: &avoid, key })
}

/// What an answer says about the service. Only what HTTP calls the server's fault counts: a 429 of a service is its
/// word to one caller, not a failure.
fn classify(answer: &Result<Got, Failure>) -> Class {
    match answer {
        Ok(got) => match got.response.status().as_u16() {
            502..=504 => Class::Failure { retryable: true, retry_after: retry_after(&got.response) },
            500 | 505..=599 => Class::PERMANENT,
            // An unasked-for protocol switch, or a status that HTTP does not have.
            0..=199 | 600.. => Class::PERMANENT,
            _ => Class::Success,
        },
        Err(Failure::Upstream(
            upstream::Error::Connect(_) | upstream::Error::Handshake(_) | upstream::Error::Ended(_),
        )) => Class::RETRYABLE,
        Err(Failure::Upstream(upstream::Error::Answer(_) | upstream::Error::Protocol(_))) => Class::PERMANENT,
        Err(Failure::Upstream(upstream::Error::Body) | Failure::NoEndpoint(_)) => Class::Ignored,
    }
}

fn retry_after(response: &Response<Answer>) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502..=504)
}

/// The service's answer, without what it may not say, with its body passing through.
fn pass_on(
    core: &Rc<Core>,
    route: &RouteState,
    service: &Service,
    forward: &Forward,
    got: Got,
    guard: Option<Guard>,
    held: Held,
) -> Response<Download> {
    let shared = &core.shared;
    let Got { response, lease } = got;
    let (mut head, body) = response.into_parts();
    headers::strip_response(&mut head.headers, shared.cors.is_some());
    let tee = tee(core, route, forward, &head);
    let read_timeout = service.read_timeout;
    let body = Passing::new(body, lease, read_timeout, tee, guard, held);
    Response::from_parts(head, Download::Service(Box::new(body)))
}

/// The one place that turns a call that brought no answer into one.
fn refusal(route: &RouteState, service: &Service, sending: &Sending, error: Error<Failure>) -> Refusal {
    if let Some(cut) = sending.cut.get() {
        return body_refusal(route, cut);
    }
    let name = &service.name;
    tracing::debug!(service = %name, ?error, "no answer");
    let late = |code, stage, detail: String| Refusal::new(StatusCode::GATEWAY_TIMEOUT, code, stage, detail);
    match error {
        Error::Rejected(rejected) => rejection(name, &rejected),
        Error::Timeout { .. } => {
            late(code::UPSTREAM_TIMEOUT, Stage::Upstream, format!("{name} did not answer in time"))
                .hint("the service's attempt_timeout")
        }
        Error::DeadlineExceeded { .. } => late(
            code::DEADLINE_EXCEEDED,
            Stage::Deadline,
            format!("{name} did not answer before the deadline"),
        )
        .hint("limits.deadline, or the route's deadline"),
        Error::Injected(fault) => {
            Refusal::unavailable(code::UNAVAILABLE, Stage::Upstream, format!("{name}: {fault}"))
                .hint("an experiment with faults runs")
        }
        Error::Inner(Failure::NoEndpoint(error)) => {
            let code = match error {
                NoEndpoint::Empty { .. } => code::UNAVAILABLE,
                NoEndpoint::Busy { .. } => code::OVERLOADED,
            };
            let rejected = Rejected::from(&error);
            Refusal::unavailable(code, Stage::Balance, error.to_string()).retry_after(rejected.retry_after)
        }
        Error::Inner(Failure::Upstream(upstream::Error::Connect(_))) => {
            Refusal::unavailable(code::UNAVAILABLE, Stage::Upstream, format!("{name} cannot be reached"))
                .hint("the service is down, or its URL is wrong")
        }
        // Why is the operators' to know: it says who vouches for whom behind the gateway.
        Error::Inner(Failure::Upstream(upstream::Error::Handshake(failure))) => {
            Refusal::unavailable(code::UNAVAILABLE, Stage::Upstream, format!("{name} cannot be reached"))
                .hint(failure.hint())
        }
        Error::Inner(Failure::Upstream(_)) => {
            let detail = format!("{name} broke off or answered something that is no HTTP");
            Refusal::new(StatusCode::BAD_GATEWAY, code::UPSTREAM_INVALID, Stage::Upstream, detail)
        }
    }
}

fn rejection(name: &str, rejected: &Rejected) -> Refusal {
    let (code, stage, hint) = match rejected.policy {
        breaker::NAME => (
            code::BREAKER_OPEN,
            Stage::Breaker,
            "the service failed too often: see its health, and circuit_breaker in the configuration",
        ),
        throttle::NAME => (
            code::OVERLOADED,
            Stage::Throttle,
            "the service refuses many: see its health, and throttle in the configuration",
        ),
        rate::NAME => (code::OVERLOADED, Stage::Limit, "the service's rate_limit"),
        adaptive::NAME => {
            (code::OVERLOADED, Stage::Limit, "the service's adaptive limit: it is slower than it was")
        }
        _ => (code::OVERLOADED, Stage::Limit, "the service's concurrency_limit"),
    };
    Refusal::unavailable(code, stage, format!("{name}: {}", rejected.reason))
        .retry_after(rejected.retry_after)
        .hint(hint)
}
