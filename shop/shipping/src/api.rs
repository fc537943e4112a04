//! The routes of shipping.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use leeward_resilience::Clock;
use leeward_service::{Access, Api, Caller, Json, Path, Problem, Query, code, routes};
use leeward_store::{Db, ReadTx, Tx};
use serde::Deserialize;
use shop_contracts::{Page, PageQuery};
use utoipa::ToSchema;

use crate::shipments::{self, Shipment, Status, Tracking};

/// The service's parts, shared by all handlers.
#[derive(Clone, Debug)]
pub(crate) struct Shipping {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Every route with who may call it.
pub(crate) fn api() -> Api<Shipping> {
    Api::new()
        .add(Access::User, routes!(list))
        .add(Access::User, routes!(one))
        .add(Access::Permission("shipments:write"), routes!(set_status))
        .add(Access::Anyone, routes!(track))
}

/// How far a shipment has come.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetStatus {
    /// The new status; a shipment only goes forward.
    status: Status,
}

/// The caller's shipments, oldest first.
#[utoipa::path(get, path = "/shipments", params(PageQuery), responses((status = 200, body = Page<Shipment>)))]
async fn list(
    State(shipping): State<Shipping>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Shipment>>, Problem> {
    let (user, limit) = (caller.user_id()?.clone(), page.limit()?);
    let read = async move |tx: &mut ReadTx| shipments::page(tx, &user, page.after(), limit + 1).await;
    let found = shipping.db.read(read).await?;
    Ok(Json(Page::cut(found, limit, |shipment: &Shipment| shipment.shipment_id.to_string())))
}

/// One of the caller's shipments.
#[utoipa::path(get, path = "/shipments/{shipment_id}",
    params(("shipment_id" = String, Path, description = "the shipment")),
    responses((status = 200, body = Shipment), (status = 404, description = "not_found")))]
async fn one(
    State(shipping): State<Shipping>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Shipment>, Problem> {
    let user = caller.user_id()?.clone();
    let found =
        shipping.db.read(async move |tx: &mut ReadTx| shipments::of_user(tx, &user, &id).await).await?;
    found.map(Json).ok_or_else(no_such_shipment)
}

/// Moves a shipment on.
#[utoipa::path(put, path = "/shipments/{shipment_id}/status", request_body = SetStatus,
    params(("shipment_id" = String, Path, description = "the shipment")),
    responses((status = 204), (status = 404, description = "not_found"),
        (status = 409, description = "conflict: a shipment only goes forward")))]
async fn set_status(
    State(shipping): State<Shipping>,
    Path(id): Path<String>,
    Json(request): Json<SetStatus>,
) -> Result<StatusCode, Problem> {
    let (at_ms, to) = (shipping.clock.unix_ms(), request.status);
    let advance = async move |tx: &mut Tx| {
        let from = shipments::status_of(tx, &id).await?.ok_or_else(no_such_shipment)?;
        if !from.may_become(to) {
            return Err(Problem::conflict(code::CONFLICT, "a shipment only goes forward"));
        }
        if from != to {
            shipments::advance(tx, &id, to, at_ms).await?;
        }
        Ok(StatusCode::NO_CONTENT)
    };
    shipping.db.write(advance).await
}

/// How far a shipment has come, for whoever has its code.
#[utoipa::path(get, path = "/tracking/{code}", params(("code" = String, Path, description = "the tracking code")),
    responses((status = 200, body = Tracking), (status = 404, description = "not_found")))]
async fn track(
    State(shipping): State<Shipping>,
    Path(code): Path<String>,
) -> Result<Json<Tracking>, Problem> {
    let found = shipping.db.read(async move |tx: &mut ReadTx| shipments::track(tx, &code).await).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("there is no shipment with this code"))
}

fn no_such_shipment() -> Problem {
    Problem::not_found("there is no such shipment")
}
