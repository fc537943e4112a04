//! The operators' side: what is in force, how everything is, and the way to every service's own operator routes.
//!
//! | route | is |
//! |---|---|
//! | `GET /v1/openapi.json` | all of this, for programs |
//! | `GET /v1/config` | the configuration in force, as YAML |
//! | `GET /v1/routes`, `GET /v1/limits` | the route table; the limits with how full they are |
//! | `GET /v1/certificates` | what each listener presents, when it ends, and why files on disk are not in force |
//! | `GET /v1/services` | endpoints with health, breaker states, policies |
//! | `PUT /v1/services/{name}/breaker` | `{"state": "open" \| "closed" \| "auto", "lasts": "10m", "reason": "..."}`: holds a breaker, or lets it go |
//! | `PUT /v1/services/{name}/endpoints/{id}` | `{"state": "drained" \| "ejected" \| "in" \| "auto", ...}`: holds one endpoint, or lets it go |
//! | `PUT`, `DELETE /v1/routes/{id}/faults` | an experiment with requests of a route, where `admin.faults` allows it |
//! | `PUT`, `DELETE /v1/services/{name}/faults` | an experiment with calls to a service, where `admin.faults` allows it |
//! | `POST`, `DELETE /v1/drain` | says that no new requests should come, for a time; takes that back |
//! | `GET /v1/holds` | what operators hold, which experiments run, and what was done lately |
//! | `GET /v1/decisions` | what became of requests lately, and why: by `request_id`, `code`, `route`, `service`, `limit` |
//! | `GET /v1/delivery`, `GET /v1/delivery/{route}` | how far new versions have taken over |
//! | `PUT /v1/delivery/{route}` | `{"share": "10%", "expected": 3}`, or `"action": "promote" \| "abort"`: moves one |
//! | `POST /v1/reload` | reads the configuration's file again; answers what changed, or why nothing did |
//! | `GET /v1/health` | the gateway's report with all values |
//! | `ANY /v1/services/{name}/_leeward/{path}` | that service's `/_leeward/{path}`, as an operator |
//! | `GET /v1/all/_leeward/{path}` | the same of every service, in one answer by name |
//! | `GET /v1/bus/groups` | every group on the bus that this process knows: what it has acknowledged, and how far it is behind |
//! | `GET /.well-known/leeward-keys` | the keys that the gateway's assertions are checked with |
//! | `GET /metrics` | what the gateway counts, for Prometheus |
//! | `GET /health`, `/health/live`, `/health/ready` | as on the public side |
//!
//! Everything under `/v1`, and `/metrics`, checks `Host` and `Origin`, so that no web page can reach it through a visitor's
//! browser, and a token wherever one is configured. `GET /v1/services` alone is also open to the services themselves, by
//! the assertion that they send with every call: a service elsewhere learns from it who is where, and needs no operator's
//! token for that.

mod decisions;
mod delivery;
mod fanout;
mod guard;
mod holds;
mod keys;
mod openapi;
mod reload;
mod views;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{MethodRouter, any, get, post, put};
use axum::serve::ListenerExt;
use http::StatusCode;
use leeward_events::Bus;
use leeward_runtime::{Stage, Tasks};
use leeward_service::identity::{Identity, KEYS_PATH, Minter, Verifier};

use crate::control::Control;
use crate::decisions::Asking;
use crate::handover::Handover;
use crate::reload::Reloader;
use crate::shared::Shared;

/// How long open answers, streams of the bus among them, may go on after a stop.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// What the routes work on.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) reloader: Arc<Reloader>,
    pub(crate) control: Control,
    pub(crate) minter: Option<Minter>,
    /// Tells services by their assertions.
    pub(crate) verifier: Verifier,
    pub(crate) bus: Option<Bus>,
    pub(crate) decisions: Asking,
}

/// What the admin API is made of, beside what is in force.
pub(crate) struct Parts {
    pub(crate) identity: Option<Identity>,
    pub(crate) bus: Option<Bus>,
    /// Routes that are served beside it.
    pub(crate) beside: Router,
    pub(crate) decisions: Asking,
    /// Ends it early: another process has taken over.
    pub(crate) handover: Handover,
}

impl Admin {
    /// What is in force now.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.reloader.published().current()
    }
}

/// Serves the admin API. It stops after the data plane, since operators want to see a drain, but as soon as another process answers in
/// its place.
///
/// # Errors
/// When the listener cannot be used.
pub(crate) fn start(
    reloader: &Arc<Reloader>,
    parts: Parts,
    listener: Arc<TcpListener>,
    tasks: &Tasks,
) -> std::io::Result<()> {
    let Parts { identity, bus, beside, decisions, handover } = parts;
    let control = Control::new();
    let shared = reloader.published().current();
    let verifier = keys::verifier(reloader.published(), &control);
    let (reloader, minter) = (Arc::clone(reloader), shared.minter.clone());
    let admin = Admin { reloader, control, minter, verifier, bus, decisions };
    let router = router(admin, identity).merge(beside);
    // Streams are many small writes, which would wait for acknowledgements otherwise.
    let own = tokio::net::TcpListener::from_std(listener.try_clone()?)?.tap_io(|stream| {
        let _best_effort = stream.set_nodelay(true);
    });
    tasks.spawn(Stage::Work, "gateway.admin", |stop| async move {
        let (stopped, gone) = (stop.clone(), handover.clone());
        let serving = axum::serve(own, router).with_graceful_shutdown(async move {
            stopped.or(gone.gone()).await;
        });
        let closing = async {
            stop.or(handover.gone()).await;
            // Not to be passed on any more.
            drop(listener);
            tokio::time::sleep(CLOSE_WITHIN).await;
        };
        let served = tokio::select! {
            served = serving => served,
            () = closing => Ok(()),
        };
        stop.requested().await;
        served
    });
    Ok(())
}

/// Routes, with their paths.
struct Routes {
    router: Router<Admin>,
    known: Vec<&'static str>,
}

impl Routes {
    fn new() -> Self {
        Self { router: Router::new(), known: Vec::new() }
    }

    fn route(mut self, path: &'static str, methods: MethodRouter<Admin>) -> Self {
        self.router = self.router.route(path, methods);
        self.known.push(path);
        self
    }

    fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.known.extend(other.known);
        self
    }

    /// Behind the check of who may.
    fn guarded(mut self, admin: &Admin) -> Self {
        self.router = self.router.layer(axum::middleware::from_fn_with_state(admin.clone(), guard::check));
        self
    }
}

fn router(admin: Admin, identity: Option<Identity>) -> Router {
    operators().guarded(&admin).merge(everybody(identity)).router.with_state(admin)
}

/// All of them, unguarded.
#[cfg(test)]
fn routes(identity: Option<Identity>) -> Routes {
    operators().merge(everybody(identity))
}

/// What is for operators.
fn operators() -> Routes {
    Routes::new()
        .route("/v1/openapi.json", get(openapi::document))
        .route("/v1/config", get(views::config))
        .route("/v1/routes", get(views::routes))
        .route("/v1/limits", get(views::limits))
        .route("/v1/certificates", get(views::certificates))
        .route(guard::WHO_IS_WHERE, get(views::services))
        .route("/v1/services/{name}/breaker", put(holds::breaker))
        .route("/v1/services/{name}/endpoints/{id}", put(holds::endpoint))
        .route("/v1/routes/{id}/faults", put(holds::begin_route_faults).delete(holds::end_route_faults))
        .route("/v1/services/{name}/faults", put(holds::begin_faults).delete(holds::end_faults))
        .route("/v1/drain", post(holds::drain).delete(holds::undrain))
        .route("/v1/holds", get(holds::list))
        .route("/v1/services/{name}/_leeward/{*path}", any(fanout::one))
        .route("/v1/all/_leeward/{*path}", get(fanout::all))
        .route("/v1/decisions", get(decisions::find))
        .route("/v1/bus/groups", get(views::bus_groups))
        .route("/v1/delivery", get(delivery::all))
        .route("/v1/delivery/{route}", get(delivery::one).put(delivery::order))
        .route("/v1/reload", post(reload::reload))
        .route("/v1/health", get(views::health))
        .route("/metrics", get(views::metrics))
}

/// What is for everybody.
fn everybody(identity: Option<Identity>) -> Routes {
    let keys = move || async move {
        match identity {
            Some(identity) => Ok(axum::Json(identity.public_keys().clone())),
            None => Err(StatusCode::NOT_FOUND),
        }
    };
    Routes::new()
        .route("/health/live", get(views::live))
        .route("/health/ready", get(views::ready))
        .route("/ready", get(views::ready))
        .route("/health", get(views::states))
        .route(KEYS_PATH, get(keys))
}
