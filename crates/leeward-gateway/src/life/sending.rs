//! What is sent: the client's body, kept if it is short, and the request made of it for each attempt.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{Method, Request, StatusCode, Uri, Version};
use http_body::Body;
use leeward_resilience::{ATTEMPT_HEADER, DEADLINE_HEADER, Deadline, Effort, Instant};
use leeward_telemetry::TRACEPARENT;

use super::forward::Forward;
use super::parse::{rule_broken, too_large};
use super::trip::Trip;
use crate::body::{Cut, Streaming, Upload, read_whole};
use crate::grpc;
use crate::h1::{Asking, Saying};
use crate::incoming::Incoming;
use crate::lines::Lines;
use crate::refusal::{Refusal, Stage, code};
use crate::shared::{RouteState, Service, Shared};
use crate::trailers::Sieve;
use crate::upstream::Source;

/// Bodies up to this size are read before they are sent, so that they can be sent again.
const REPLAY_BYTES_MAX: u64 = 64 * 1024;

/// By so much the client's time for a long body ends before the service's time for its answer.
const CLIENT_FIRST: Duration = Duration::from_millis(50);

const DEADLINE: HeaderName = HeaderName::from_static(DEADLINE_HEADER);
const ATTEMPT: HeaderName = HeaderName::from_static(ATTEMPT_HEADER);
/// Most headers that the gateway adds to a request.
const SAID_MAX: usize = 18;

/// The client's body, and what became of it.
pub(super) struct Sending {
    empty: bool,
    whole: Option<Bytes>,
    trailers: Option<Box<HeaderMap>>,
    streaming: Option<Rc<RefCell<Streaming>>>,
    pub(super) cut: Rc<Cell<Option<Cut>>>,
}

impl Sending {
    /// Reads a short body; a long one, or one of unknown length, is passed on as it comes. Done before a permit is
    /// taken, so that a slow client holds its own connection and nothing else.
    pub(super) async fn prepare(
        shared: &Shared,
        (route, service): (&RouteState, &Service),
        trip: &Trip,
        headers: &HeaderMap,
        body: Incoming,
        deadline: Deadline,
    ) -> Result<Self, Refusal> {
        let (notes, cut) = (&trip.notes, Rc::default());
        let mut sending = Self { empty: true, whole: None, trailers: None, streaming: None, cut };
        if body.is_end_stream() {
            return Ok(sending);
        }
        sending.empty = false;
        let within = || shared.config.limits.body_timeout.min(deadline.remaining(shared.clock.now()));
        let sieve = || Sieve::of_client(shared.accepted.key_header.as_ref(), &route.config.request_headers);
        if headers.contains_key(header::CONTENT_LENGTH) && body.size_hint().lower() <= REPLAY_BYTES_MAX {
            let bytes_max = route.body_bytes_max.min(REPLAY_BYTES_MAX);
            let read = read_whole(body, bytes_max, within, sieve, notes).await;
            let (bytes, trailers) = read.map_err(|cut| body_refusal(route, cut))?;
            (sending.whole, sending.trailers) = (Some(bytes), trailers);
        } else {
            // Ends before the attempt does: a slow client is no failure of the service.
            let attempt = route.outbound(shared, service).attempt_longest;
            let within = within().min(attempt).saturating_sub(CLIENT_FIRST);
            let cut = Rc::clone(&sending.cut);
            let mut streaming =
                Streaming::new(body, route.body_bytes_max, within, sieve(), cut, notes.clone());
            if trip.is_call {
                streaming.keep();
            }
            sending.streaming = Some(Rc::new(RefCell::new(streaming)));
        }
        Ok(sending)
    }

    pub(super) fn is_replayable(&self) -> bool {
        self.empty || self.whole.is_some()
    }

    /// Whether it can be sent from its beginning now. Of a body that is passed on as it comes nothing may have been read, or all that
    /// was is kept.
    pub(super) fn can_be_sent(&self) -> bool {
        self.streaming.as_ref().is_none_or(|streaming| streaming.borrow().is_whole())
    }

    /// The service takes part in a conversation, which has no end that could be waited for.
    pub(super) fn is_conversation(&self) {
        if let Some(streaming) = &self.streaming {
            streaming.borrow_mut().is_timeless();
        }
    }

    fn take(&self) -> Option<Upload> {
        match (&self.whole, self.empty) {
            (Some(bytes), _) => Some(Upload::Whole(Some(bytes.clone()), self.trailers.clone())),
            (None, true) => Some(Upload::Empty),
            (None, false) => self.streaming.as_ref().and_then(Streaming::lend).map(Upload::Streaming),
        }
    }
}

/// What one attempt sends: the same again, as often as the pool asks.
pub(super) struct Outgoing<'a> {
    pub(super) forward: &'a Forward,
    pub(super) sending: &'a Sending,
    pub(super) host: &'a str,
    pub(super) deadline_ms: u64,
    pub(super) effort: Effort,
    pub(super) now: Instant,
    /// In place of the request's own, where spans are recorded.
    pub(super) trace: Option<HeaderValue>,
    /// What is left of a call's own time.
    pub(super) call_timeout: Option<HeaderValue>,
}

impl Outgoing<'_> {
    /// What the gateway says of this attempt alone.
    fn of_this_attempt(&self) -> Lines {
        let mut lines = Lines::with_room();
        lines.say_text(&DEADLINE, itoa::Buffer::new().format(self.deadline_ms));
        if !self.effort.is_first() {
            lines.say_text(&ATTEMPT, self.effort.to_string());
        }
        if let Some(trace) = &self.trace {
            lines.say(&TRACEPARENT, trace);
        }
        if let Some(timeout) = &self.call_timeout {
            lines.say(&grpc::TIMEOUT, timeout);
        }
        lines
    }
}

impl Source for Outgoing<'_> {
    fn make(&self) -> Option<Box<Asking<Upload>>> {
        let body = self.sending.take()?;
        let more = self.of_this_attempt();
        let Forward { method, target, headers, said, takes_trailers, .. } = self.forward;
        let saying = Saying {
            method,
            target,
            host: self.host,
            headers,
            more: [said, &more],
            // A server that expects no body here may take one for the next request: there is to be none on this connection.
            closes: !self.sending.empty && has_no_use_for_a_body(method),
            upgrades: self.forward.upgrades,
            takes_trailers: *takes_trailers,
        };
        Some(Box::new(Asking::new(saying, body)))
    }

    fn make_http2(&self, is_encrypted: bool) -> Option<(Request<()>, Upload)> {
        let body = self.sending.take()?;
        let Forward { method, target, headers, said, .. } = self.forward;
        // A query alone stands for the root.
        let slash = if target.as_str().starts_with('?') { "/" } else { "" };
        let uri = Uri::builder()
            .scheme(if is_encrypted { Scheme::HTTPS } else { Scheme::HTTP })
            .authority(self.host)
            .path_and_query(format!("{slash}{target}"));
        let mut request = Request::new(());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.build().ok()?;
        *request.version_mut() = Version::HTTP_2;
        let map = request.headers_mut();
        map.clone_from(headers);
        for name in &OF_THE_WIRE {
            map.remove(name);
        }
        map.reserve(SAID_MAX);
        said.put_into(map);
        self.of_this_attempt().put_into(map);
        if self.forward.takes_trailers {
            map.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
            map.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        Some((request, body))
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn is_safe(&self) -> bool {
        is_idempotent(&self.forward.method) && self.sending.is_replayable()
    }
}

/// What the connection says itself.
const OF_THE_WIRE: [HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];

/// Methods that HTTP defines as repeatable (RFC 9110, 9.2.2).
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE
    )
}

/// Methods whose body HTTP gives no meaning, and warns of (RFC 9110, 9.3.1, 9.3.2 and 9.3.5).
fn has_no_use_for_a_body(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::DELETE)
}

pub(super) fn body_refusal(route: &RouteState, cut: Cut) -> Refusal {
    let refused = |status, code, detail: &'static str| Refusal {
        close: true,
        ..Refusal::new(status, code, Stage::Size, detail)
    };
    match cut {
        Cut::TooLarge => too_large(route.body_bytes_max),
        Cut::TimedOut => {
            refused(StatusCode::REQUEST_TIMEOUT, code::BODY_TIMEOUT, "the body did not arrive in time")
        }
        Cut::Broken(rule) => rule_broken(rule),
        Cut::BrokenOff => refused(StatusCode::BAD_REQUEST, code::BODY_CUT, "the body was broken off"),
    }
}
