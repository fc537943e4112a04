//! How far new versions have taken over, and operators who move them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use leeward_resilience::config::units::show_percentage;
use leeward_service::Problem;
use serde::{Deserialize, Serialize};

use super::Admin;
use crate::config::hundredths;
use crate::delivery::{Moving, Order, Refused};
use crate::shared::{Answers, RouteState, Shared};
use crate::split::WHOLE;

/// Somebody else moved it in between: the member `version` says what it is at.
const DELIVERY_MOVED: &str = "delivery_moved";
/// The order is none, or the delivery cannot follow it.
const BAD_ORDER: &str = "bad_order";

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
    Json(shared.routes.iter().filter_map(|route| Some(view(route, moving(route)?))).collect())
}

pub(super) async fn one(State(admin): State<Admin>, Path(id): Path<String>) -> Result<Json<View>, Problem> {
    let shared = admin.shared();
    find(&shared, &id).map(|(route, moving)| Json(view(route, moving)))
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
    Json(asked): Json<Asked>,
) -> Result<Json<View>, Problem> {
    let order = read(&asked)?;
    let reloader = Arc::clone(&admin.reloader);
    // It waits for a reload that is on its way.
    let done = tokio::task::spawn_blocking(move || {
        reloader.steadily(|shared| {
            let (route, moving) = find(shared, &id)?;
            let before = moving.state();
            let after = moving.order(order, asked.expected, shared.clock.unix_ms()).map_err(problem)?;
            let (from, to) = (show(before.share), show(after.share));
            tracing::warn!(route = %id, ?order, from, to, version = after.version, "an operator moves a delivery");
            Ok(Json(view(route, moving)))
        })
    });
    done.await.unwrap_or_else(|error| Err(Problem::internal(&error)))
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

fn problem(refused: Refused) -> Problem {
    let detail = refused.to_string();
    match refused {
        Refused::Moved { version } => Problem::conflict(DELIVERY_MOVED, detail).with("version", version),
        Refused::Unexpected | Refused::Share(_) => Problem::unprocessable(BAD_ORDER, detail),
    }
}

fn moving(route: &RouteState) -> Option<&Moving> {
    match &route.answers {
        Answers::OneOf(dealt) => dealt.moving.as_deref(),
        Answers::Gateway | Answers::Service(_) => None,
    }
}

fn find<'s>(shared: &'s Shared, id: &str) -> Result<(&'s RouteState, &'s Moving), Problem> {
    let route = shared.routes.iter().find(|route| *route.config.id == *id);
    let found = route.and_then(|route| Some((route, moving(route)?)));
    found.ok_or_else(|| Problem::not_found(format!("there is no delivery of a route `{id}`")))
}

fn view(route: &RouteState, moving: &Moving) -> View {
    let state = moving.state();
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

fn show(share: u32) -> String {
    show_percentage(f64::from(share) / f64::from(WHOLE))
}
