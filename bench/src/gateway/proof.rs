//! That an engine with policies did their work on every request: by what the upstream and the clients saw, and by what it
//! says itself.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderValue, Method, header};

use super::case::Size;
use super::driver::Seen;
use crate::http::{Answer, Http};
use crate::metrics::sum;

/// A single answer that takes longer than this will not come.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Every request reached the upstream with an identity, and every answer told of a limit.
pub(super) fn work(completed: u64, limited: u64, seen: Seen) -> Vec<String> {
    let mut faults = Vec::new();
    if seen.requests != completed || seen.identified != completed {
        faults.push(format!(
            "{completed} answers, but {} requests at the upstream, {} of them with an identity",
            seen.requests, seen.identified
        ));
    }
    if limited != completed {
        faults.push(format!("{completed} answers, but {limited} with a rate limit"));
    }
    faults
}

/// A token with a wrong signature gets 401.
pub(super) fn bad_token(listen: SocketAddr, size: Size, token: &str) -> Result<Option<String>, String> {
    let status = ask(listen, size.path(), Some(token))?.status;
    Ok((status != 401).then(|| format!("a bad token got {status} in place of 401")))
}

/// What the gateway counted.
#[derive(Debug)]
pub(super) struct Counted {
    requests: f64,
    /// Answers of its own.
    refusals: f64,
}

impl Counted {
    pub(super) fn read(admin: SocketAddr) -> Result<Self, String> {
        let answer = ask(admin, "/metrics", None)?;
        if answer.status != 200 {
            return Err(format!("/metrics answers {}", answer.status));
        }
        let text = answer.text();
        Ok(Self {
            requests: sum(&text, &["http_requests_total"]),
            refusals: sum(&text, &["leeward_gateway_refusals_total"]),
        })
    }

    /// After `completed` answers and one bad token.
    #[allow(clippy::cast_precision_loss, reason = "counts of a run of seconds are far below 2^52")]
    pub(super) fn judge(&self, before: &Self, completed: u64) -> Option<String> {
        let (requests, refusals) = (self.requests - before.requests, self.refusals - before.refusals);
        let right = requests - (completed + 1) as f64 == 0.0 && refusals - 1.0 == 0.0;
        (!right).then(|| {
            format!("{completed} answers and one bad token, but it counted {requests} requests and {refusals} refusals")
        })
    }
}

fn ask(address: SocketAddr, path: &str, token: Option<&str>) -> Result<Answer, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let http = Http::new(address)?;
        let mut request = http.request(Method::GET, path, "");
        if let Some(token) = token {
            let value =
                HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| error.to_string())?;
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let answer = tokio::time::timeout(ANSWER_WITHIN, http.send(request)).await;
        answer.map_err(|_| format!("{address}{path}: no answer within {ANSWER_WITHIN:?}"))?
    })
}
