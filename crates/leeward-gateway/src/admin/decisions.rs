//! What became of requests lately, and why.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use leeward_service::Problem;
use serde::{Deserialize, Serialize};

use super::Admin;
use crate::decisions::{Filter, View};

/// Decisions that one answer has, unless more are asked for.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// Which decisions are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    request_id: Option<String>,
    code: Option<String>,
    route: Option<String>,
    service: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Answer {
    /// How many each core keeps; 0: none.
    keep: usize,
    /// Cores that did not say: what they know is missing here.
    cores_silent: usize,
    /// Newest first.
    decisions: Vec<View>,
}

pub(super) async fn find(
    State(admin): State<Admin>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<impl Serialize>, Problem> {
    let Query(wanted) = wanted.map_err(|error| Problem::malformed(error.body_text()))?;
    let Wanted { request_id, code, route, service, limit } = wanted;
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::malformed(format!("`limit` is {limit}: 1 to {LIMIT_MAX} is allowed")));
    }
    let found = admin.decisions.find(&Filter { request_id, code, route, service, limit }).await;
    Ok(Json(Answer {
        keep: admin.shared().config.decisions.keep,
        cores_silent: found.silent,
        decisions: found.decisions.iter().map(View::from).collect(),
    }))
}
