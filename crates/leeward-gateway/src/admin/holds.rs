//! What operators hold for a time: breakers, endpoints, the drain, faults on purpose. All of it ends by itself, and is written down.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use http::StatusCode;
use leeward_discovery::HoldError;
use leeward_resilience::config::units::{duration, show_duration};
use leeward_resilience::{FaultInjector, Faults};
use leeward_service::Problem;
use serde::{Deserialize, Serialize};

use super::Admin;
use crate::holds::{Act, FaultsOf, Held, LASTS, LASTS_MAX, NotHeld, REASON_MAX, Terms};
use crate::shared::Shared;

/// The drain that was to be taken back is not there.
const NOT_DRAINED: &str = "not_drained";
/// The gateway was not started with `admin.faults`.
const FAULTS_OFF: &str = "faults_off";
/// Nobody would be left to get calls, or too many endpoints are held.
const NOT_HELD: &str = "not_held";
/// The options of an experiment are out of their ranges.
const FAULTS_INVALID: &str = "faults_invalid";

/// What an operator does with a breaker.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hold {
    state: Breaker,
    lasts: Option<String>,
    reason: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Breaker {
    Open,
    Closed,
    Auto,
}

/// What an operator does with an endpoint.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldEndpoint {
    state: Endpoint,
    lasts: Option<String>,
    reason: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Endpoint {
    Drained,
    Ejected,
    In,
    Auto,
}

/// For how long the gateway is drained.
#[derive(Default, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    lasts: Option<String>,
    reason: Option<String>,
}

/// An experiment: what becomes of calls to a service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Experiment {
    #[serde(default)]
    latency_ms: u64,
    /// Of the calls that wait `latency_ms`; all, unless it is said.
    latency_percent: Option<f64>,
    #[serde(default)]
    error_percent: f64,
    #[serde(default)]
    refuse_percent: f64,
    #[serde(default)]
    lost_reply_percent: f64,
    lasts: Option<String>,
    reason: Option<String>,
}

fn terms(lasts: Option<&str>, reason: Option<String>) -> Result<Terms, Problem> {
    let allowed = || format!("a duration from 1s to {}, as 10m", show_duration(LASTS_MAX));
    let lasts = match lasts {
        None => LASTS,
        Some(text) => duration(text)
            .filter(|lasts| (Duration::from_secs(1)..=LASTS_MAX).contains(lasts))
            .ok_or_else(|| Problem::malformed(format!("`lasts` is `{text}`: {} is allowed", allowed())))?,
    };
    let reason = reason.unwrap_or_default();
    if reason.chars().count() > REASON_MAX || reason.chars().any(char::is_control) {
        return Err(Problem::malformed(format!("`reason` is one line of at most {REASON_MAX} characters")));
    }
    Ok(Terms { lasts, reason })
}

fn body<T>(given: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    given.map(|Json(body)| body).map_err(|error| Problem::malformed(error.body_text()))
}

pub(super) async fn breaker(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    hold: Result<Json<Hold>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let Hold { state, lasts, reason } = body(hold)?;
    let shared = admin.shared();
    let service = shared.service(&name);
    let found = service.and_then(|service| Some((&service.name, service.pipeline.breaker()?)));
    let (name, breaker) =
        found.ok_or_else(|| Problem::not_found(format!("there is no breaker for `{name}`")))?;
    let terms = terms(lasts.as_deref(), reason)?;
    match state {
        Breaker::Open | Breaker::Closed => {
            shared.holds.breaker(name, breaker, state == Breaker::Open, terms);
        }
        Breaker::Auto => shared.holds.let_go(name, &breaker),
    }
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn endpoint(
    State(admin): State<Admin>,
    Path((name, id)): Path<(String, String)>,
    hold: Result<Json<HoldEndpoint>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let HoldEndpoint { state, lasts, reason } = body(hold)?;
    let terms = terms(lasts.as_deref(), reason)?;
    let wanted = match state {
        Endpoint::Drained => Some(leeward_discovery::Hold::Drained),
        Endpoint::Ejected => Some(leeward_discovery::Hold::Ejected),
        Endpoint::In => Some(leeward_discovery::Hold::In),
        Endpoint::Auto => None,
    };
    let reloader = Arc::clone(&admin.reloader);
    // With no reload in between, which could take the endpoint away: it waits for one.
    let done = tokio::task::spawn_blocking(move || {
        reloader.steadily(|shared| hold_endpoint(shared, (&name, &id), wanted, terms))
    });
    done.await.unwrap_or_else(|error| Err(Problem::internal(&error)))?;
    Ok(StatusCode::NO_CONTENT)
}

fn hold_endpoint(
    shared: &Shared,
    (name, id): (&str, &str),
    wanted: Option<leeward_discovery::Hold>,
    terms: Terms,
) -> Result<(), Problem> {
    let upstream = shared.service(name).map(|service| &service.upstream);
    let upstream = upstream.ok_or_else(|| Problem::not_found(format!("there is no service `{name}`")))?;
    let done = match wanted {
        Some(wanted) => shared.holds.endpoint(upstream, id, wanted, terms),
        None => shared.holds.let_endpoint_go(upstream, id),
    };
    done.map_err(|error| match error {
        NotHeld::Endpoint(HoldError::Unknown) => {
            Problem::not_found(format!("`{name}` has no endpoint `{id}`: GET /v1/services has their ids"))
        }
        NotHeld::Endpoint(HoldError::Last) | NotHeld::TooMany => {
            Problem::conflict(NOT_HELD, error.to_string())
        }
    })
}

/// Takes a body or none.
pub(super) async fn drain(State(admin): State<Admin>, body: Bytes) -> Result<StatusCode, Problem> {
    let Drain { lasts, reason } = if body.is_empty() {
        Drain::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| Problem::malformed(error.to_string()))?
    };
    admin.shared().holds.drain(terms(lasts.as_deref(), reason)?);
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn undrain(State(admin): State<Admin>) -> Result<StatusCode, Problem> {
    if admin.shared().holds.undrain() {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::conflict(NOT_DRAINED, "no operator has drained this gateway"))
}

#[derive(Serialize)]
struct Holds {
    held: Vec<Held>,
    /// Experiments that run.
    faults: Vec<Running>,
    /// What was done lately, newest first.
    acts: Vec<Act>,
}

#[derive(Debug, Serialize)]
pub(super) struct Running {
    /// Whose calls, or whose requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<Arc<str>>,
    latency_ms: u128,
    latency_percent: f64,
    error_percent: f64,
    refuse_percent: f64,
    lost_reply_percent: f64,
}

pub(super) async fn list(State(admin): State<Admin>) -> Json<impl Serialize> {
    let shared = admin.shared();
    let of_services = shared.services.iter().filter_map(|service| {
        let faults = service.faults.as_ref()?.running()?;
        Some(running(FaultsOf::Service(&service.name), &faults))
    });
    let of_routes = shared.routes.iter().filter_map(|route| {
        let faults = route.faults.as_ref()?.running()?;
        Some(running(FaultsOf::Route(&route.config.id), &faults))
    });
    let faults = of_services.chain(of_routes).collect();
    Json(Holds { held: shared.holds.list(), faults, acts: shared.holds.acts() })
}

fn running(of: FaultsOf<'_>, faults: &Faults) -> Running {
    let (service, route) = match of {
        FaultsOf::Service(name) => (Some(Arc::clone(name)), None),
        FaultsOf::Route(id) => (None, Some(Arc::clone(id))),
    };
    Running {
        service,
        route,
        latency_ms: faults.latency_max.as_millis(),
        latency_percent: faults.latency_share * 100.0,
        error_percent: faults.error_share * 100.0,
        refuse_percent: faults.refused_share * 100.0,
        lost_reply_percent: faults.lost_reply_share * 100.0,
    }
}

/// Who is to be broken, by the path of the question.
fn injector<'s>(shared: &'s Shared, of: &Target) -> Result<(FaultsOf<'s>, &'s FaultInjector), Problem> {
    let (of, faults) = match of {
        Target::Service(name) => {
            let service = shared.service(name);
            let service =
                service.ok_or_else(|| Problem::not_found(format!("there is no service `{name}`")))?;
            (FaultsOf::Service(&service.name), &service.faults)
        }
        Target::Route(id) => {
            let route = shared.routes.iter().find(|route| *route.config.id == **id);
            let route = route.ok_or_else(|| Problem::not_found(format!("there is no route `{id}`")))?;
            (FaultsOf::Route(&route.config.id), &route.faults)
        }
    };
    let detail = "this gateway injects no faults: start it with `admin: {faults: true}`";
    let injector = faults.as_ref().ok_or_else(|| Problem::conflict(FAULTS_OFF, detail))?;
    Ok((of, injector))
}

enum Target {
    Service(String),
    Route(String),
}

pub(super) async fn begin_faults(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    experiment: Result<Json<Experiment>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    begin(&admin.shared(), &Target::Service(name), experiment)
}

pub(super) async fn begin_route_faults(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    experiment: Result<Json<Experiment>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    begin(&admin.shared(), &Target::Route(id), experiment)
}

fn begin(
    shared: &Shared,
    target: &Target,
    experiment: Result<Json<Experiment>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let (of, injector) = injector(shared, target)?;
    let wanted = body(experiment)?;
    let terms = terms(wanted.lasts.as_deref(), wanted.reason)?;
    let latency = Duration::from_millis(wanted.latency_ms);
    let delayed = wanted.latency_percent.unwrap_or(if latency.is_zero() { 0.0 } else { 100.0 });
    let faults = Faults {
        latency_share: delayed / 100.0,
        latency_min: latency,
        latency_max: latency,
        refused_share: wanted.refuse_percent / 100.0,
        error_share: wanted.error_percent / 100.0,
        lost_reply_share: wanted.lost_reply_percent / 100.0,
        lasts: terms.lasts,
        ..Faults::default()
    };
    injector.set(faults).map_err(|error| Problem::unprocessable(FAULTS_INVALID, error.to_string()))?;
    shared.holds.faults(of, "running", Some(&terms));
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn end_faults(
    State(admin): State<Admin>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    end(&admin.shared(), &Target::Service(name))
}

pub(super) async fn end_route_faults(
    State(admin): State<Admin>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    end(&admin.shared(), &Target::Route(id))
}

fn end(shared: &Shared, target: &Target) -> Result<StatusCode, Problem> {
    let (of, injector) = injector(shared, target)?;
    injector.clear();
    shared.holds.faults(of, "off", None);
    Ok(StatusCode::NO_CONTENT)
}
