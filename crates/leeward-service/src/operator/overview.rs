//! How the service is, in full: for the CLI, the console and the admin API.

use axum::extract::State;
use leeward_discovery::Status;
use serde::Serialize;
use utoipa_axum::routes;

use crate::api::Api;
use crate::builtin::Host;
use crate::client::Client;
use crate::extract::Json;
use crate::health::Report;
use crate::problem::Problem;

pub(super) fn api() -> Api<Host> {
    super::operator(routes!(health)).merge(super::operator(routes!(config)))
}

/// Every check with its values.
#[utoipa::path(get, path = "/_leeward/health", tag = "operator", responses((status = 200, body = Report)))]
async fn health(State(host): State<Host>) -> Json<Report> {
    Json(host.kit.health.report())
}

/// What is in force.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Config {
    service: String,
    version: &'static str,
    /// The tasks that run now, in their stop order.
    tasks: Vec<String>,
    /// Whether faults may be injected.
    faults_allowed: bool,
    /// What the durability of its database rests on, read back from the writer's connection now.
    database: Option<Database>,
    /// The services it calls, with the policies in front of each.
    targets: Vec<Target>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Database {
    sqlite_version: &'static str,
    /// `wal` for a file.
    journal_mode: String,
    /// `2` is FULL: the log is synced before a commit returns.
    synchronous: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Target {
    name: String,
    /// The order of the policies with their values, outermost first.
    policies: String,
    endpoints: Vec<EndpointState>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct EndpointState {
    id: String,
    healthy: bool,
    ejected: bool,
    outstanding: u32,
    latency_us: u64,
}

/// The policies and values in force.
#[utoipa::path(get, path = "/_leeward/config", tag = "operator", responses((status = 200, body = Config)))]
async fn config(State(host): State<Host>) -> Result<Json<Config>, Problem> {
    let kit = &host.kit;
    Ok(Json(Config {
        service: kit.name.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        tasks: kit.tasks.running(),
        faults_allowed: kit.faults.allowed(),
        database: database(&host).await?,
        targets: kit.clients().iter().map(|client| target(&host, client)).collect(),
    }))
}

async fn database(host: &Host) -> Result<Option<Database>, Problem> {
    let Some(db) = host.kit.opened_db() else { return Ok(None) };
    let settings = db.settings().await?;
    let (sqlite_version, journal_mode, synchronous) =
        (settings.sqlite_version, settings.journal_mode, settings.synchronous);
    Ok(Some(Database { sqlite_version, journal_mode, synchronous }))
}

fn target(host: &Host, client: &Client) -> Target {
    let endpoints = host.kit.peers.upstream(client.target()).endpoints();
    Target {
        name: client.target().to_owned(),
        policies: client.explain(),
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

fn endpoint(status: &Status) -> EndpointState {
    EndpointState {
        id: status.endpoint.id().to_string(),
        healthy: status.healthy,
        ejected: status.ejected_for.is_some(),
        outstanding: status.outstanding,
        latency_us: u64::try_from(status.latency.as_micros()).unwrap_or(u64::MAX),
    }
}
