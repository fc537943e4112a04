//! The routes that every service has.

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use leeward_saga::Sagas;
use leeward_telemetry::metrics::CONTENT_TYPE;
use utoipa::openapi::OpenApi;
use utoipa_axum::routes;

use crate::access::Access;
use crate::api::{Api, RouteOptions};
use crate::extract::Json;
use crate::health::{self, Report};
use crate::identity::{Caller, PublicKeys};
use crate::kit::Kit;
use crate::operator::{self, projections::Projections};
use crate::problem::{Problem, code};

/// What these routes work on.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) kit: Kit,
    pub(crate) sagas: Option<Sagas>,
    pub(crate) projections: Arc<Projections>,
    document: Arc<OnceLock<Bytes>>,
}

impl Host {
    pub(crate) fn new(kit: Kit, sagas: Option<Sagas>, projections: Projections) -> Self {
        Self { kit, sagas, projections: Arc::new(projections), document: Arc::default() }
    }

    /// The document is known only when all routes are, these among them.
    pub(crate) fn publish(&self, document: &OpenApi) {
        let json = serde_json::to_vec(document).unwrap_or_default();
        self.document.get_or_init(|| json.into());
    }
}

pub(crate) fn api() -> Api<Host> {
    let anyone = |routes| Api::new().add_with(Access::Anyone, RouteOptions::ESSENTIAL, routes);
    anyone(routes!(live))
        .merge(anyone(routes!(ready)))
        .merge(anyone(routes!(ready_alias)))
        .merge(anyone(routes!(deep)))
        .merge(anyone(routes!(metrics)))
        .merge(anyone(routes!(keys)))
        .merge(anyone(routes!(document)))
        .merge(operator::api())
}

#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = 200, body = Probe)))]
async fn live(State(host): State<Host>) -> Response {
    probe(host.kit.health.is_live())
}

#[utoipa::path(get, path = "/health/ready", tag = "health", responses((status = 200, body = Probe)))]
async fn ready(State(host): State<Host>) -> Response {
    probe(host.kit.health.is_ready())
}

#[utoipa::path(get, path = "/ready", tag = "health", responses((status = 200, body = Probe)))]
async fn ready_alias(State(host): State<Host>) -> Response {
    probe(host.kit.health.is_ready())
}

/// The answer of a probe that is green; a red one is a 503.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
struct Probe {
    state: health::State,
}

fn probe(good: bool) -> Response {
    if good {
        return Json(Probe { state: health::State::Up }).into_response();
    }
    Problem::unavailable("see /health").into_response()
}

/// Every check, with values for operators.
#[utoipa::path(get, path = "/health", tag = "health",
    responses((status = 200, body = Report), (status = 503, body = Report, description = "Down")))]
async fn deep(State(host): State<Host>, caller: Option<Caller>) -> Response {
    let report = host.kit.health.report();
    let status =
        if report.state == health::State::Down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let sees_values = caller.is_some_and(|caller| caller.is_operator());
    (status, Json(if sees_values { report } else { report.states_only() })).into_response()
}

#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, body = String)))]
async fn metrics(State(host): State<Host>) -> Response {
    typed(host.kit.registry.encode().into(), CONTENT_TYPE)
}

#[utoipa::path(get, path = "/.well-known/leeward-keys", tag = "identity", responses((status = 200, body = PublicKeys)))]
async fn keys(State(host): State<Host>) -> Json<PublicKeys> {
    Json(host.kit.identity.public_keys().clone())
}

#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses((status = 200, body = Object)))]
async fn document(State(host): State<Host>) -> Response {
    typed(host.document.get().cloned().unwrap_or_default(), "application/json")
}

fn typed(body: Bytes, content_type: &'static str) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(crate) async fn not_found() -> Problem {
    Problem::not_found("there is no such route")
}

pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, code::METHOD_NOT_ALLOWED)
}
