//! The routes of the inventory.

use axum::extract::State;
use http::StatusCode;
use leeward_service::{Access, Api, Caller, Cause, Invalid, Json, Path, Problem, Query, routes};
use serde::Deserialize;
use shop_contracts::{Page, PageQuery};
use utoipa::ToSchema;

use crate::returns::ReturnEntry;
use crate::service::Inventory;
use crate::stock::Level;

/// The most of a product that a shelf holds.
const ON_HAND_MAX: i64 = 1_000_000_000;

/// Every route with who may call it.
pub(crate) fn api() -> Api<Inventory> {
    Api::new()
        .add(Access::Permission("inventory:read"), routes!(list))
        .add(Access::Permission("inventory:read"), routes!(level))
        .add(Access::Permission("inventory:write"), routes!(set_level))
        .add(Access::Permission("inventory:read"), routes!(returns))
        .add(Access::Permission("inventory:write"), routes!(receive))
}

/// What is on the shelf.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetLevel {
    /// On the shelf, those set aside included: 0 to a thousand million.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub(crate) on_hand: i64,
}

/// The levels of all products.
#[utoipa::path(get, path = "/inventory", params(PageQuery), responses((status = 200, body = Page<Level>)))]
async fn list(
    State(inventory): State<Inventory>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Level>>, Problem> {
    let limit = page.limit()?;
    let levels = inventory.levels(page.after().to_owned(), limit + 1).await?;
    Ok(Json(Page::cut(levels, limit, |level: &Level| level.product_id.to_string())))
}

/// The level of one product.
#[utoipa::path(get, path = "/inventory/{product_id}",
    params(("product_id" = String, Path, description = "the product")),
    responses((status = 200, body = Level), (status = 404, description = "not_found")))]
async fn level(
    State(inventory): State<Inventory>,
    Path(product_id): Path<String>,
) -> Result<Json<Level>, Problem> {
    Ok(Json(inventory.level(product_id).await?))
}

/// Sets what is on the shelf, after a delivery or a count.
#[utoipa::path(put, path = "/inventory/{product_id}", request_body = SetLevel,
    params(("product_id" = String, Path, description = "the product")),
    responses((status = 200, body = Level), (status = 409, description = "conflict: more is set aside"),
        (status = 422, description = "invalid")))]
async fn set_level(
    State(inventory): State<Inventory>,
    caller: Caller,
    Path(product_id): Path<String>,
    Json(request): Json<SetLevel>,
) -> Result<Json<Level>, Problem> {
    Invalid::default()
        .check((0..=ON_HAND_MAX).contains(&request.on_hand), "on_hand", "must be 0 to 1000000000")
        .check((1..=64).contains(&product_id.len()), "product_id", "must have 1 to 64 bytes")
        .finish()?;
    let by = caller.user_id()?.to_string();
    Ok(Json(inventory.set_level(product_id, request.on_hand, by).await?))
}

/// The returns that the warehouse knows of.
#[utoipa::path(get, path = "/inventory/returns", params(PageQuery), responses((status = 200, body = Page<ReturnEntry>)))]
async fn returns(
    State(inventory): State<Inventory>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<ReturnEntry>>, Problem> {
    let limit = page.limit()?;
    let entries = inventory.returns(page.after().to_owned(), limit + 1).await?;
    Ok(Json(Page::cut(entries, limit, |entry: &ReturnEntry| entry.return_id.to_string())))
}

/// The goods of a return have arrived: they go back on the shelf, and the refund becomes due.
#[utoipa::path(post, path = "/inventory/returns/{return_id}/receive",
    params(("return_id" = String, Path, description = "the return")),
    responses((status = 204), (status = 404, description = "not_found"),
        (status = 409, description = "conflict: the return has ended")))]
async fn receive(
    State(inventory): State<Inventory>,
    Cause(cause): Cause,
    Path(return_id): Path<String>,
) -> Result<StatusCode, Problem> {
    inventory.receive(return_id, cause).await?;
    Ok(StatusCode::NO_CONTENT)
}
