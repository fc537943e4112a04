//! What became of orders.

use axum::extract::State;
use leeward_service::{Access, Api, Caller, Json, Path, Problem, ProblemBody, Query, routes};
use shop_contracts::orders::{Order, OrderSummary};
use shop_contracts::{Page, PageQuery};

use super::{before, user_id};
use crate::desk::Desk;
use crate::{book, error};

pub(crate) fn api() -> Api<Desk> {
    Api::new().add(Access::User, routes!(list_orders)).add(Access::User, routes!(get_order))
}

/// The caller's orders, newest first. The list follows the orders' events and may be some milliseconds behind.
#[utoipa::path(get, path = "/orders", tag = "orders", params(PageQuery), responses((status = 200, body = Page<OrderSummary>)))]
async fn list_orders(
    State(desk): State<Desk>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<OrderSummary>>, Problem> {
    let (user_id, limit) = (user_id(&caller)?, query.limit()?);
    let before = before(query);
    let history = desk.history.clone();
    let orders = desk.db.read(async move |tx| history.list(tx, &user_id, &before, limit + 1).await).await?;
    Ok(Json(Page::cut(orders, limit, |order: &OrderSummary| order.order_id.to_string())))
}

/// One order, as it stands.
#[utoipa::path(get, path = "/orders/{id}", tag = "orders", params(("id" = String, Path)),
    responses((status = 200, body = Order),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
async fn get_order(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Order>, Problem> {
    let user_id = user_id(&caller)?;
    let order = desk.db.read(async move |tx| book::find(tx, &id, &user_id).await).await?;
    order.map(Json).ok_or_else(error::no_order)
}
