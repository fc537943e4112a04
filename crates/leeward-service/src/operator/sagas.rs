//! Sagas: what is under way, and what an operator decides about one that cannot go on by itself.

use axum::extract::State;
use leeward_saga::Sagas;
use leeward_saga::operator::{Detail, Filter, Page, Summary};
use serde::{Deserialize, Serialize};
use utoipa_axum::routes;

use crate::api::Api;
use crate::builtin::Host;
use crate::extract::{Json, Path, Query};
use crate::identity::Caller;
use crate::problem::{Invalid, Problem};

pub(super) fn api() -> Api<Host> {
    super::operator(routes!(list))
        .merge(super::operator(routes!(show)))
        .merge(super::operator(routes!(retry)))
        .merge(super::operator(routes!(skip)))
        .merge(super::operator(routes!(mark_done)))
}

/// Which sagas, and which part of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    saga: Option<String>,
    status: Option<leeward_saga::Status>,
    after: Option<i64>,
    limit: Option<u16>,
}

/// A page of sagas, the newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SagaPage {
    #[schema(value_type = Vec<Object>)]
    items: Vec<Summary>,
    /// `after` of the next page; none at the end.
    next: Option<i64>,
}

/// The sagas of this service.
#[utoipa::path(get, path = "/_leeward/sagas", tag = "operator",
    params(("saga" = Option<String>, Query), ("status" = Option<String>, Query), ("after" = Option<i64>, Query),
        ("limit" = Option<u16>, Query)),
    responses((status = 200, body = SagaPage)))]
async fn list(State(host): State<Host>, Query(which): Query<Which>) -> Result<Json<SagaPage>, Problem> {
    // A service without sagas has none: whoever asks all services gets a list from each.
    let Some(sagas) = &host.sagas else { return Ok(Json(SagaPage { items: Vec::new(), next: None })) };
    let page = Page { after: which.after, limit: which.limit.unwrap_or(Page::default().limit) };
    let listing = sagas.list(Filter { saga: which.saga, status: which.status }, page).await?;
    Ok(Json(SagaPage { items: listing.sagas, next: listing.next }))
}

/// All about one saga: its state, its history, its signals.
#[utoipa::path(get, path = "/_leeward/sagas/{id}", tag = "operator", params(("id" = String, Path)),
    responses((status = 200, body = Object)))]
async fn show(State(host): State<Host>, Path(id): Path<String>) -> Result<Json<Detail>, Problem> {
    Ok(Json(sagas(&host, &id)?.show(&id).await?))
}

/// Why an operator decides so.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Decision {
    /// Needed to skip or to mark as done: it stands in the saga's history.
    reason: Option<String>,
}

impl Decision {
    fn reason(&self) -> Result<&str, Problem> {
        let reason = self.reason.as_deref().unwrap_or_default().trim();
        Invalid::default()
            .check(!reason.is_empty(), "reason", "say why: it stands in the history")
            .finish()?;
        Ok(reason)
    }
}

/// What the saga is in now.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Decided {
    #[schema(value_type = String)]
    status: leeward_saga::Status,
}

/// Tries the current step again now.
#[utoipa::path(post, path = "/_leeward/sagas/{id}/retry", tag = "operator", params(("id" = String, Path)),
    request_body = Decision, responses((status = 200, body = Decided)))]
async fn retry(
    State(host): State<Host>,
    caller: Caller,
    Path(id): Path<String>,
    Json(_why): Json<Decision>,
) -> Result<Json<Decided>, Problem> {
    let status = sagas(&host, &id)?.retry(&id).await?;
    Ok(decided(&caller, &id, "retry", status))
}

/// Goes on as if the current step had nothing to do.
#[utoipa::path(post, path = "/_leeward/sagas/{id}/skip", tag = "operator", params(("id" = String, Path)),
    request_body = Decision, responses((status = 200, body = Decided)))]
async fn skip(
    State(host): State<Host>,
    caller: Caller,
    Path(id): Path<String>,
    Json(why): Json<Decision>,
) -> Result<Json<Decided>, Problem> {
    let status = sagas(&host, &id)?.skip(&id, why.reason()?).await?;
    Ok(decided(&caller, &id, "skip", status))
}

/// Goes on as if the current step had just succeeded: somebody did it by hand.
#[utoipa::path(post, path = "/_leeward/sagas/{id}/mark_done", tag = "operator", params(("id" = String, Path)),
    request_body = Decision, responses((status = 200, body = Decided)))]
async fn mark_done(
    State(host): State<Host>,
    caller: Caller,
    Path(id): Path<String>,
    Json(why): Json<Decision>,
) -> Result<Json<Decided>, Problem> {
    let status = sagas(&host, &id)?.mark_done(&id, why.reason()?).await?;
    Ok(decided(&caller, &id, "mark_done", status))
}

fn decided(caller: &Caller, saga: &str, verb: &str, status: leeward_saga::Status) -> Json<Decided> {
    tracing::info!(saga, verb, %status, via = caller.issuer(), "an operator decided");
    Json(Decided { status })
}

fn sagas<'a>(host: &'a Host, id: &str) -> Result<&'a Sagas, Problem> {
    host.sagas.as_ref().ok_or_else(|| Problem::not_found(format!("there is no saga `{id}`")))
}
