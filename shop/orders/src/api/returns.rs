//! Returns.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use leeward_service::{Access, Api, Caller, Cause, Invalid, Json, Path, Problem, ProblemBody, Query, routes};
use shop_contracts::returns::{OverdueReturn, RequestReturn, Return};
use shop_contracts::{PUBLIC_PREFIX, Page, PageQuery, UserId};

use super::{before, key, user_id};
use crate::cart::LINES_MAX;
use crate::desk::Desk;
use crate::returns::{self, REASON_CHARS_MAX};

pub(crate) fn api() -> Api<Desk> {
    Api::new()
        .add(Access::User, routes!(list_returns, request_return))
        .add(Access::User, routes!(get_return))
        .add(Access::Role("admin"), routes!(list_overdue))
}

/// Ask to send goods of a confirmed order back.
#[utoipa::path(post, path = "/returns", tag = "returns", request_body = RequestReturn,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 128 characters; makes a repeat safe")),
    responses(
        (status = 201, body = Return, headers(("Location" = String, description = "where to see what became of it"))),
        (status = 404, description = "no such order", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "order_status, return_exists", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "invalid, idempotency_key_reused", body = ProblemBody, content_type = "application/problem+json")))]
async fn request_return(
    State(desk): State<Desk>,
    caller: Caller,
    Cause(correlation): Cause,
    headers: HeaderMap,
    Json(request): Json<RequestReturn>,
) -> Result<Response, Problem> {
    let key = key(&headers, &caller, "returns")?;
    Invalid::default()
        .check(request.lines.len() <= LINES_MAX, "lines", "must be 50 lines at most")
        .check(
            request.reason.chars().count() <= REASON_CHARS_MAX,
            "reason",
            "must have 500 characters at most",
        )
        .finish()?;
    let user_id = UserId::from(user_id(&caller)?);
    let opened = returns::open(&desk, key, user_id, request, correlation).await?;
    let location = format!("{PUBLIC_PREFIX}/returns/{}", opened.return_id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(opened)).into_response())
}

/// The caller's returns, newest first.
#[utoipa::path(get, path = "/returns", tag = "returns", params(PageQuery), responses((status = 200, body = Page<Return>)))]
async fn list_returns(
    State(desk): State<Desk>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Return>>, Problem> {
    let (user_id, limit) = (user_id(&caller)?, query.limit()?);
    let before = before(query);
    let listed = desk.db.read(async move |tx| returns::list(tx, &user_id, &before, limit + 1).await).await?;
    Ok(Json(Page::cut(listed, limit, |entry: &Return| entry.return_id.to_string())))
}

/// One return.
#[utoipa::path(get, path = "/returns/{id}", tag = "returns", params(("id" = String, Path)),
    responses((status = 200, body = Return),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
async fn get_return(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Return>, Problem> {
    let user_id = user_id(&caller)?;
    let found = desk.db.read(async move |tx| returns::find(tx, &id, &user_id).await).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("there is no such return"))
}

/// Returns that should have ended by now, the longest overdue first: for administrators, who find out what holds them up.
#[utoipa::path(get, path = "/returns/overdue", tag = "returns", params(PageQuery),
    responses((status = 200, body = Page<OverdueReturn>),
        (status = 400, body = ProblemBody, content_type = "application/problem+json")))]
async fn list_overdue(
    State(desk): State<Desk>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<OverdueReturn>>, Problem> {
    let limit = query.limit()?;
    let after =
        match query.after.as_deref().map(|after| after.split_once('.').map(|(due, id)| (due.parse(), id))) {
            None => (i64::MIN, String::new()),
            Some(Some((Ok(due_at_ms), id))) => (due_at_ms, id.to_owned()),
            Some(_) => return Err(Problem::malformed("after is `next` of the page before")),
        };
    let now_ms = desk.clock.unix_ms();
    let listed = desk
        .db
        .read(async move |tx| returns::overdue(tx, now_ms, (after.0, &after.1), limit + 1).await)
        .await?;
    let cursor = |overdue: &OverdueReturn| format!("{}.{}", overdue.entry.due_at_ms, overdue.entry.return_id);
    Ok(Json(Page::cut(listed, limit, cursor)))
}
