//! The checkout.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use leeward_resilience::Priority;
use leeward_service::{
    Access, Api, Caller, Cause, Invalid, Json, Problem, ProblemBody, RouteOptions, routes,
};
use shop_contracts::orders::{CheckoutAccepted, CheckoutRequest};
use shop_contracts::{PUBLIC_PREFIX, UserId};

use super::{key, required, user_id};
use crate::cart::LINES_MAX;
use crate::checkout;
use crate::desk::Desk;

/// The longest token: a provider's token, never a card number.
const TOKEN_BYTES_MAX: usize = 64;

pub(crate) fn api() -> Api<Desk> {
    let critical = RouteOptions { priority: Priority::Critical, ..RouteOptions::default() };
    Api::new().add_with(Access::User, critical, routes!(checkout))
}

/// Buy what is in the cart.
///
/// The answer comes once the order is safe on disk; stock, payment and shipment follow. Repeated with the same key and
/// body it is the same answer for 24 hours. A repeat that comes while the first request is still at work waits for it,
/// so that `idempotency_in_flight` is never answered here.
#[utoipa::path(post, path = "/checkout", tag = "checkout", request_body = CheckoutRequest,
    params(("Idempotency-Key" = String, Header, description = "1 to 128 characters, the client's own choice")),
    responses(
        (status = 202, body = CheckoutAccepted, headers(("Location" = String, description = "where to see what became of it"))),
        (status = 400, description = "idempotency_key_required", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "cart_empty, price_changed, product_unavailable, mixed_currencies; all with `quote`",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "invalid, idempotency_key_reused", body = ProblemBody, content_type = "application/problem+json")))]
async fn checkout(
    State(desk): State<Desk>,
    caller: Caller,
    Cause(correlation): Cause,
    headers: HeaderMap,
    Json(request): Json<CheckoutRequest>,
) -> Result<Response, Problem> {
    let key = key(&headers, &caller, "checkout")?.ok_or_else(required)?;
    Invalid::default()
        .check(
            is_token(&request.payment_token),
            "payment_token",
            "must be a token of the payment provider: tok_...",
        )
        .check(request.expected_lines.len() <= LINES_MAX, "expected_lines", "must be 50 lines at most")
        .finish()?;
    let user_id = UserId::from(user_id(&caller)?);
    let accepted = checkout::place(&desk, key, user_id, request, correlation).await?;
    let location = format!("{PUBLIC_PREFIX}/orders/{}", accepted.order_id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(accepted)).into_response())
}

fn is_token(token: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    token.len() <= TOKEN_BYTES_MAX
        && token.strip_prefix("tok_").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_no_tokens() {
        for good in ["tok_visa", "tok_1A-b_2"] {
            assert!(is_token(good), "{good}");
        }
        let long = format!("tok_{}", "x".repeat(61));
        for bad in ["", "tok_", "4111111111111111", "4111 1111 1111 1111", "tok_visa card", "TOK_visa", &long]
        {
            assert!(!is_token(bad), "{bad}");
        }
    }
}
