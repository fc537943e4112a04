//! What the gateway answers about itself on the public side: health, in states only. Metrics, which name every route and
//! service, are the operators' side's.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use crate::address::Addresses;
use crate::body::Download;
use crate::health;
use crate::refusal::{Refusal, Stage, code};
use crate::router::Methods;
use crate::shared::Shared;

/// The paths that [`answer`] knows: no route gets a GET or HEAD of them.
pub(crate) const OWN_PATHS: [&str; 4] = ["/health/live", "/health/ready", "/ready", "/health"];

/// The answer, if the path is one of the gateway's own.
pub(super) fn answer(shared: &Shared, method: &Method, path: &str) -> Option<Response<Download>> {
    if *method != Method::GET && *method != Method::HEAD {
        return None;
    }
    match path {
        "/health/live" => Some(json(StatusCode::OK, Bytes::from_static(b"{\"status\":\"live\"}"))),
        "/health/ready" | "/ready" => {
            let ready = health::is_ready(shared);
            let (status, body): (_, &[u8]) = if ready {
                (StatusCode::OK, b"{\"status\":\"ready\"}")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, b"{\"status\":\"not ready\"}")
            };
            Some(json(status, Bytes::from_static(body)))
        }
        "/health" => {
            let report = health::report(shared);
            let status = if report.status == health::State::Down {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::OK
            };
            Some(json(status, Bytes::from(serde_json::to_vec(&report.states()).unwrap_or_default())))
        }
        _ => None,
    }
}

/// Whether the client's address may come.
pub(super) fn admit(addresses: &Addresses, client: IpAddr) -> Result<(), Refusal> {
    if addresses.admit(client) { Ok(()) } else { Err(address_refused()) }
}

fn address_refused() -> Refusal {
    let detail = "requests from this address are not taken here";
    Refusal::new(StatusCode::FORBIDDEN, code::ADDRESS_REFUSED, Stage::Address, detail)
        .hint("`allow` and `deny` of the configuration, or of the route")
}

/// An OPTIONS request that may go no further is answered here, one that may is one step nearer to its end (RFC 9110, 7.6.2).
pub(super) fn last_stop(head: &mut Parts, allow: Methods) -> Option<Response<Download>> {
    if head.method != Method::OPTIONS {
        return None;
    }
    let hops = head.headers.get_mut(header::MAX_FORWARDS)?;
    let left: u64 = hops.to_str().ok()?.parse().ok()?;
    if let Some(left) = left.checked_sub(1) {
        *hops = HeaderValue::from(left);
        return None;
    }
    let mut response = Response::new(Download::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::try_from(allow.to_string()).ok()?);
    Some(response)
}

fn json(status: StatusCode, body: Bytes) -> Response<Download> {
    let mut response = Response::new(Download::Own(Some(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
