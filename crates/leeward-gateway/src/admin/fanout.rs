//! The way to the services' own operator routes.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use http::header::{self, HeaderMap};
use http::{HeaderName, Method, StatusCode};
use leeward_discovery::Upstream;
use leeward_service::identity::{ASSERTION_HEADER, Principal};
use leeward_service::{Problem, code};
use serde::Serialize;
use serde_json::Value;

use super::Admin;
use crate::control::{Answer, Question};
use crate::gateway::NAME;
use crate::path::{EncodedSlash, canonical};

/// Headers of an operator's request that go on to the service.
const PASSED: [HeaderName; 3] =
    [header::CONTENT_TYPE, header::ACCEPT, HeaderName::from_static("x-correlation-id")];

/// One service's `/_leeward/...`.
pub(super) async fn one(
    State(admin): State<Admin>,
    Path((name, path)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let upstream = admin.shared().directory.service(&name).filter(|_| name != NAME);
    let upstream = upstream.ok_or_else(|| Problem::not_found(format!("there is no service `{name}`")))?;
    let target = target(&path, query.as_deref())?;
    let answer = ask(&admin, &upstream, method, &target, &headers, body).await;
    let answer = answer.map_err(|error| {
        Problem::new(StatusCode::BAD_GATEWAY, code::UPSTREAM_UNAVAILABLE).detail(format!("{name}: {error}"))
    })?;
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    for name in [header::CONTENT_TYPE, header::RETRY_AFTER] {
        if let Some(value) = answer.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response.into_response())
}

/// What one service said, or why it said nothing.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Said {
    Answer { status: u16, body: Value },
    Error { error: String },
}

/// The same of every service.
pub(super) async fn all(
    State(admin): State<Admin>,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let target = target(&path, query.as_deref())?;
    let services: Vec<Upstream> = admin
        .shared()
        .directory
        .services()
        .into_iter()
        .filter(|upstream| **upstream.name() != *NAME)
        .collect();
    let said = join_all(services.iter().map(|upstream| async {
        let said = match ask(&admin, upstream, Method::GET, &target, &headers, Bytes::new()).await {
            Ok(answer) => {
                let text = || Value::String(String::from_utf8_lossy(&answer.body).into_owned());
                let body = serde_json::from_slice(&answer.body).unwrap_or_else(|_| text());
                Said::Answer { status: answer.status.as_u16(), body }
            }
            Err(error) => Said::Error { error },
        };
        (upstream.name().to_string(), said)
    }));
    Ok(Json(said.await.into_iter().collect::<BTreeMap<_, _>>()))
}

/// The router decoded the path; it goes on in its one canonical form, and never out of `/_leeward`.
fn target(path: &str, query: Option<&str>) -> Result<String, Problem> {
    let encoded = percent_encoding::utf8_percent_encode(path, PATH).to_string();
    let whole = format!("/_leeward/{encoded}");
    let canonical =
        canonical(&whole, EncodedSlash::Keep).map_err(|error| Problem::malformed(error.to_string()))?;
    if !canonical.starts_with("/_leeward/") {
        return Err(Problem::malformed("the path leaves /_leeward"));
    }
    Ok(match query {
        Some(query) => format!("{canonical}?{query}"),
        None => canonical.into_owned(),
    })
}

/// What must be escaped again in a path that was decoded.
const PATH: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b';');

async fn ask(
    admin: &Admin,
    upstream: &Upstream,
    method: Method,
    path: &str,
    given: &HeaderMap,
    body: Bytes,
) -> Result<Answer, String> {
    let shared = admin.shared();
    let clock = &*shared.clock;
    let mut headers = HeaderMap::new();
    for name in &PASSED {
        if let Some(value) = given.get(name) {
            headers.insert(name, value.clone());
        }
    }
    let minter = admin.minter.as_ref().ok_or("the gateway has no identity to vouch for operators with")?;
    let assertion = minter.mint(&Principal::Operator, upstream.name(), clock.unix_ms());
    headers.insert(ASSERTION_HEADER, assertion.map_err(|error| error.to_string())?);
    let way = shared.service(upstream.name()).map(|service| &service.way);
    admin.control.ask(upstream, Question { method, path, headers, body }, clock, way).await
}
