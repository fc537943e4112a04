//! What is in force and how everything is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use leeward_discovery::Status;
use leeward_resilience::{CircuitBreaker, Instant};
use leeward_service::Problem;
use leeward_telemetry::metrics::CONTENT_TYPE;
use serde::Serialize;

use super::Admin;
use crate::config::{Listener, explained};
use crate::delivery::show;
use crate::health;
use crate::holds::Held;
use crate::plane::{Entry, Load};
use crate::router::Methods;
use crate::shared::{OwnPolicies, RouteState, Service, Shared};
use crate::tls::{self, Watched as _};

pub(super) async fn config(State(admin): State<Admin>) -> Response {
    ([(header::CONTENT_TYPE, "application/yaml")], admin.shared().config.to_yaml()).into_response()
}

#[derive(Serialize)]
struct RouteView {
    id: String,
    path: String,
    exact: bool,
    methods: Vec<&'static str>,
    service: String,
    access: String,
    priority: &'static str,
    deadline_ms: u128,
    body_bytes_max: u64,
    stale_if_error_s: Option<u64>,
    /// Those that it has for itself towards its services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<OwnView>,
    fallback: Option<String>,
    /// Of a delivery, where operators left it.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<DeliveryView>,
    config: String,
}

#[derive(Serialize)]
struct OwnView {
    service: String,
    /// The keys of what is the route's own; the rest is the service's, and shared with all that ask it.
    own: Vec<&'static str>,
    breaker: &'static str,
    retry_after_ms: Option<u128>,
    policies: String,
}

#[derive(Serialize)]
struct DeliveryView {
    candidate: String,
    /// The candidate's, now.
    share: String,
    /// As the configuration says.
    begins: String,
    version: u64,
}

pub(super) async fn routes(State(admin): State<Admin>) -> Json<impl Serialize> {
    let shared = admin.shared();
    let view = |route: &RouteState| RouteView {
        id: route.config.id.to_string(),
        path: route.config.pattern.text().to_owned(),
        exact: route.config.pattern.is_exact(),
        methods: if route.config.methods.is_any() {
            Methods::NAMES.to_vec()
        } else {
            route.config.methods.names().collect()
        },
        service: route.config.target.to_string(),
        access: route.config.access.to_string(),
        priority: route.config.priority.as_str(),
        deadline_ms: route.deadline.as_millis(),
        body_bytes_max: route.body_bytes_max,
        stale_if_error_s: route.config.stale_if_error.map(|age| age.as_secs()),
        policies: route.own.iter().map(|own| own_view(&shared, route, own)).collect(),
        fallback: route.config.fallback.as_ref().map(|fallback| fallback.substitute.to_string()),
        delivery: route.moving().map(|moving| {
            let state = moving.state();
            DeliveryView {
                candidate: moving.services[1].to_string(),
                share: show(state.share),
                begins: show(moving.begins),
                version: state.version,
            }
        }),
        config: route.config.origin.to_string(),
    };
    Json(shared.routes.iter().map(view).collect::<Vec<_>>())
}

fn own_view(shared: &Shared, route: &RouteState, own: &OwnPolicies) -> OwnView {
    let breaker = own.pipeline.breaker();
    let (breaker, retry_after_ms) = breaker_view(breaker.as_ref(), shared.clock.now());
    OwnView {
        service: shared.services[own.service].name.to_string(),
        own: route.config.policies.iter().flat_map(|own| own.keys()).copied().collect(),
        breaker,
        retry_after_ms,
        policies: explained(&own.pipeline),
    }
}

/// Its state, and after how long it will take calls again.
fn breaker_view(breaker: Option<&CircuitBreaker>, now: Instant) -> (&'static str, Option<u128>) {
    let state = breaker.map_or("none", |breaker| breaker.state(now).as_str());
    (state, breaker.and_then(|breaker| breaker.retry_after(now)).map(|after| after.as_millis()))
}

#[derive(Serialize)]
struct CoreView {
    connections: usize,
    requests: u64,
    /// What work that is ready waited for its turn when that was looked at last; 0 before the first request.
    delay_us: u64,
    /// Whether it does not keep up.
    behind: bool,
}

#[derive(Serialize)]
struct LimitsView {
    requests_in_flight: u32,
    requests_waiting: u32,
    requests_max: u32,
    connections: usize,
    connections_max: usize,
    /// Each core, by its number.
    cores: Vec<CoreView>,
    addresses_remembered: usize,
    principals_remembered: usize,
    /// Addresses from which passwords were checked lately.
    password_addresses_remembered: usize,
    stale_copies: usize,
    stale_bytes: usize,
    stale_bytes_max: usize,
    revocations: usize,
    revocation_delay_ms: Option<i64>,
    /// How long ago all that was revoked was known for certain.
    revocation_staleness_ms: Option<u128>,
}

pub(super) async fn limits(State(admin): State<Admin>) -> Json<impl Serialize> {
    let shared = &*admin.shared();
    let (stale_copies, stale_bytes) = shared.stale.size();
    Json(LimitsView {
        requests_in_flight: shared.shed.in_flight(),
        requests_waiting: shared.shed.waiting(),
        requests_max: shared.config.concurrency.limit.get(),
        connections: shared.traffic.connections(),
        connections_max: shared.config.limits.connections,
        cores: shared.traffic.cores().iter().map(|load| core(load)).collect(),
        addresses_remembered: shared.by_address.as_ref().map_or(0, |limiter| limiter.keys()),
        principals_remembered: shared.by_principal.as_ref().map_or(0, |limiter| limiter.keys()),
        password_addresses_remembered: shared.basic.as_ref().map_or(0, |basic| basic.attempts.keys()),
        stale_copies,
        stale_bytes,
        stale_bytes_max: shared.config.stale.bytes,
        revocations: shared.revocations.len(),
        revocation_delay_ms: shared.revocations.delay_ms(),
        revocation_staleness_ms: shared.revocations.age(shared.clock.now()).map(|age| age.as_millis()),
    })
}

fn core(load: &Load) -> CoreView {
    CoreView {
        connections: load.connections(),
        requests: load.requests(),
        delay_us: load.delay_us(),
        behind: load.is_behind(),
    }
}

#[derive(Serialize)]
struct ServiceView {
    name: String,
    breaker: &'static str,
    retry_after_ms: Option<u128>,
    /// What an operator holds.
    held: Option<Held>,
    /// The order of the policies with their values, outermost first.
    policies: String,
    /// Where the endpoints are looked up, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    lookup: Option<LookupView>,
    endpoints: Vec<EndpointView>,
}

#[derive(Serialize)]
struct LookupView {
    source: String,
    /// How old the last answer is.
    age_ms: Option<u128>,
    /// Why there was none since.
    error: Option<String>,
}

#[derive(Serialize)]
struct EndpointView {
    id: String,
    url: String,
    /// Its share of the requests, beside the weights of the others.
    weight: u32,
    healthy: bool,
    /// How long it is still left alone for what it did, and for what: there is no breaker for each endpoint, this is in its place.
    ejected_for_ms: Option<u128>,
    ejected_because: Option<&'static str>,
    /// What an operator holds.
    held: Option<Held>,
    outstanding: u32,
    latency_us: u128,
    failures: f64,
}

/// The services that the gateway routes to, and those that only the directory knows.
pub(super) async fn services(State(admin): State<Admin>) -> Json<impl Serialize> {
    let shared = &*admin.shared();
    let (known, held) = (shared.directory.services(), shared.holds.list());
    let views = known.iter().map(|upstream| {
        let routed = shared.service(upstream.name());
        let breaker = routed.and_then(|service| service.pipeline.breaker());
        let (breaker, retry_after_ms) = breaker_view(breaker.as_ref(), shared.clock.now());
        let of_service = || held.iter().filter(|held| held.service.as_ref() == Some(upstream.name()));
        ServiceView {
            name: upstream.name().to_string(),
            breaker,
            retry_after_ms,
            held: of_service().find(|held| held.endpoint.is_none()).cloned(),
            policies: routed.map(|service| explained(&service.pipeline)).unwrap_or_default(),
            lookup: lookup(shared, upstream.name()),
            endpoints: upstream
                .endpoints()
                .iter()
                .map(|status| {
                    let is_its = |held: &&Held| held.endpoint.as_ref() == Some(status.endpoint.id());
                    endpoint(status, of_service().find(is_its).cloned())
                })
                .collect(),
        }
    });
    Json(views.collect::<Vec<_>>())
}

fn lookup(shared: &Shared, service: &str) -> Option<LookupView> {
    let status = shared.lookups.as_ref()?.statuses().find(|status| *status.service == *service)?;
    let age_ms = status.age.map(|age| age.as_millis());
    Some(LookupView { source: status.source, age_ms, error: status.error })
}

fn endpoint(status: &Status, held: Option<Held>) -> EndpointView {
    EndpointView {
        id: status.endpoint.id().to_string(),
        url: status.endpoint.url().to_string(),
        weight: status.endpoint.weight(),
        healthy: status.healthy,
        ejected_for_ms: status.ejected_for.map(|left| left.as_millis()),
        ejected_because: status.ejected_because,
        held,
        outstanding: status.outstanding,
        latency_us: status.latency.as_micros(),
        failures: status.failures,
    }
}

#[derive(Serialize)]
struct CertificatesView {
    /// Of a listener, what clients are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<String>,
    /// Of a service, what it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// Why the files on disk are not in force.
    problem: Option<String>,
    certificates: Vec<tls::Status>,
}

pub(super) async fn certificates(State(admin): State<Admin>) -> Json<impl Serialize> {
    let shared = admin.shared();
    let listeners = shared.config.listen.iter().zip(&*shared.entries);
    let view = |(listener, entry): (&Listener, &Arc<Entry>)| {
        let server = entry.tls.as_ref()?;
        let (problem, certificates) = (server.problem(), server.certificates());
        let listen = Some(listener.address.to_string());
        Some(CertificatesView { listen, service: None, problem, certificates })
    };
    let of_service = |service: &Service| {
        let tls = service.way.tls.as_ref()?;
        let (problem, certificates) = (tls.problem(), tls.certificates());
        let service = service.name.to_string();
        Some(CertificatesView { listen: None, service: Some(service), problem, certificates })
    };
    let services = shared.services.iter().filter_map(of_service);
    Json(listeners.filter_map(view).chain(services).collect::<Vec<_>>())
}

pub(super) async fn health(State(admin): State<Admin>) -> Response {
    let report = health::report(&admin.shared());
    (status_of(report.status), Json(report)).into_response()
}

pub(super) async fn states(State(admin): State<Admin>) -> Response {
    let report = health::report(&admin.shared());
    (status_of(report.status), Json(report.states())).into_response()
}

fn status_of(state: health::State) -> StatusCode {
    if state == health::State::Down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

#[derive(Serialize)]
struct Probe {
    status: &'static str,
}

/// One group that acknowledges nothing, such as that of a service which is gone for good, is enough for the bus to keep everything and in
/// the end to refuse more: here it shows.
pub(super) async fn bus_groups(State(admin): State<Admin>) -> Result<Response, Problem> {
    let Some(bus) = &admin.bus else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "no_bus").detail("this gateway knows no bus"));
    };
    match bus.lag().await {
        Ok(groups) => Ok(Json(groups).into_response()),
        Err(error) => {
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "bus_unavailable");
            Err(problem.detail(error.to_string()))
        }
    }
}

pub(super) async fn live() -> Json<impl Serialize> {
    Json(Probe { status: "live" })
}

pub(super) async fn ready(State(admin): State<Admin>) -> Response {
    let shared = admin.shared();
    if health::is_ready(&shared) {
        (StatusCode::OK, Json(Probe { status: "ready" })).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(Probe { status: "not ready" })).into_response()
    }
}

pub(super) async fn metrics(State(admin): State<Admin>) -> Response {
    admin.reloader.sweep();
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], admin.shared().metrics.registry.encode()).into_response()
}
