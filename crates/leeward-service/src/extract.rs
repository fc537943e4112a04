//! What handlers take: JSON bodies, path and query values, the caller, the correlation, the deadline. Every failure is
//! answered as problem+json.

use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use leeward_resilience::{ATTEMPT_HEADER, Deadline, Effort, Priority};
use leeward_telemetry::Correlation;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::identity::Caller;
use crate::inbound::RequestContext;
use crate::problem::{Problem, code};

/// A JSON body in, a JSON body out.
///
/// In: 415 for another media type, 413 for a body over the route's limit, 400 for what is no JSON, 422 for JSON of
/// another shape.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers().get(header::CONTENT_TYPE)) {
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, code::UNSUPPORTED_MEDIA_TYPE)
                .detail("send application/json"));
        }
        let bytes = request.into_body().collect().await.map_err(|error| unreadable(&error))?.to_bytes();
        serde_json::from_slice(&bytes).map(Self).map_err(|error| not_as_expected(&error))
    }
}

fn is_json(content_type: Option<&HeaderValue>) -> bool {
    let Some(value) = content_type.and_then(|value| value.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence.to_ascii_lowercase().strip_prefix("application/").is_some_and(|sub| sub.ends_with("+json"))
}

/// A body over its limit is told apart from one that broke off.
fn unreadable(error: &axum::Error) -> Problem {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return too_large();
        }
        cause = error.source();
    }
    Problem::malformed("the body broke off")
}

pub(crate) fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, code::TOO_LARGE)
}

fn not_as_expected(error: &serde_json::Error) -> Problem {
    match error.classify() {
        serde_json::error::Category::Data => Problem::unprocessable(code::INVALID, error.to_string()),
        _ => Problem::malformed(error.to_string()),
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        // Most answers are small; growing from this takes at most a few steps.
        let mut buffer = Vec::with_capacity(256);
        match serde_json::to_writer(&mut buffer, &self.0) {
            Ok(()) => {
                let mut response = Response::new(axum::body::Body::from(buffer));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                response
            }
            Err(error) => Problem::internal(&error).into_response(),
        }
    }
}

/// Values out of the path. What does not parse names nothing: 404.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        <axum::extract::Path<T> as FromRequestParts<S>>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|rejection| Problem::not_found(rejection.body_text()))
    }
}

/// Values out of the query string. What does not parse is answered 400.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection| Problem::malformed(rejection.body_text()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        context(parts)?.caller.clone().ok_or_else(|| Problem::unauthenticated("this needs an identity"))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Problem> {
        Ok(context(parts)?.caller.clone())
    }
}

/// What travels with the work this request causes: outgoing calls, events, sagas.
#[derive(Debug, Clone)]
pub struct Cause(pub Correlation);

impl<S: Send + Sync> FromRequestParts<S> for Cause {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self(context(parts)?.correlation.clone()))
    }
}

/// When the caller stops waiting.
#[derive(Debug, Clone, Copy)]
pub struct Until(pub Deadline);

impl<S: Send + Sync> FromRequestParts<S> for Until {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self(context(parts)?.deadline))
    }
}

/// What a request hands on to the calls it causes: see [`Outgoing::within`](crate::client::Outgoing::within).
#[derive(Debug, Clone)]
pub struct Hop {
    /// The work it is part of.
    pub correlation: Correlation,
    /// When its caller stops waiting.
    pub deadline: Deadline,
    /// What the caller said about its own attempts: what it repeats is not repeated again below.
    pub effort: Effort,
    /// How much it matters.
    pub priority: Priority,
}

impl<S: Send + Sync> FromRequestParts<S> for Hop {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let effort = header_text(&parts.headers, ATTEMPT_HEADER).map(Effort::from_header).unwrap_or_default();
        let RequestContext { correlation, deadline, priority, .. } = context(parts)?;
        Ok(Self { correlation: correlation.clone(), deadline: *deadline, effort, priority: *priority })
    }
}

/// A header of the request as text, for instance `Idempotency-Key`.
#[must_use]
pub fn header_text<'a>(headers: &'a http::HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|value| !value.is_empty())
}

fn context(parts: &Parts) -> Result<&RequestContext, Problem> {
    parts
        .extensions
        .get::<RequestContext>()
        .ok_or_else(|| Problem::internal(&"a route outside the inbound stack"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use axum::body::Body;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Put {
        quantity: u32,
    }

    async fn read(content_type: &str, body: &'static str) -> Result<u32, (u16, &'static str)> {
        let request =
            Request::builder().header(header::CONTENT_TYPE, content_type).body(Body::from(body)).unwrap();
        Json::<Put>::from_request(request, &())
            .await
            .map(|Json(put)| put.quantity)
            .map_err(|problem| (problem.status().as_u16(), problem.code()))
    }

    #[tokio::test]
    async fn bodies() {
        assert_eq!(read("application/json", r#"{"quantity":2}"#).await, Ok(2));
        assert_eq!(read("Application/JSON; charset=utf-8", r#"{"quantity":2}"#).await, Ok(2));
        assert_eq!(read("application/merge-patch+json", r#"{"quantity":2}"#).await, Ok(2));
        assert_eq!(read("text/plain", r#"{"quantity":2}"#).await, Err((415, "unsupported_media_type")));
        assert_eq!(read("application/json", r#"{"quantity":"#).await, Err((400, "malformed")));
        assert_eq!(read("application/json", r#"{"quantity":-2}"#).await, Err((422, "invalid")));
        assert_eq!(read("application/json", "{}").await, Err((422, "invalid")));
    }

    #[tokio::test]
    async fn a_body_over_its_limit_is_413() {
        let limited = http_body_util::Limited::new(Body::from(r#"{"quantity":2}"#), 4);
        let request = Request::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::new(limited))
            .unwrap();
        assert_eq!(Json::<Put>::from_request(request, &()).await.unwrap_err().status(), 413);
    }
}
