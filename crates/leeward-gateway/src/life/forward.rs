//! The request as a service gets it: the client's, without what it may not say, with what the gateway says.

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use leeward_resilience::Deadline;
use leeward_service::identity::ASSERTION_HEADER;
use leeward_telemetry::{CORRELATION_ID, REQUEST_ID, TRACEPARENT};

use super::trip::{NAME, SERVICE_NAME, Trip};
use super::{Asks, parse};
use crate::address;
use crate::config::Route;
use crate::credentials;
use crate::grpc;
use crate::headers::Names;
use crate::jwt::Subject;
use crate::lines::Lines;
use crate::path::EncodedSlash;
use crate::refusal::{Refusal, Stage, code};
use crate::shared::{RouteState, Service, Shared};

const CLIENT_IP: HeaderName = HeaderName::from_static("x-client-ip");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-gateway-timestamp");
const USER_ID: HeaderName = HeaderName::from_static("x-user-id");
const USER_ROLE: HeaderName = HeaderName::from_static("x-user-role");
const USER_CONTEXT: HeaderName = HeaderName::from_static("x-user-context");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const ASSERTION: HeaderName = HeaderName::from_static(ASSERTION_HEADER);

/// A request on its way out, before the parts that differ between attempts.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    /// In place of the endpoint's own address.
    pub(super) host: Option<Box<str>>,
    /// The client's, without any of `said`.
    pub(super) headers: HeaderMap,
    /// What the gateway says itself, each name once.
    pub(super) said: Lines,
    /// Whether the client said that it takes trailers.
    pub(super) takes_trailers: bool,
    /// Whether the connection is to be switched to WebSocket.
    pub(super) upgrades: bool,
    /// When a call of gRPC that has a time of its own must be over.
    pub(super) call_until: Option<Deadline>,
    /// Under which a copy of the answer is kept, for routes that keep copies.
    pub(super) copy_key: Option<String>,
    /// What it is kept together with others by.
    pub(super) key: Option<u64>,
}

impl Forward {
    pub(super) fn new(
        shared: &Shared,
        trip: &Trip,
        (route, service): (&RouteState, &Service),
        (head, path, deadline): (Parts, &str, Deadline),
        (peer, subject): Asks<'_>,
    ) -> Result<Self, Refusal> {
        let Parts { method, uri, mut headers, .. } = head;
        let target = target(&route.config, shared.config.encoded_slash, path, &uri)?;
        let host = headers.remove(header::HOST);
        credentials::strip(&mut headers, &shared.accepted, route.config.forward_token);
        let new_host = route.config.rewrite.host.as_ref().and_then(|new| new.of(host.as_ref()));
        // Before what the gateway says, so that none of it can be changed.
        route.config.request_headers.apply(&mut headers);
        // Of what is said below, this is all that a client may send or a configuration may set.
        let names = Names::of(&headers);
        for name in [&REQUEST_ID, &CORRELATION_ID, &TRACEPARENT] {
            names.remove(&mut headers, name);
        }
        let mut said = Lines::with_room();
        said.say_text(&REQUEST_ID, trip.request_id.as_bytes());
        said.say_text(&CORRELATION_ID, trip.correlation_id.as_bytes());
        // Where spans are recorded, each attempt says its own.
        if !trip.span.is_recording() {
            said.say_text(&TRACEPARENT, trip.span.context().header_text());
        }
        said.say_text(&SERVICE_NAME, NAME);
        said.say_text(&TIMESTAMP, itoa::Buffer::new().format(shared.clock.unix_ms()));
        let client = address::text(trip.client);
        said.say_text(&FORWARDED_FOR, client.as_bytes());
        said.say_text(&CLIENT_IP, client.as_bytes());
        if let Some(host) = &host {
            said.say(&FORWARDED_HOST, host);
        }
        said.say_text(&FORWARDED_PROTO, if peer.is_encrypted { "https" } else { "http" });
        if let Some(certificate) = &peer.certificate {
            said.say(&FORWARDED_CERT, &certificate.header);
        }
        if let Some(subject) = subject {
            said.say(&USER_ID, &subject.id_header);
            said.say(&USER_ROLE, &subject.role_header);
            said.say(&USER_CONTEXT, &subject.context_header);
            vouch(shared, service, subject, &mut said)?;
        }
        // Each attempt says what is left of it.
        let has_time = trip.is_call && headers.remove(grpc::TIMEOUT).is_some();
        // To a service that hears who asks, the answer may be that caller's own.
        let is_anybody = subject.is_none() && peer.certificate.is_none();
        let copy_key = if is_anybody { copy_key(route, service, &method, &target, &headers) } else { None };
        let host = new_host.and_then(|host| host.to_str().ok().map(Box::from));
        let key = service.hash_on.as_ref().and_then(|hash_on| hash_on.key(&headers, &said)).or(trip.key);
        Ok(Self {
            method,
            target,
            host,
            headers,
            said,
            takes_trailers: trip.takes_trailers,
            upgrades: trip.tunnel.is_some(),
            call_until: has_time.then_some(deadline),
            copy_key,
            key,
        })
    }

    /// The same for another service, which is told who asks in words of its own. No copy is kept of what it answers.
    pub(super) fn towards(
        &self,
        shared: &Shared,
        (service, key): (&Service, Option<u64>),
        subject: Option<&Subject>,
    ) -> Result<Self, Refusal> {
        let mut said = self.said.clone();
        if let Some(subject) = subject {
            said.remove(&ASSERTION);
            vouch(shared, service, subject, &mut said)?;
        }
        let key = service.hash_on.as_ref().and_then(|on| on.key(&self.headers, &said)).or(key);
        Ok(Self {
            method: self.method.clone(),
            target: self.target.clone(),
            host: self.host.clone(),
            headers: self.headers.clone(),
            said,
            takes_trailers: self.takes_trailers,
            upgrades: self.upgrades,
            call_until: self.call_until,
            copy_key: None,
            key,
        })
    }
}

/// Says who the user is in an assertion that the service checks, beside the plain headers for those that only read.
fn vouch(shared: &Shared, service: &Service, subject: &Subject, said: &mut Lines) -> Result<(), Refusal> {
    let Some(minter) = &shared.minter else { return Ok(()) };
    let audience = &service.name;
    let assertion = minter.mint(&subject.principal, audience, shared.clock.unix_ms()).map_err(|error| {
        tracing::error!(%error, "an assertion could not be signed");
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Refusal::new(status, code::INTERNAL, Stage::Authenticate, "the gateway could not vouch for the user")
    })?;
    said.say(&ASSERTION, &assertion);
    Ok(())
}

/// The canonical path as the route changes it, with the query as it came.
pub(crate) fn target(
    route: &Route,
    slash: EncodedSlash,
    path: &str,
    uri: &http::Uri,
) -> Result<PathAndQuery, Refusal> {
    let rewritten = route.rewrite.path.as_ref().map(|template| template.rewritten(path, slash));
    let rewritten = rewritten.transpose().map_err(parse::bad_path)?;
    let new = match (&rewritten, &route.strip_prefix) {
        (Some(rewritten), _) => rewritten.as_str(),
        (None, Some(prefix)) => path.strip_prefix(prefix.as_str()).unwrap_or(path),
        (None, None) => path,
    };
    if let (true, Some(whole)) = (new == uri.path(), uri.path_and_query()) {
        return Ok(whole.clone());
    }
    let slash = if new.starts_with('/') { "" } else { "/" };
    let query = uri.query();
    let mut text = String::with_capacity(1 + new.len() + query.map_or(0, |query| query.len() + 1));
    text.push_str(slash);
    text.push_str(new);
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    PathAndQuery::try_from(text)
        .map_err(|error| Refusal::bad_request(code::BAD_TARGET, Stage::Parse, error.to_string()))
}

/// What ties an answer to whoever asked, or to a part of it.
const OF_ONE_CALLER: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::RANGE];

/// What an answer may vary by and still be kept.
const VARIANTS: [HeaderName; 3] = [header::ACCEPT, header::ACCEPT_ENCODING, header::ORIGIN];

/// Two requests with the same key may get the same copy. It is made of the request as the service gets it: one that tells
/// the service who asks has none, since its answer may be its own.
fn copy_key(
    route: &RouteState,
    service: &Service,
    method: &Method,
    target: &PathAndQuery,
    headers: &HeaderMap,
) -> Option<String> {
    let kept = route.config.stale_if_error.is_some()
        && *method == Method::GET
        && !OF_ONE_CALLER.iter().any(|name| headers.contains_key(name));
    kept.then(|| {
        let mut key = format!("{}\n{target}", service.name);
        for name in &VARIANTS {
            // No value has a line break in it, so that no two lists of values look alike.
            key.push('\n');
            key.push_str(headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default());
        }
        key
    })
}
