//! The bus for other processes: the owner's side of [`http`](super::http).

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::Error;
use super::http::{Ack, HEARTBEAT, Opening, ProblemBody, Published, SUPERSEDED_LINE, code};
use super::http::{batch_lines, parse_start, through_line};
use super::message::{Message, Start};
use super::subscription::Subscription;
use super::{Bus, PUBLISH_BYTES_MAX, Token};
use crate::pattern::{self, Patterns};

/// Most events in one chunk of a stream.
const CHUNK_EVENTS_MAX: usize = 256;

/// Brackets and commas of a full batch.
const BODY_OVERHEAD_BYTES: usize = 64 * 1024;

pub(super) fn router(bus: Bus, token: Token) -> Router {
    let token = Arc::new(token);
    Router::new()
        .route("/bus/v1/events", post(publish))
        .route("/bus/v1/groups", get(groups))
        .route("/bus/v1/groups/{group}", axum::routing::delete(remove_group))
        .route("/bus/v1/groups/{group}/events", get(subscribe))
        .route("/bus/v1/groups/{group}/ack", post(acknowledge))
        .layer(DefaultBodyLimit::max(PUBLISH_BYTES_MAX + BODY_OVERHEAD_BYTES))
        .layer(middleware::from_fn(move |request, next| authorise(token.clone(), request, next)))
        .with_state(bus)
}

async fn authorise(token: Arc<Token>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match given.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(given) if token.is(given) => next.run(request).await,
        _ => Error::Unauthorised { owner: String::from("this address") }.into_response(),
    }
}

async fn publish(State(bus): State<Bus>, body: Bytes) -> Result<axum::Json<Published>, Error> {
    let syntax = |cause: serde_json::Error| crate::envelope::Error::Syntax { detail: cause.to_string() };
    let events: Vec<&RawValue> = serde_json::from_slice(&body).map_err(syntax)?;
    let message = |event: &RawValue| Message::from_json(body.slice_ref(event.get().as_bytes()));
    let messages = events.into_iter().map(message).collect::<Result<Vec<_>, _>>()?;
    let position = bus.publish_messages(messages).await?;
    Ok(axum::Json(Published { position }))
}

#[derive(Debug, Deserialize)]
struct SubscribeQuery {
    patterns: String,
    start: Option<String>,
    /// The stream before this one was cut; what it handed out need not be done.
    #[serde(default)]
    takes_on: bool,
}

async fn subscribe(
    State(bus): State<Bus>,
    Path(group): Path<String>,
    Query(query): Query<SubscribeQuery>,
) -> Result<Response, Error> {
    let patterns = Patterns::new(query.patterns.split(','))?;
    let start = match query.start.as_deref() {
        None => Start::Acknowledged,
        Some(text) => parse_start(text).ok_or_else(|| pattern::Error::Syntax {
            pattern: text.chars().take(pattern::KIND_BYTES_MAX).collect(),
            reason: "`start` is acknowledged, beginning, now or resume:BUS:POSITION",
        })?,
    };
    let subscription = bus.subscribe_as(&group, patterns, start, query.takes_on).await?;
    let lines = stream::unfold(Some(Stage::Opening(subscription)), |stage| async move {
        match stage? {
            Stage::Opening(subscription) => {
                Some((Ok(opening(&subscription)), Some(Stage::Events(subscription))))
            }
            Stage::Events(subscription) => chunk(subscription).await,
        }
    });
    let mut response = Body::from_stream(lines).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

enum Stage {
    Opening(Subscription),
    Events(Subscription),
}

fn opening(subscription: &Subscription) -> Bytes {
    let opening = Opening {
        bus: subscription.bus().map(ToString::to_string).unwrap_or_default(),
        session: subscription.session(),
        after: subscription.scanned(),
    };
    let mut line = serde_json::to_vec(&opening).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

type Chunk = (Result<Bytes, Infallible>, Option<Stage>);

/// The next events, or a sign of life; none when the stream is over.
async fn chunk(mut subscription: Subscription) -> Option<Chunk> {
    let bytes = match tokio::time::timeout(HEARTBEAT, subscription.next_batch(CHUNK_EVENTS_MAX)).await {
        Err(_) => through_line(subscription.scanned(), subscription.head()),
        Ok(Ok(batch)) => batch_lines(&batch),
        Ok(Err(Error::Superseded { .. })) => return Some((Ok(Bytes::from_static(SUPERSEDED_LINE)), None)),
        Ok(Err(cause)) => {
            tracing::debug!(%cause, "a stream of the bus ends");
            return None;
        }
    };
    Some((Ok(bytes), Some(Stage::Events(subscription))))
}

async fn acknowledge(
    State(bus): State<Bus>,
    Path(group): Path<String>,
    axum::Json(ack): axum::Json<Ack>,
) -> Result<StatusCode, Error> {
    bus.acknowledge_as(&group, ack.session, ack.position).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn groups(State(bus): State<Bus>) -> Result<Response, Error> {
    Ok(axum::Json(bus.lag().await?).into_response())
}

async fn remove_group(State(bus): State<Bus>, Path(group): Path<String>) -> Result<StatusCode, Error> {
    let removed = bus.remove_group(&group).await?;
    Ok(if removed { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, code, title) = status_of(&self);
        let mut body = ProblemBody {
            title: title.to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: self.to_string(),
            ..ProblemBody::default()
        };
        if let Self::Full { held_bytes, limit_bytes } = self {
            body.held_bytes = Some(held_bytes);
            body.limit_bytes = Some(limit_bytes);
        }
        let mut response = (status, serde_json::to_vec(&body).unwrap_or_default()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

fn status_of(error: &Error) -> (StatusCode, &'static str, &'static str) {
    match error {
        Error::Full { .. } => (StatusCode::SERVICE_UNAVAILABLE, code::FULL, "The bus is full"),
        Error::Batch { .. } => {
            (StatusCode::PAYLOAD_TOO_LARGE, "bus_batch_too_large", "The batch is too large")
        }
        Error::Event(_) => (StatusCode::BAD_REQUEST, "bus_event_invalid", "Not an event that the bus takes"),
        Error::Pattern(_) | Error::Url { .. } | Error::Backend { .. } => {
            (StatusCode::BAD_REQUEST, "bus_pattern_invalid", "Not a subscription that the bus takes")
        }
        Error::Group { .. } => (StatusCode::BAD_REQUEST, "bus_group_invalid", "Not a group name"),
        Error::Groups { .. } => (StatusCode::CONFLICT, "bus_groups_too_many", "Too many groups"),
        Error::Superseded { .. } => {
            (StatusCode::CONFLICT, code::SUPERSEDED, "The group has a newer subscriber")
        }
        Error::Unauthorised { .. } => {
            (StatusCode::UNAUTHORIZED, code::UNAUTHORISED, "The token is missing or wrong")
        }
        Error::Closed | Error::Store(_) | Error::Unavailable { .. } | Error::Refused { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "bus_unavailable", "The bus is not available")
        }
    }
}
