//! From the gateway to a service and back.
//!
//! ```text
//! fallback (last good copy, then the route's substitute) > deadline > retry (budget) > hedge > throttle >
//! circuit breaker (service) > rate limit, adaptive or fixed limit (service) > attempt timeout >
//! balance over healthy endpoints with room > call
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header;
use http::{Response, StatusCode};
use http_body::Body;
use leeward_discovery::{NoEndpoint, PickHint, Picked};
use leeward_resilience::pipeline::{self, Guard};
use leeward_resilience::{Attempt, Call, Class, Clock, Deadline, Error, Instant, Timer};
use leeward_telemetry::{Span, SpanKind, span};

use super::fallback::{last_good_copy, tee};
use super::forward::Forward;
use super::sending::{Outgoing, Sending, is_idempotent};
use super::substitute::{self, Failed};
use super::trip::{Held, NAME, Trip};
use super::unanswered;
use super::{Asks, Core};
use crate::body::{Download, Passing};
use crate::config;
use crate::decisions::{Attempts, Outcome};
use crate::h1::{Passes, keeps_length};
use crate::refusal::{Refusal, Stage, code};
use crate::shared::{Outbound, RouteState, Service};
use crate::trailers::Sieve;
use crate::tunnel::Tunnel;
use crate::upstream::{self, Answer, Got};
use crate::{grpc, headers, upgrade};

/// Endpoints tried in one attempt while connections are refused: nothing was sent, so the next one may be asked at
/// once.
const REFUSED_MAX: usize = 3;

/// An answer, with the permits that it holds until its end, if it holds any.
pub(super) type Answered = (Box<Got>, Option<Guard>);

/// Why an attempt brought no answer.
#[derive(Debug)]
pub(super) enum Failure {
    NoEndpoint(NoEndpoint),
    Upstream(upstream::Error),
}

impl Got {
    /// Whether the service switched its connection, as it was asked to.
    fn is_switched(&self, forward: &Forward) -> bool {
        forward.upgrades
            && self.response.status() == StatusCode::SWITCHING_PROTOCOLS
            && upgrade::is_accepted(&forward.headers, self.response.headers())
    }

    /// Whether it is the answer to a call of gRPC that says behind its body how it went.
    fn is_said_later(&self) -> bool {
        let response = &self.response;
        response.status() == StatusCode::OK
            && !response.body().is_end_stream()
            && grpc::says_grpc(response.headers())
    }
}

pub(super) async fn call(
    core: &Rc<Core>,
    (route, service): (&RouteState, &Service),
    (forward, sending, asks): (&Forward, &Sending, Asks<'_>),
    deadline: Deadline,
    held: Held,
    trip: &Trip,
) -> Result<Response<Download>, Refusal> {
    let idempotent = is_idempotent(&forward.method);
    // Of two handshakes one would be for nothing.
    let replayable = idempotent && sending.is_replayable() && !forward.upgrades;
    let call = Call { deadline: Some(deadline), replayable, ..Call::ONCE };
    let way = (service, route.outbound(&core.shared, service));
    let answered = ask(core, way, (forward, sending, &asks.0.timer), call, trip).await;
    let failed = route
        .standby
        .as_ref()
        .and_then(|standby| Some((standby, Failed::of(&answered, (forward, sending), trip)?)));
    let answered = match answered {
        Ok((got, guard)) => checked(service, got, forward).map(|got| (got, guard)),
        Err(error) => Err(unanswered::refusal((route, service), sending, error)),
    };
    let is_bad = answered.as_ref().map_or(true, |(got, _)| is_failure(got.response.status()));
    if is_bad && let Some(copy) = last_good_copy(&core.shared, route, service, forward) {
        return Ok(copy);
    }
    if let Some((standby, failed)) = failed {
        let request = (forward, sending, asks);
        let found = substitute::find(core, (route, standby), request, failed, trip);
        if let Some(instead) = Box::pin(found).await {
            return Ok(instead.answer(core, route, (failed, answered.err()), held, trip));
        }
    }
    let (got, guard) = answered?;
    if got.picked.is_some() {
        sending.is_conversation();
    }
    Ok(pass_on(core, (route, service), forward, got, (guard, held), trip))
}

/// Makes a call to a service through these policies.
pub(super) async fn ask(
    core: &Rc<Core>,
    (service, Outbound { pipeline, attempt_longest }): (&Service, Outbound<'_>),
    (forward, sending, timer): (&Forward, &Sending, &Timer),
    call: Call,
    trip: &Trip,
) -> Result<Answered, Error<Failure>> {
    let shared = &*core.shared;
    let failed_at: RefCell<Vec<Arc<str>>> = RefCell::default();
    let begun = trip.notes.are_kept().then(|| shared.clock.now());
    let longest = call.abandoned_after.unwrap_or(attempt_longest);
    let answered = pipeline
        .call_held_by(
            timer,
            call,
            // In a box, so that the futures of the policies around it stay small: they are moved into each other.
            |attempt| {
                let asked = (service, longest);
                Box::pin(one_attempt(core, asked, forward, sending, (&failed_at, trip), attempt))
            },
            |answer| classify(answer, (forward, sending), trip),
        )
        .await;
    if let Some(begun) = begun {
        trip.notes.upstream(shared.clock.now().saturating_duration_since(begun));
    }
    answered.map(pipeline::Held::into_parts)
}

/// An unasked-for protocol switch, or a status that HTTP does not have, is no answer.
pub(super) fn checked(service: &Service, got: Box<Got>, forward: &Forward) -> Result<Box<Got>, Refusal> {
    if (200..=599).contains(&got.response.status().as_u16()) || got.is_switched(forward) {
        return Ok(got);
    }
    let detail = format!("{} answered with a status that HTTP does not have", service.name);
    Err(Refusal::new(StatusCode::BAD_GATEWAY, code::UPSTREAM_INVALID, Stage::Upstream, detail))
}

async fn one_attempt(
    core: &Rc<Core>,
    (service, longest): (&Service, Duration),
    forward: &Forward,
    sending: &Sending,
    (failed_at, trip): (&RefCell<Vec<Arc<str>>>, &Trip),
    attempt: Attempt,
) -> Result<Box<Got>, Failure> {
    let clock = &*core.shared.clock;
    let mut refused: Option<upstream::Error> = None;
    // Another endpoint each time, until one takes the connection.
    for _ in 0..REFUSED_MAX {
        let now = clock.now();
        let mut picked = pick(service, forward, failed_at, now).map_err(Failure::NoEndpoint)?;
        picked.abandoned_after(longest);
        let here = Arc::clone(picked.endpoint().id());
        if refused.is_some() && failed_at.borrow().contains(&here) {
            break;
        }
        trip.notes.attempt(&here);
        let attempts = &trip.witness.attempts;
        let span = attempt_span(trip, service, &here, attempt.number);
        let trace = span.as_ref().map(|span| span.context().to_header());
        let mut trying =
            Trying { failed_at, attempts, clock, began: now, here: Some(here), became: None, span };
        let outgoing = Outgoing {
            forward,
            sending,
            host: forward.host.as_deref().unwrap_or(picked.endpoint().authority()),
            deadline_ms: attempt.deadline.header_ms(now),
            effort: attempt.effort,
            now,
            trace,
            call_timeout: forward.call_until.map(|until| grpc::write_timeout(until.remaining(now))),
        };
        let sent = if forward.upgrades {
            Box::pin(core.pool.switch(picked.endpoint(), &service.way, &outgoing)).await
        } else {
            core.pool.send(picked.endpoint(), &service.way, &outgoing).await
        };
        let mut sent = sent.map_err(Failure::Upstream);
        if let (Ok(got), true) = (&mut sent, trip.is_call || forward.upgrades) {
            // More than one of them is looked at.
            let _table = got.table();
        }
        let class = classify(&sent, (forward, sending), trip);
        let ended = clock.now();
        trying.became = Some((outcome(&sent, class), class, ended));
        drop(trying);
        end(picked, &mut sent, (class, ended), trip);
        match sent {
            Err(Failure::Upstream(error @ (upstream::Error::Connect(_) | upstream::Error::Handshake(_)))) => {
                refused = Some(error);
                if !sending.can_be_sent() {
                    break;
                }
            }
            done => return done,
        }
    }
    let error = refused.unwrap_or_else(|| upstream::Error::Connect(std::io::ErrorKind::NotConnected.into()));
    Err(Failure::Upstream(error))
}

/// Tells the endpoint how the call ended, or keeps it with an answer that says so at its own end.
fn end(mut picked: Picked, sent: &mut Result<Box<Got>, Failure>, (class, at): (Class, Instant), trip: &Trip) {
    match sent {
        Ok(got) if trip.is_call && got.is_said_later() => {
            picked.answered(at);
            got.picked = Some(picked);
        }
        _ => picked.report(class, at),
    }
}

/// An endpoint that is being tried. It has failed unless something else is said, also when the attempt is dropped because its
/// time is over.
struct Trying<'a> {
    failed_at: &'a RefCell<Vec<Arc<str>>>,
    attempts: &'a Attempts,
    clock: &'a dyn Clock,
    began: Instant,
    /// `Some` until it is dropped.
    here: Option<Arc<str>>,
    became: Option<(Outcome, Class, Instant)>,
    span: Option<Span>,
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        let Some(here) = self.here.take() else { return };
        let has_failed = self.became.is_none_or(|(_, class, _)| matches!(class, Class::Failure { .. }));
        if has_failed {
            self.failed_at.borrow_mut().push(Arc::clone(&here));
        }
        if let Some(span) = &mut self.span {
            tell(span, self.became.map_or(Outcome::GivenUp, |(outcome, ..)| outcome), has_failed);
        }
        if self.attempts.is_on() {
            let given_up = || (Outcome::GivenUp, Class::Ignored, self.clock.now());
            let (outcome, _, ended) = self.became.unwrap_or_else(given_up);
            self.attempts.add(here, outcome, ended.saturating_duration_since(self.began));
        }
    }
}

/// The span of one attempt, where the request's is recorded.
fn attempt_span(trip: &Trip, service: &Service, endpoint: &str, number: u32) -> Option<Span> {
    if !trip.span.is_recording() {
        return None;
    }
    let mut span = span(service.name.to_string(), SpanKind::Client, NAME, &trip.span.context());
    span.attr("http.request.method", trip.method).attr("server.address", endpoint.to_owned());
    span.attr("leeward.attempt", i64::from(number));
    Some(span)
}

fn tell(span: &mut Span, outcome: Outcome, has_failed: bool) {
    span.attr("leeward.outcome", outcome.as_str());
    if let Some(status) = outcome.status() {
        span.attr("http.response.status_code", i64::from(status));
    }
    if has_failed {
        span.error(outcome.as_str());
    }
}

fn outcome(sent: &Result<Box<Got>, Failure>, class: Class) -> Outcome {
    match sent {
        Ok(got) => match class {
            Class::Failure { .. } => Outcome::Failed(got.response.status().as_u16()),
            _ => Outcome::Answered(got.response.status().as_u16()),
        },
        Err(Failure::Upstream(upstream::Error::Connect(_) | upstream::Error::Handshake(_))) => {
            Outcome::NotConnected
        }
        Err(Failure::Upstream(upstream::Error::Body)) => Outcome::BodyCut,
        Err(Failure::Upstream(upstream::Error::Answer(_) | upstream::Error::Protocol(_))) => Outcome::NoHttp,
        Err(
            Failure::Upstream(upstream::Error::Ended(_) | upstream::Error::Refused) | Failure::NoEndpoint(_),
        ) => Outcome::BrokenOff,
    }
}

fn pick(
    service: &Service,
    forward: &Forward,
    failed_at: &RefCell<Vec<Arc<str>>>,
    now: Instant,
) -> Result<Picked, NoEndpoint> {
    let avoid = failed_at.borrow();
    service.upstream.pick(now, &PickHint { avoid: &avoid, key: forward.key })
}

/// What an answer says about the service. Only what HTTP calls the server's fault counts: a 429 of a service is its
/// word to one caller, not a failure.
fn classify(
    answer: &Result<Box<Got>, Failure>,
    (forward, sending): (&Forward, &Sending),
    trip: &Trip,
) -> Class {
    match answer {
        Ok(got) => class_of(got, forward, trip),
        Err(failure) => class_of_failure(failure, sending),
    }
}

pub(super) fn class_of(got: &Got, forward: &Forward, trip: &Trip) -> Class {
    if got.is_switched(forward) {
        return Class::Success;
    }
    match got.response.status().as_u16() {
        200 if trip.is_call => call_class(got),
        502..=504 => Class::Failure { retryable: true, retry_after: retry_after(got), untouched: false },
        500 | 505..=599 => Class::PERMANENT,
        // An unasked-for protocol switch, or a status that HTTP does not have.
        0..=199 | 600.. => Class::PERMANENT,
        _ => Class::Success,
    }
}

pub(super) fn class_of_failure(failure: &Failure, sending: &Sending) -> Class {
    let Failure::Upstream(error) = failure else { return Class::Ignored };
    match error {
        upstream::Error::Connect(_) | upstream::Error::Handshake(_) | upstream::Error::Ended(_) => {
            Class::RETRYABLE
        }
        upstream::Error::Refused if sending.can_be_sent() => Class::UNTOUCHED,
        upstream::Error::Refused => Class::RETRYABLE,
        upstream::Error::Answer(_) | upstream::Error::Protocol(_) => Class::PERMANENT,
        upstream::Error::Body => Class::Ignored,
    }
}

/// What the head of an answer to a call of gRPC says. One that is all there is of it says how the call went.
fn call_class(got: &Got) -> Class {
    let is_all = got.response.body().is_end_stream();
    grpc::class(got.response.headers()).filter(|_| is_all).unwrap_or(Class::Success)
}

fn retry_after(got: &Got) -> Option<Duration> {
    let seconds = std::str::from_utf8(got.header(&header::RETRY_AFTER)?).ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502..=504)
}

/// The service's answer, without what it may not say, with its body passing through.
pub(super) fn pass_on(
    core: &Rc<Core>,
    (route, service): (&RouteState, &Service),
    forward: &Forward,
    got: Box<Got>,
    (guard, held): (Option<Guard>, Held),
    trip: &Trip,
) -> Response<Download> {
    let shared = &core.shared;
    let Got { response, lease, picked } = *got;
    let (mut head, mut body) = response.into_parts();
    let passes = Passes {
        own_cors: shared.cors.is_some(),
        keeps_banners: route.security.keeps_banners,
        keeps_length: keeps_length(&forward.method, head.status),
    };
    let came = body.take_came();
    // Where nobody else looks at its headers they go on as they came.
    let is_looked_at =
        forward.copy_key.is_some() || !core.layers.is_empty() || !route.config.response_headers.is_empty();
    let passed = came.as_ref().filter(|_| !is_looked_at).and_then(|came| came.pass(passes));
    if passed.is_none() {
        if let Some(came) = came {
            head.headers = came.table();
        }
        headers::strip_response(&mut head.headers, passes.own_cors, passes.keeps_banners);
    }
    if let (Some(options), StatusCode::SWITCHING_PROTOCOLS) = (trip.tunnel, head.status) {
        return switched(core, options, (head, body), guard, trip);
    }
    let tee = tee(core, route, forward, &head);
    let read_timeout = service.read_timeout;
    let changes = &route.config.response_headers;
    let sieve = Sieve::of_service(passes.own_cors, passes.keeps_banners, trip.gets_trailers, changes);
    let passed = passed.unwrap_or_default();
    let body = Passing::new((passed, body), lease, read_timeout, (tee, sieve), (guard, picked), held);
    Response::from_parts(head, Download::Service(Box::new(body)))
}

/// A connection that is switched. The request is over with it: what it held in limits is free again.
fn switched(
    core: &Rc<Core>,
    options: config::Tunnel,
    (head, body): (http::response::Parts, Answer),
    guard: Option<Guard>,
    trip: &Trip,
) -> Response<Download> {
    if let Some(guard) = guard {
        guard.record(Class::Success);
    }
    let shared = &core.shared;
    let drain = shared.config.limits.drain;
    let tunnel = body.into_stream().map(|stream| {
        Box::new(Tunnel::new(stream, (options, drain), (&shared.metrics.tunnels, &trip.notes)))
    });
    Response::from_parts(head, Download::Switched(tunnel))
}
