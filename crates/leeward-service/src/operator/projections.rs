//! Projections: read models that an operator has rebuilt from their owner's log.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use leeward_runtime::Stage;
use serde_json::Value;
use tokio::sync::{Mutex, oneshot};
use utoipa_axum::routes;

use crate::access::Access;
use crate::api::{Api, RouteOptions};
use crate::builtin::Host;
use crate::extract::{Json, Path};
use crate::problem::{Problem, code};

/// A rebuild reads a whole log.
const DEADLINE_MAX: Duration = Duration::from_secs(600);

type Run = dyn Fn() -> Pin<Box<dyn Future<Output = Result<Value, Problem>> + Send>> + Send + Sync;

/// How one projection is rebuilt; one rebuild of it at a time.
#[derive(Clone)]
pub(crate) struct Rebuild {
    run: Arc<Run>,
    running: Arc<Mutex<()>>,
}

impl Rebuild {
    pub(crate) fn new<F, Fut>(run: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, Problem>> + Send + 'static,
    {
        Self { run: Arc::new(move || Box::pin(run())), running: Arc::default() }
    }
}

impl std::fmt::Debug for Rebuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rebuild")
    }
}

/// The projections of a service by name.
pub(crate) type Projections = BTreeMap<String, Rebuild>;

pub(super) fn api() -> Api<Host> {
    let patient = RouteOptions { deadline_max: Some(DEADLINE_MAX), ..RouteOptions::ESSENTIAL };
    super::operator(routes!(list)).merge(Api::new().add_with(Access::Operator, patient, routes!(rebuild)))
}

/// The projections that can be rebuilt.
#[utoipa::path(get, path = "/_leeward/projections", tag = "operator", responses((status = 200, body = [String])))]
async fn list(State(host): State<Host>) -> Json<Vec<String>> {
    Json(host.projections.keys().cloned().collect())
}

/// Rebuilds a projection from its owner's log, and says what came of it.
#[utoipa::path(post, path = "/_leeward/projections/{name}/rebuild", tag = "operator", params(("name" = String, Path)),
    responses((status = 200, body = Object)))]
async fn rebuild(State(host): State<Host>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let unknown = || Problem::not_found(format!("there is no projection `{name}`"));
    let Rebuild { run, running } = host.projections.get(&name).cloned().ok_or_else(unknown)?;
    let busy = || Problem::conflict(code::CONFLICT, "it is being rebuilt already");
    let alone = running.try_lock_owned().map_err(|_| busy())?;
    let (tell, told) = oneshot::channel();
    // A task of its own: an operator who goes away does not stop it half way.
    host.kit.tasks.spawn(Stage::Work, format!("projection.{name}.rebuild"), move |stop| async move {
        if let Some(result) = stop.or(run()).await {
            let _nobody_waits_any_more = tell.send(result);
        }
        drop(alone);
    });
    told.await.unwrap_or_else(|_| Err(Problem::unavailable("the service is stopping"))).map(Json)
}
