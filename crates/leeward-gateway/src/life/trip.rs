//! What is known about one request while it lives, and what every answer carries.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, Uri, Version};
use http_body::Body;
use leeward_resilience::concurrency::Permit;
use leeward_resilience::{Deadline, Instant};
use leeward_telemetry::metrics::Gauge;
use leeward_telemetry::{
    CORRELATION_ID, REQUEST_ID, Span, SpanKind, TRACEPARENT, TraceContext, hex_id, span,
};

use super::substitute::FellBack;
use super::witness::Witness;
use super::{Core, parse};
use crate::access::{Begin, Delivery, Notes, Ticket};
use crate::body::Download;
use crate::config::{Rule, Tunnel};
use crate::decisions::{Ruling, Setting, Text};
use crate::grpc::OwnTime;
use crate::headers::{Id, Names};
use crate::incoming::Incoming;
use crate::jwt::Subject;
use crate::limits::Seen;
use crate::lines::{Answering, Lines};
use crate::metrics::NO_ROUTE;
use crate::refusal::{self, Explanation, Refusal, Stage, code};
use crate::router::{Ask, Match, Methods};
use crate::shared::{Answers, RouteState, Service, Shared};
use crate::{address, cors, grpc, headers, trailers, upgrade};

const FALLBACK: HeaderName = HeaderName::from_static("x-leeward-fallback");
const RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");
pub(super) const SERVICE_NAME: HeaderName = HeaderName::from_static("x-service-name");
/// The gateway's name towards services and in traces.
pub(super) const NAME: &str = "gateway";

/// One request.
#[derive(Debug)]
pub(crate) struct Trip {
    pub(super) started: Instant,
    pub(super) client: IpAddr,
    /// Whether the answer goes over TLS.
    pub(super) is_encrypted: bool,
    pub(super) request_id: Id,
    pub(super) correlation_id: Id,
    pub(super) span: Span,
    pub(super) method: &'static str,
    origin: Option<HeaderValue>,
    route: Option<usize>,
    service: Option<usize>,
    /// What the request is kept together with others by.
    pub(super) key: Option<u64>,
    /// Whether the client said that it takes trailers.
    pub(super) takes_trailers: bool,
    /// Whether it gets some: over HTTP/2 everybody does.
    pub(super) gets_trailers: bool,
    /// Whether it is a call of gRPC.
    pub(super) is_call: bool,
    /// When it must be over as a call that has a time of its own.
    own_deadline: Option<Deadline>,
    /// Whether it asks for its connection to be switched to WebSocket.
    asks_for_websocket: bool,
    /// How long that lasts, where the route lets it be.
    pub(super) tunnel: Option<Tunnel>,
    /// What the client is to come back with.
    pub(super) cookie: Option<HeaderValue>,
    /// What answered in the place of its service.
    pub(super) fell_back: OnceCell<Box<FellBack>>,
    seen: Seen,
    ticket: Option<Ticket>,
    pub(super) notes: Notes,
    pub(super) witness: Witness,
}

/// Counts a request on its way until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What a request holds until its answer is complete.
#[derive(Debug)]
pub(crate) struct Held {
    _permit: Permit,
    _in_flight: InFlight,
}

impl Trip {
    /// Ids and trace come first, so that whatever answers has them. A client's own are taken if they can be logged.
    pub(super) fn begin(shared: &Shared, peer: IpAddr, method: &Method, headers: &HeaderMap) -> Self {
        let rng = &*shared.rng;
        let names = Names::of(headers);
        let parent = names
            .get(headers, &TRACEPARENT)
            .and_then(|value| TraceContext::parse(value.to_str().ok()?).ok())
            .unwrap_or_else(|| TraceContext::new_root(rng));
        let own = |name: HeaderName| {
            if names.may_have(&name) { headers::well_formed_id(headers, &name) } else { None }
        };
        let minted = || u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        let request_id = own(REQUEST_ID).unwrap_or_else(|| Id::from_ascii(&hex_id(minted())));
        let correlation_id = own(CORRELATION_ID);
        let method = method_label(method);
        Self {
            started: shared.clock.now(),
            client: peer,
            is_encrypted: false,
            request_id,
            correlation_id: correlation_id.unwrap_or_else(|| Id::from_ascii(&hex_id(parent.trace_id()))),
            span: span(method, SpanKind::Server, NAME, &parent),
            method,
            origin: if names.may_have(&header::ORIGIN) { one_origin(headers).cloned() } else { None },
            route: None,
            service: None,
            key: None,
            takes_trailers: false,
            gets_trailers: false,
            is_call: false,
            own_deadline: None,
            asks_for_websocket: false,
            tunnel: None,
            cookie: None,
            fell_back: OnceCell::new(),
            seen: Seen::default(),
            ticket: None,
            notes: Notes::default(),
            witness: Witness::default(),
        }
    }

    /// Takes a place in the access log and among the decisions, if there is one. `None` is what is no request.
    pub(super) fn record(&mut self, core: &Core, request: Option<&Request<Incoming>>) {
        self.witness = Witness::begin(core, request);
        let Some(recorder) = &core.recorder else { return };
        let nothing = (Uri::default(), HeaderMap::new());
        let ticket = Ticket::begin(
            recorder,
            &Begin {
                started: self.started,
                unix_ms: core.shared.clock.unix_ms(),
                method: request.map(Request::method),
                uri: request.map_or(&nothing.0, Request::uri),
                version: request.map_or(Version::HTTP_11, Request::version),
                headers: request.map_or(&nothing.1, Request::headers),
                client: self.client,
                request_id: self.request_id,
                correlation_id: self.correlation_id,
                trace_id: self.span.context().trace_id(),
            },
        );
        self.notes = ticket.notes();
        self.ticket = Some(ticket);
    }

    pub(super) fn comes_from(&mut self, client: IpAddr) {
        self.client = client;
        self.notes.client(client);
    }

    /// Reads what is about the client's connection.
    pub(super) fn reads_connection(&mut self, head: &Parts) {
        let names = Names::of(&head.headers);
        self.asks_for_websocket = names.may_have(&header::UPGRADE) && upgrade::is_asked(head);
        self.takes_trailers = names.may_have(&header::TE) && trailers::are_taken(&head.headers);
        self.gets_trailers = self.takes_trailers || head.version == Version::HTTP_2;
    }

    pub(super) fn is_for(&self, subject: Option<&Subject>) {
        if let Some(subject) = subject {
            self.notes.user(&subject.id);
        }
    }

    /// Finds the route. A preflight is about the method that it announces.
    pub(super) fn route<'s>(
        &mut self,
        shared: &'s Shared,
        head: &Parts,
        path: &str,
    ) -> Result<&'s RouteState, Refusal> {
        let announced = (shared.cors.is_some() && cors::is_preflight(&head.method, &head.headers))
            .then(|| head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD))
            .flatten()
            .and_then(|method| Method::from_bytes(method.as_bytes()).ok());
        let ask = Ask {
            method: announced.as_ref().unwrap_or(&head.method),
            host: if shared.router.looks_at_hosts() { parse::host_name(head) } else { None },
            path,
            query: head.uri.query(),
            headers: &head.headers,
            is_preflight: announced.is_some(),
        };
        match shared.router.find(&ask) {
            Match::Route(index) => {
                self.route = Some(index);
                let route = &shared.routes[index];
                self.notes.route(&route.config.id);
                if let Answers::Service(at) = route.answers {
                    self.is_answered_by(shared, at);
                }
                Ok(route)
            }
            Match::Method(allow) => Err(method_not_allowed(allow)),
            Match::Unmet => Err(unmet()),
            Match::None => Err(no_route()),
        }
    }

    /// Which service the request is for, as far as that is known.
    pub(super) fn service<'s>(&self, shared: &'s Shared) -> Option<&'s Service> {
        self.service.map(|at| &shared.services[at])
    }

    /// Which service gets the request.
    pub(super) fn is_answered_by<'s>(&mut self, shared: &'s Shared, at: usize) -> &'s Service {
        let service = &shared.services[at];
        self.service = Some(at);
        self.notes.service(&service.name);
        service
    }

    /// Something else answers in the place of its service.
    pub(super) fn falls_back(&self, how: FellBack) {
        self.notes.fallback(how.cause.as_str());
        // A request is answered once.
        let _said = self.fell_back.set(Box::new(how));
    }

    /// Who answered, as far as that is a service.
    fn answered_by<'s>(&self, shared: &'s Shared) -> Option<&'s Service> {
        match self.fell_back.get() {
            Some(how) => how.service.map(|at| &shared.services[at]),
            None => self.service(shared),
        }
    }

    /// Its service was not asked.
    pub(super) fn is_answered_here(&mut self) {
        self.service = None;
    }

    /// Takes a handshake of WebSocket for one, where the route does.
    pub(super) fn handshake(
        &mut self,
        route: &RouteState,
        head: &Parts,
        body: &Incoming,
    ) -> Result<(), Refusal> {
        let Some(tunnel) = route.config.tunnel.filter(|_| self.asks_for_websocket) else { return Ok(()) };
        if let Some(wrong) = upgrade::wrong(head, !body.is_end_stream()) {
            return Err(Refusal::bad_request(code::MALFORMED, Stage::Parse, wrong));
        }
        self.tunnel = Some(tunnel);
        Ok(())
    }

    /// By when the head of the answer must be there: by the route, or by the call itself where that is sooner.
    pub(super) fn deadline(&mut self, route: &RouteState, head: &Parts) -> Result<Deadline, Refusal> {
        let within = if self.is_call { grpc::read_timeout(&head.headers) } else { Ok(None) };
        let within = within.map_err(|grpc::BadTimeout| {
            let detail =
                "grpc-timeout is not said once, in up to eight digits and one of H, M, S, m, u and n";
            Refusal::bad_request(code::MALFORMED, Stage::Parse, detail)
        })?;
        self.own_deadline = within.map(|within| Deadline::after(self.started, within));
        let of_the_route = Deadline::after(self.started, route.deadline);
        Ok(self.own_deadline.map_or(of_the_route, |own| own.earlier(of_the_route)))
    }

    pub(super) fn preflight(&self, shared: &Shared, head: &Parts) -> Option<Response<Download>> {
        let cors = shared.cors.as_ref()?;
        let origin = self.origin.as_ref()?;
        cors::is_preflight(&head.method, &head.headers).then(|| cors.preflight(origin))
    }

    pub(super) fn limit_by_address(&mut self, shared: &Shared) -> Result<(), Refusal> {
        match &shared.by_address {
            Some(limiter) => limiter.check(&address::limit_key(self.client), self.started, &mut self.seen),
            None => Ok(()),
        }
    }

    pub(super) fn limit_by_principal(
        &mut self,
        shared: &Shared,
        route: &RouteState,
        subject: Option<&Subject>,
    ) -> Result<(), Refusal> {
        if let (Some(limiter), Some(subject)) = (&shared.by_principal, subject) {
            limiter.check(&*subject.id, self.started, &mut self.seen)?;
        }
        let Some(limiter) = &route.limiter else { return Ok(()) };
        // Where anyone may come, each account that somebody has would be one more share: there it goes by address.
        match subject.filter(|_| route.config.access != Rule::Anyone) {
            Some(subject) => limiter.check(&*subject.id, self.started, &mut self.seen),
            None => {
                let key = address::limit_key(self.client).to_string();
                limiter.check(key.as_str(), self.started, &mut self.seen)
            }
        }
    }

    /// Takes a place among the requests that are served at a time.
    pub(super) async fn shed(&self, shared: &Shared, deadline: Deadline) -> Result<Held, Refusal> {
        let permit = match shared.shed.try_acquire() {
            Some(permit) => permit,
            None => {
                let longest = deadline.remaining(self.started).min(shared.config.concurrency.max_wait);
                shared.shed.acquire_within(longest).await.map_err(|rejected| {
                    let options = &shared.config.concurrency;
                    let ruling = Ruling::by(Setting::Top("concurrency_limit"))
                        .number("limit", options.limit.get())
                        .number("in_flight", shared.shed.in_flight())
                        .number("queue", options.queue)
                        .number("waiting", shared.shed.waiting());
                    Refusal::unavailable(code::OVERLOADED, Stage::Shed, "the gateway is at its limit")
                        .retry_after(rejected.retry_after)
                        .hint("concurrency_limit in the configuration")
                        .ruled(ruling)
                })?
            }
        };
        shared.metrics.in_flight.inc();
        Ok(Held { _permit: permit, _in_flight: InFlight(shared.metrics.in_flight.clone()) })
    }

    pub(super) fn route_state<'s>(&self, shared: &'s Shared) -> Option<&'s RouteState> {
        self.route.and_then(|index| shared.routes.get(index))
    }

    pub(super) fn route_number(&self) -> Option<usize> {
        self.route
    }

    /// The answer to a refusal, with everything that every answer has.
    pub(super) fn refuse(&mut self, core: &Core, refusal: Refusal) -> Response<Delivery> {
        let shared = &*core.shared;
        self.notes.refused(refusal.code, refusal.stage.as_str(), refusal.rule.unwrap_or_default());
        core.series.refused(&shared.metrics, refusal.stage, refusal.code);
        let trusted = shared.config.explain_to.iter().any(|network| network.contains(self.client));
        let origin = self.route_state(shared).map(|route| &*route.config.origin);
        let explanation = trusted.then_some(Explanation { origin });
        let request_id = self.request_id.as_str();
        let (answer, lines) = if self.is_call {
            (grpc::respond(&refusal, request_id), Lines::default())
        } else {
            refusal::respond(&refusal, request_id, &shared.accepted, explanation)
        };
        if refusal.status.is_server_error() {
            self.span.error(refusal.code);
        }
        self.end(core, (answer.map(|body: Bytes| Download::Own(Some(body))), lines), Some(refusal))
    }

    /// Ends a request that was not refused.
    pub(super) fn finish(&mut self, core: &Core, mut answer: Response<Download>) -> Response<Delivery> {
        let passed = answer.body_mut().take_passed();
        self.end(core, (answer, passed), None)
    }

    /// Ends the request: response headers, metrics, log, span.
    fn end(
        &mut self,
        core: &Core,
        (mut answer, lines): (Response<Download>, Lines),
        refusal: Option<Refusal>,
    ) -> Response<Delivery> {
        let shared = &*core.shared;
        let took = shared.clock.now().saturating_duration_since(self.started);
        // A call that was refused is told so behind a 200: what is recorded is why.
        let status = refusal.as_ref().map_or(answer.status(), |refusal| refusal.status);
        let route = self.route_state(shared);
        let label = route.map_or(NO_ROUTE, |route| &*route.label);
        core.series.count(&shared.metrics, (self.route, self.method, status), label, took);
        self.notes.answered(status, took);
        self.testify(core, status, took, refusal);
        if self.span.is_recording() {
            let pattern = route.map_or(NO_ROUTE, |route| route.config.pattern.text());
            self.span.attr("http.route", pattern.to_owned()).attr("http.request.method", self.method);
            self.span.attr("http.response.status_code", i64::from(status.as_u16()));
            if let Some(how) = self.fell_back.get() {
                self.span.attr("leeward.fallback", how.cause.as_str());
            }
        }
        let lines = self.say(shared, took, answer.headers_mut(), lines);
        // A handshake that comes to nothing leaves a connection on which the client may have gone on already.
        let is_refused = self.tunnel.is_some() && status != http::StatusCode::SWITCHING_PROTOCOLS;
        if shared.traffic.is_draining() || is_refused {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let left = self.own_deadline.map(|deadline| deadline.remaining(shared.clock.now()));
        let own_time = left.map(|left| OwnTime { left, request_id: self.request_id });
        let ticket = self.ticket.take();
        answer.map(|body| Delivery::new(body, lines, ticket, own_time))
    }

    /// Says in the head of the answer what the gateway itself has to say, in the place of what others said under these names.
    fn say(&self, shared: &Shared, took: Duration, table: &mut HeaderMap, passed: Lines) -> Lines {
        let route = self.route_state(shared);
        let mut answer = Answering::new(table, passed.or_with_room());
        if let Some(deprecated) = route.and_then(|route| route.config.deprecated.as_ref()) {
            deprecated.write(&mut answer);
        }
        answer.say_text(&REQUEST_ID, self.request_id.as_bytes());
        answer.say_text(&CORRELATION_ID, self.correlation_id.as_bytes());
        answer.say_text(&RESPONSE_TIME, millis(took).as_bytes());
        if let Some(how) = self.fell_back.get() {
            answer.say_text(&FALLBACK, how.cause.as_str());
        }
        match self.answered_by(shared) {
            Some(service) => answer.say(&SERVICE_NAME, &service.name_header),
            None => answer.say_text(&SERVICE_NAME, NAME),
        }
        self.seen.write(&mut answer);
        if let Some(cookie) = &self.cookie {
            answer.add(&header::SET_COOKIE, cookie);
        }
        if let Some(cors) = &shared.cors {
            cors.apply(self.origin.as_ref(), &mut answer);
        }
        let security = route.map_or(&shared.security, |route| &route.security);
        security.apply(&mut answer, self.is_encrypted);
        answer.into_lines()
    }
}

pub(crate) fn no_route() -> Refusal {
    Refusal::new(http::StatusCode::NOT_FOUND, code::NOT_FOUND, Stage::Route, "no route has this path")
}

/// To the client as if there were nothing: another request of it may well have a route.
pub(crate) fn unmet() -> Refusal {
    let detail = "no route of this path is for the headers, query or cookies of this request";
    Refusal::new(http::StatusCode::NOT_FOUND, code::NOT_FOUND, Stage::Route, detail)
        .hint("`match` of the routes of this path")
}

pub(crate) fn method_not_allowed(allow: Methods) -> Refusal {
    let status = http::StatusCode::METHOD_NOT_ALLOWED;
    let refusal = Refusal::new(status, code::METHOD_NOT_ALLOWED, Stage::Route, "the route has other methods");
    Refusal { allow: Some(allow), ..refusal }
}

/// A browser sends one. Of several, a service might believe another one than the gateway does.
fn one_origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    origins.next().filter(|_| origins.next().is_none())
}

/// Only known names become label values.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// `12.345ms`.
fn millis(took: Duration) -> Text<MILLIS_BYTES_MAX> {
    let (mut whole, mut rest) = (itoa::Buffer::new(), itoa::Buffer::new());
    let whole = whole.format(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)).as_bytes();
    // A one in front keeps the zeros behind the point.
    let rest = rest.format(1_000 + took.subsec_micros() % 1_000).as_bytes();
    let mut text = [0_u8; MILLIS_BYTES_MAX];
    let (mut left, mut room) = (0, &mut text[..]);
    for part in [whole, b".", &rest[1..], b"ms"] {
        let (here, behind) = room.split_at_mut(part.len());
        here.copy_from_slice(part);
        (left, room) = (left + part.len(), behind);
    }
    Text::from_ascii(&text[..left])
}

const MILLIS_BYTES_MAX: usize = "18446744073709551615.000ms".len();
