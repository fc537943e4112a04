//! Errors as the outside sees them: `application/problem+json` (RFC 9457) with a stable code.
//!
//! The code is the contract, the words are not: clients match on `code`, people read `title` and `detail`.

mod body;
mod invalid;

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use leeward_resilience::rate::whole_seconds;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

pub use body::ProblemBody;
pub use invalid::Invalid;

/// The media type of every error that a service makes itself.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What waiting callers are told when nothing better is known.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Codes that the kit itself answers with. A service adds its own beside them.
pub mod code {
    /// No valid `x-leeward-assertion`.
    pub const UNAUTHENTICATED: &str = "unauthenticated";
    /// Known, but not allowed here.
    pub const FORBIDDEN: &str = "forbidden";
    /// No such route or no such thing.
    pub const NOT_FOUND: &str = "not_found";
    /// The route exists with other methods.
    pub const METHOD_NOT_ALLOWED: &str = "method_not_allowed";
    /// The body is not JSON, or the request is not well formed.
    pub const MALFORMED: &str = "malformed";
    /// Well formed, but a value breaks a rule.
    pub const INVALID: &str = "invalid";
    /// The body is not of a media type that the route reads.
    pub const UNSUPPORTED_MEDIA_TYPE: &str = "unsupported_media_type";
    /// The body is larger than the route takes.
    pub const TOO_LARGE: &str = "payload_too_large";
    /// More requests than the caller's rate.
    pub const RATE_LIMITED: &str = "rate_limited";
    /// The service is at its concurrency limit.
    pub const OVERLOADED: &str = "overloaded";
    /// The caller's deadline passed before the answer.
    pub const DEADLINE_EXCEEDED: &str = "deadline_exceeded";
    /// Something this service needs is not there now.
    pub const UNAVAILABLE: &str = "unavailable";
    /// The disk or a queue is full: nothing was changed.
    pub const STORAGE_FULL: &str = "storage_full";
    /// A service behind this one cannot be used now.
    pub const UPSTREAM_UNAVAILABLE: &str = "upstream_unavailable";
    /// A service behind this one answered with something unreadable.
    pub const UPSTREAM_INVALID: &str = "upstream_invalid";
    /// Our fault.
    pub const INTERNAL: &str = "internal";
    /// The state does not allow it.
    pub const CONFLICT: &str = "conflict";
    /// An injected fault (see [`crate::faults`]).
    pub const FAULT_INJECTED: &str = "fault_injected";
}

/// An error answer: status, stable code, words for people.
///
/// A handler returns `Result<T, Problem>`; `?` turns the kit's own errors into problems.
///
/// The status says what became of the work, and callers act on it ([`CallError::effect`](crate::CallError::effect)):
/// - 503 promises that nothing was changed, neither here nor at any service that was asked on the way. The caller repeats
///   the request or gives it up, and does not come back to undo anything.
/// - A 4xx promises the same, and that repeating does not help.
/// - Any other 5xx promises nothing: the work may be done. Who has changed something, or does not know, answers 504 or 500.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    extra: Option<Box<Map<String, Value>>>,
}

impl Problem {
    /// A problem of `status` with a stable `code` (snake case).
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str) -> Self {
        Self { status, code, detail: None, retry_after: None, extra: None }
    }

    /// 400: the request is not well formed.
    #[must_use]
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::MALFORMED).detail(detail)
    }

    /// 401: no valid identity came with the request.
    #[must_use]
    pub fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code::UNAUTHENTICATED).detail(detail)
    }

    /// 403: the identity is known and may not do this.
    #[must_use]
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code::FORBIDDEN).detail(detail)
    }

    /// 404: there is no such thing, or the caller may not know of it.
    #[must_use]
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code::NOT_FOUND).detail(detail)
    }

    /// 409: the state does not allow it.
    #[must_use]
    pub fn conflict(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, code).detail(detail)
    }

    /// 422: well formed, but it breaks a rule.
    #[must_use]
    pub fn unprocessable(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code).detail(detail)
    }

    /// 503 with `Retry-After`: nothing was changed, neither here nor further on, and waiting helps. After a change, or where
    /// it is not known, answer with [`Problem::deadline_exceeded`] or [`Problem::internal`].
    #[must_use]
    pub fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code::UNAVAILABLE)
            .detail(detail)
            .retry_after(DEFAULT_RETRY_AFTER)
    }

    /// 504: the deadline passed; whether the work was done is not known to the caller.
    #[must_use]
    pub fn deadline_exceeded() -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, code::DEADLINE_EXCEEDED)
    }

    /// 500. The cause goes to the log, never to the caller.
    #[must_use]
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code::INTERNAL)
    }

    /// Adds words for the person who reads it.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds `Retry-After`, rounded up to whole seconds.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Adds a member of its own, for instance the new quote of a changed price.
    /// A value that cannot be JSON is left out.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.extra.get_or_insert_default().insert(member.to_owned(), value);
        }
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// A member added by [`Problem::with`].
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.extra.as_ref()?.get(name)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.code)?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

impl std::error::Error for Problem {}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &format_args!("urn:leeward:problem:{}", self.code))?;
        map.serialize_entry("title", self.status.canonical_reason().unwrap_or("Error"))?;
        map.serialize_entry("status", &self.status.as_u16())?;
        map.serialize_entry("code", self.code)?;
        if let Some(detail) = &self.detail {
            map.serialize_entry("detail", detail)?;
        }
        for (member, value) in self.extra.iter().flat_map(|extra| extra.iter()) {
            map.serialize_entry(member, value)?;
        }
        map.end()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(axum::body::Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_problem_survives_the_wire() {
        let problem = Problem::conflict("price_changed", "the price went up").with("quote", 1200);
        let body: ProblemBody = serde_json::from_slice(&serde_json::to_vec(&problem).unwrap()).unwrap();
        assert_eq!((body.status, body.code.as_str()), (409, "price_changed"));
        assert_eq!(body.extra["quote"], 1200);
        assert_eq!(body.extra["type"], "urn:leeward:problem:price_changed");
    }

    #[test]
    fn retry_after_is_rounded_up() {
        let response = Problem::unavailable("x").retry_after(Duration::from_millis(1_001)).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
    }

    #[test]
    fn every_broken_rule_is_listed() {
        let problem = Invalid::default()
            .check(false, "a", "must be set")
            .check(true, "b", "fine")
            .check(false, "c", "too long")
            .finish()
            .unwrap_err();
        assert_eq!(problem.member("errors").unwrap().as_array().unwrap().len(), 2);
        assert!(Invalid::default().check(true, "a", "").finish().is_ok());
    }

    #[test]
    fn the_cause_of_an_internal_error_stays_inside() {
        let text = serde_json::to_string(&Problem::internal(&"secret path")).unwrap();
        assert!(!text.contains("secret"));
    }
}
