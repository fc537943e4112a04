//! How far new versions have taken over, and operators who move them.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::{self, HeaderMap};
use leeward_service::Problem;
use serde::{Deserialize, Serialize};

use super::Admin;
use crate::config::hundredths;
use crate::delivery::{Failed, Moving, Order, Refused, State as Progress, show};
use crate::shared::{RouteState, Shared};

/// Somebody else moved it in between: the member `version` says what it is at.
const DELIVERY_MOVED: &str = "delivery_moved";
/// The order is none, or the delivery cannot follow it.
const BAD_ORDER: &str = "bad_order";
/// The order could not be kept for the next start, and was not done.
const NOT_KEPT: &str = "delivery_not_kept";

#[derive(Serialize)]
pub(super) struct View {
    route: String,
    kind: &'static str,
    stable: String,
    candidate: String,
    /// The candidate's.
    share: String,
    /// As the file says.
    begins: String,
    version: u64,
    since_ms: i64,
    config: String,
}

pub(super) async fn all(State(admin): State<Admin>) -> Json<Vec<View>> {
    let shared = admin.shared();
    Json(shared.moving().map(|(route, moving)| view(route, moving, moving.state())).collect())
}

pub(super) async fn one(
    State(admin): State<Admin>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let shared = admin.shared();
    find(&shared, &id).map(|(route, moving)| tagged(route, moving))
}

/// A delivery with its tag: one and the same state.
fn tagged(route: &RouteState, moving: &Moving) -> impl IntoResponse + use<> {
    let state = moving.state();
    ([(header::ETAG, tag(state))], Json(view(route, moving, state)))
}

/// What a state is called in `ETag` and `If-Match`. Not the version alone: where nothing is kept, versions begin anew with each start.
fn tag(state: Progress) -> String {
    format!("\"{}.{}\"", state.version, state.since_ms)
}

/// What an operator wants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    share: Option<String>,
    action: Option<Action>,
    /// The version of the state that it is for.
    expected: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Promote,
    Abort,
}

pub(super) async fn order(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    headers: HeaderMap,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(asked) = asked.map_err(|error| match error {
        JsonRejection::JsonDataError(error) => Problem::unprocessable(BAD_ORDER, error.body_text()),
        error => Problem::malformed(error.body_text()),
    })?;
    let order = read(&asked)?;
    let tag_expected = if_match(&headers)?;
    let reloader = Arc::clone(&admin.reloader);
    // It waits for a reload that is on its way.
    let done = tokio::task::spawn_blocking(move || {
        reloader.steadily(|shared| {
            let (route, moving) = find(shared, &id)?;
            let before = moving.state();
            let expected = expected(asked.expected, tag_expected.as_deref(), before)?;
            let keep = |next| shared.keep_deliveries(Some((moving, next)));
            let after = moving.order(order, expected, shared.clock.unix_ms(), keep).map_err(problem)?;
            let (from, to) = (show(before.share), show(after.share));
            tracing::warn!(route = %id, ?order, from, to, version = after.version, "an operator moves a delivery");
            Ok(tagged(route, moving))
        })
    });
    done.await.unwrap_or_else(|error| Err(Problem::internal(&error)))
}

/// The tag that an order is for, if it names one.
fn if_match(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let one = value.to_str().ok().filter(|text| text.starts_with('"') && !text.contains(','));
    let is_alone = headers.get_all(header::IF_MATCH).iter().count() == 1;
    let tag = one.filter(|_| is_alone);
    let detail = "`If-Match` names one tag, as `GET` of the delivery gave it in `ETag`";
    tag.map(|tag| Some(tag.to_owned())).ok_or_else(|| Problem::malformed(detail))
}

/// The version that an order is for, said by the body, by the tag, or by both.
fn expected(version: Option<u64>, tag_expected: Option<&str>, now: Progress) -> Result<Option<u64>, Problem> {
    match tag_expected {
        Some(expected) if *expected != tag(now) => {
            let refused = Refused::Moved { version: now.version };
            Err(Problem::new(StatusCode::PRECONDITION_FAILED, DELIVERY_MOVED)
                .detail(refused.to_string())
                .with("version", now.version))
        }
        Some(_) => Ok(Some(version.unwrap_or(now.version))),
        None => Ok(version),
    }
}

fn read(asked: &Asked) -> Result<Order, Problem> {
    match (&asked.share, asked.action) {
        (Some(share), None) => hundredths(share).map(Order::Share).ok_or_else(|| {
            let detail = format!("`{share}` is not a share: write 0% to 100%, by hundredths of a percent");
            Problem::unprocessable(BAD_ORDER, detail)
        }),
        (None, Some(Action::Promote)) => Ok(Order::Promote),
        (None, Some(Action::Abort)) => Ok(Order::Abort),
        _ => Err(Problem::unprocessable(BAD_ORDER, "give either `share` or `action`")),
    }
}

fn problem(failed: Failed) -> Problem {
    let detail = failed.to_string();
    match failed {
        Failed::Refused(Refused::Moved { version }) => {
            Problem::conflict(DELIVERY_MOVED, detail).with("version", version)
        }
        Failed::Refused(Refused::Unexpected | Refused::Share(_)) => Problem::unprocessable(BAD_ORDER, detail),
        Failed::Kept(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, NOT_KEPT).detail(detail),
    }
}

fn find<'s>(shared: &'s Shared, id: &str) -> Result<(&'s RouteState, &'s Moving), Problem> {
    let route = shared.routes.iter().find(|route| *route.config.id == *id);
    let found = route.and_then(|route| Some((route, route.moving()?)));
    found.ok_or_else(|| Problem::not_found(format!("there is no delivery of a route `{id}`")))
}

fn view(route: &RouteState, moving: &Moving, state: Progress) -> View {
    let [stable, candidate] = &moving.services;
    View {
        route: route.config.id.to_string(),
        kind: moving.kind.as_str(),
        stable: stable.to_string(),
        candidate: candidate.to_string(),
        share: show(state.share),
        begins: show(moving.begins),
        version: state.version,
        since_ms: state.since_ms,
        config: route.config.origin.to_string(),
    }
}
