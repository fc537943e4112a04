//! The provider's HTTP interface.

use axum::Json;
use axum::extract::{Path, Query, State};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use shop_contracts::provider::{Authorise, Capture, Faults, LedgerPage, Operation, Refund, Void};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::Refusal;
use crate::desk::Desk;
use crate::ledger::{self, Request};

/// The longest key that is taken.
const KEY_MAX: usize = 200;

/// Lines of a ledger page when nobody says, and at most.
const LEDGER_LIMIT: u32 = 1000;

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(authorise))
        .routes(routes!(capture))
        .routes(routes!(void))
        .routes(routes!(refund))
        .routes(routes!(operation))
        .routes(routes!(read_ledger))
        .routes(routes!(faults, set_faults))
        .routes(routes!(live))
        .routes(routes!(ready))
}

/// Sets money aside.
#[utoipa::path(post, path = "/v1/authorisations", request_body = Authorise,
    params(("Idempotency-Key" = String, Header, description = "at most 200 visible ASCII characters")),
    responses((status = 200, body = Operation), (status = 400), (status = 422), (status = 500), (status = 503)))]
async fn authorise(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Json(request): Json<Authorise>,
) -> Result<Json<Operation>, Refusal> {
    if !request.token.starts_with("tok_") || request.amount.amount_minor <= 0 {
        return Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "a token and an amount above zero",
        ));
    }
    perform(desk, &headers, Request::Authorise(request)).await
}

/// Takes money that is set aside.
#[utoipa::path(post, path = "/v1/captures", request_body = Capture,
    params(("Idempotency-Key" = String, Header, description = "at most 200 visible ASCII characters")),
    responses((status = 200, body = Operation), (status = 400), (status = 422), (status = 500), (status = 503)))]
async fn capture(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Json(request): Json<Capture>,
) -> Result<Json<Operation>, Refusal> {
    perform(desk, &headers, Request::Capture(request)).await
}

/// Gives an authorisation up, also one that never came.
#[utoipa::path(post, path = "/v1/voids", request_body = Void,
    params(("Idempotency-Key" = String, Header, description = "at most 200 visible ASCII characters")),
    responses((status = 200, body = Operation), (status = 400), (status = 422), (status = 500), (status = 503)))]
async fn void(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Json(request): Json<Void>,
) -> Result<Json<Operation>, Refusal> {
    perform(desk, &headers, Request::Void(request)).await
}

/// Gives money back.
#[utoipa::path(post, path = "/v1/refunds", request_body = Refund,
    params(("Idempotency-Key" = String, Header, description = "at most 200 visible ASCII characters")),
    responses((status = 200, body = Operation), (status = 400), (status = 422), (status = 500), (status = 503)))]
async fn refund(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Json(request): Json<Refund>,
) -> Result<Json<Operation>, Refusal> {
    perform(desk, &headers, Request::Refund(request)).await
}

async fn perform(desk: Desk, headers: &HeaderMap, request: Request) -> Result<Json<Operation>, Refusal> {
    let key = headers
        .get(shop_contracts::IDEMPOTENCY_KEY)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(Refusal::bad_request("key_required", "send an Idempotency-Key of 1 to 200 characters"));
    }
    desk.perform(key.to_owned(), request).await.map(Json)
}

/// What became of the operation with this key; also after the key's life.
#[utoipa::path(get, path = "/v1/operations/{key}", params(("key" = String, Path)),
    responses((status = 200, body = Operation), (status = 404), (status = 503)))]
async fn operation(State(desk): State<Desk>, Path(key): Path<String>) -> Result<Json<Operation>, Refusal> {
    desk.find(key).await?.map(Json).ok_or_else(|| Refusal::not_found("no operation has this key"))
}

/// Where a page of the ledger starts.
#[derive(Debug, Deserialize, IntoParams)]
struct LedgerQuery {
    /// The `seq` after which the page starts.
    #[serde(default)]
    after: i64,
    /// How many lines, 1 to 1000.
    limit: Option<u32>,
}

/// The ledger, for whoever checks the books.
#[utoipa::path(get, path = "/ledger", params(LedgerQuery), responses((status = 200, body = LedgerPage), (status = 503)))]
async fn read_ledger(
    State(desk): State<Desk>,
    Query(query): Query<LedgerQuery>,
) -> Result<Json<LedgerPage>, Refusal> {
    let limit = query.limit.unwrap_or(LEDGER_LIMIT).clamp(1, LEDGER_LIMIT);
    let page = desk.db().read(async move |tx| ledger::page(tx, query.after, limit).await).await?;
    Ok(Json(page))
}

/// The faults in force.
#[utoipa::path(get, path = "/faults", responses((status = 200, body = Faults)))]
async fn faults(State(desk): State<Desk>) -> Json<Faults> {
    Json(desk.faults())
}

/// Puts faults in force, all of them at once: what is not named is off.
#[utoipa::path(put, path = "/faults", request_body = Faults,
    responses((status = 200, body = Faults), (status = 403, description = "faults are not allowed here"), (status = 422)))]
async fn set_faults(State(desk): State<Desk>, Json(faults): Json<Faults>) -> Result<Json<Faults>, Refusal> {
    desk.set_faults(faults)?;
    Ok(Json(desk.faults()))
}

#[derive(Debug, Serialize)]
struct Alive {
    status: &'static str,
}

/// Whether the process makes progress.
#[utoipa::path(get, path = "/health/live", responses((status = 200)))]
async fn live() -> Json<Alive> {
    Json(Alive { status: "up" })
}

/// Whether operations are taken.
#[utoipa::path(get, path = "/health/ready", responses((status = 200)))]
async fn ready() -> Json<Alive> {
    Json(Alive { status: "up" })
}
