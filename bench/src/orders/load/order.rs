//! One order: two puts and a checkout.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use serde::Deserialize;

use super::OrderId;
use crate::http::{Answer, Http};
use crate::orders::shop::API;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// An accepted order.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) order_id: OrderId,
    /// How long the checkout took.
    pub(crate) checkout: Duration,
    /// When the 202 came.
    pub(crate) at: Instant,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) struct Failure {
    request: &'static str,
    what: String,
    /// The checkout was sent and not answered.
    pub(crate) may_be_placed: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.request, self.what)
    }
}

#[derive(Deserialize)]
struct Accepted {
    order_id: OrderId,
}

/// Puts two products into the cart and buys them.
pub(crate) async fn order(
    http: &Http,
    authorization: &HeaderValue,
    (first, second): (&str, &str),
    key: &str,
) -> Result<Answered, Failure> {
    for path in [first, second] {
        let mut put = http.request(Method::PUT, path, Bytes::from_static(b"{\"quantity\":1}"));
        put.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        let answer = http.send(put).await;
        expect(answer, 200).map_err(|what| Failure { request: "put", what, may_be_placed: false })?;
    }
    let body = Bytes::from_static(b"{\"payment_token\":\"tok_visa\"}");
    let mut checkout = http.request(Method::POST, &format!("{API}/checkout"), body);
    checkout.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
    let failed = |may_be_placed| move |what| Failure { request: "checkout", what, may_be_placed };
    let key = HeaderValue::try_from(key).map_err(|error| error.to_string()).map_err(failed(false))?;
    checkout.headers_mut().insert(IDEMPOTENCY_KEY, key);
    let sent = Instant::now();
    let answer = http.send(checkout).await.map_err(failed(true))?;
    let at = Instant::now();
    // A gateway that gave up waiting does not know either.
    let in_doubt = answer.status >= 500;
    let answer = expect(Ok(answer), 202).map_err(failed(in_doubt))?;
    let accepted: Accepted =
        serde_json::from_slice(&answer.body).map_err(|error| error.to_string()).map_err(failed(true))?;
    Ok(Answered { order_id: accepted.order_id, checkout: at - sent, at })
}

fn expect(answer: Result<Answer, String>, status: u16) -> Result<Answer, String> {
    let answer = answer?;
    if answer.status == status {
        return Ok(answer);
    }
    // The code of the problem document, so that equal refusals count together.
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    Err(format!("{} {}", answer.status, problem["code"].as_str().unwrap_or("without a code")))
}
