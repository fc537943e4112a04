//! What the checkout calls, and nobody else.

use axum::extract::State;
use http::HeaderMap;
use leeward_resilience::Priority;
use leeward_service::{
    Access, Api, Cause, Invalid, Json, Path, Problem, ProblemBody, RouteOptions, Until, header_text, routes,
};
use shop_contracts::payments::{
    AuthoriseRequest, CaptureRequest, KeyedPayment, OperationKind, Payment, VoidRequest,
};
use shop_contracts::{IDEMPOTENCY_KEY, problem};

use crate::book::{self, By};
use crate::desk::Desk;
use crate::provider::CallCx;
use crate::{Error, authorise, capture, error, void};

/// The service that owns the checkout.
const CALLERS: Access = Access::Services(&["orders"]);

/// The longest key that is taken: a saga's id, step and attempt fit well.
const KEY_BYTES_MAX: usize = 190;

pub(crate) fn api() -> Api<Desk> {
    let critical = RouteOptions { priority: Priority::Critical, ..RouteOptions::default() };
    Api::new()
        .add_with(CALLERS, critical, routes!(authorise))
        .add_with(CALLERS, critical, routes!(capture))
        .add_with(CALLERS, critical, routes!(void))
        .add_with(CALLERS, critical, routes!(by_key))
}

/// Set money aside for an order.
#[utoipa::path(post, path = "/internal/payments/authorise", tag = "internal", request_body = AuthoriseRequest,
    params(("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, description = "authorised", body = Payment),
        (status = 402, description = "card_declined", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "authorisation_voided", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "invalid, idempotency_key_reused", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "provider_unavailable: nothing was done",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 504, description = "provider_unknown: ask again with the same key",
            body = ProblemBody, content_type = "application/problem+json")))]
async fn authorise(
    State(desk): State<Desk>,
    Cause(correlation): Cause,
    Until(deadline): Until,
    headers: HeaderMap,
    Json(request): Json<AuthoriseRequest>,
) -> Result<Json<Payment>, Problem> {
    let key = key(&headers)?;
    Invalid::default()
        .check(request.amount.amount_minor > 0, "amount.amount_minor", "must be above zero")
        .check(request.payment_token.starts_with("tok_"), "payment_token", "must be a token of the provider")
        .finish()?;
    authorise::authorise(&desk, key, request, CallCx { correlation, deadline }).await.map(Json)
}

/// Take the money that is set aside.
#[utoipa::path(post, path = "/internal/payments/capture", tag = "internal", request_body = CaptureRequest,
    params(("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, description = "captured", body = Payment),
        (status = 404, description = "no such payment", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "payment_status, capture_refused", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "provider_unavailable: nothing was done",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 504, description = "provider_unknown: ask again with the same key",
            body = ProblemBody, content_type = "application/problem+json")))]
async fn capture(
    State(desk): State<Desk>,
    Cause(correlation): Cause,
    Until(deadline): Until,
    headers: HeaderMap,
    Json(request): Json<CaptureRequest>,
) -> Result<Json<Payment>, Problem> {
    let key = key(&headers)?;
    capture::capture(&desk, key, request.payment_id, CallCx { correlation, deadline }).await.map(Json)
}

/// Give an authorisation up, also one that was never heard of. Repeating it is safe: the authorisation's key is its own.
#[utoipa::path(post, path = "/internal/payments/void", tag = "internal", request_body = VoidRequest,
    responses(
        (status = 200, description = "there is no authorisation any more", body = Payment),
        (status = 409, description = "payment_status: the money is taken", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "provider_unavailable: nothing was done",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 504, description = "provider_unknown: ask again", body = ProblemBody, content_type = "application/problem+json")))]
async fn void(
    State(desk): State<Desk>,
    Cause(correlation): Cause,
    Until(deadline): Until,
    Json(request): Json<VoidRequest>,
) -> Result<Json<Payment>, Problem> {
    let length = request.authorisation_key.len();
    Invalid::default()
        .check((1..=KEY_BYTES_MAX).contains(&length), "authorisation_key", "must have 1 to 190 characters")
        .finish()?;
    void::void(&desk, request, CallCx { correlation, deadline }).await.map(Json)
}

/// What a key stands for: the payment as it stands now.
#[utoipa::path(get, path = "/internal/payments/by-key/{key}", tag = "internal",
    params(("key" = String, Path, description = "an Idempotency-Key, percent-encoded")),
    responses((status = 200, body = KeyedPayment),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
async fn by_key(State(desk): State<Desk>, Path(key): Path<String>) -> Result<Json<KeyedPayment>, Problem> {
    let found = desk
        .db
        .read(async move |tx| {
            if let Some(record) = book::find(tx, By::AuthorisationKey, &key).await? {
                return Ok(Some((OperationKind::Authorise, record)));
            }
            let captured = book::find(tx, By::CaptureKey, &key).await?;
            Ok::<_, Error>(captured.map(|record| (OperationKind::Capture, record)))
        })
        .await?;
    let (kind, record) = found.ok_or_else(error::not_found)?;
    Ok(Json(KeyedPayment { kind, payment: record.into_payment() }))
}

fn key(headers: &HeaderMap) -> Result<String, Problem> {
    match header_text(headers, IDEMPOTENCY_KEY) {
        Some(key) if key.len() <= KEY_BYTES_MAX => Ok(key.to_owned()),
        _ => Err(Problem::new(http::StatusCode::BAD_REQUEST, problem::IDEMPOTENCY_KEY_REQUIRED)
            .detail("send an Idempotency-Key of 1 to 190 characters")),
    }
}
