//! Events: how far each group is behind, the dead letters, and the log that others rebuild from.

use axum::extract::State;
use leeward_events::dead::{By, DeadLetter, DeadLetters, Details};
use leeward_events::outbox::LogPage;
use leeward_store::{Db, ReadTx};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa_axum::routes;

use crate::access::Access;
use crate::api::Api;
use crate::builtin::Host;
use crate::extract::{Json, Path, Query};
use crate::identity::Caller;
use crate::problem::Problem;

/// Entries of a page unless the caller says otherwise.
const PAGE: u32 = 100;

pub(super) fn api() -> Api<Host> {
    super::operator(routes!(lag))
        .merge(super::operator(routes!(dead)))
        .merge(super::operator(routes!(show, edit)))
        .merge(super::operator(routes!(replay)))
        .merge(super::operator(routes!(discard)))
        .merge(Api::new().add(Access::AnyService, routes!(log)))
}

/// How far the groups are behind, and what waits in the outbox.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Lag {
    outbox_pending_bytes: u64,
    outbox_oldest_ms: u64,
    groups: Vec<Group>,
}

/// How far one group is behind.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Group {
    group: String,
    /// Events it has not acknowledged, those that it does not take among them.
    events: u64,
    /// Whether somebody handles them now.
    active: bool,
}

/// All groups of the bus with `all`, else those of this service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    all: bool,
}

/// How far this service's groups are behind.
#[utoipa::path(get, path = "/_leeward/events/lag", tag = "operator", params(("all" = Option<bool>, Query)),
    responses((status = 200, body = Lag)))]
async fn lag(State(host): State<Host>, Query(which): Query<Which>) -> Result<Json<Lag>, Problem> {
    let kit = &host.kit;
    let ours = |group: &str| {
        group.strip_prefix(&*kit.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let groups =
        kit.bus.lag().await?.into_iter().filter(|lag| which.all || ours(&lag.group)).map(|lag| Group {
            group: lag.group.to_string(),
            events: lag.behind,
            active: lag.active,
        });
    let groups = groups.collect();
    let status = kit.outbox.status();
    let oldest = status.oldest_age(kit.clock.unix_ms());
    Ok(Json(Lag {
        outbox_pending_bytes: status.pending_bytes(),
        outbox_oldest_ms: u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX),
        groups,
    }))
}

/// A page of dead letters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    group: Option<String>,
    #[serde(default)]
    after: i64,
    limit: Option<u32>,
}

/// The dead letters, oldest first.
#[utoipa::path(get, path = "/_leeward/events/dead", tag = "operator",
    params(("group" = Option<String>, Query), ("after" = Option<i64>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = [Object])))]
async fn dead(State(host): State<Host>, Query(page): Query<Page>) -> Result<Json<Vec<DeadLetter>>, Problem> {
    let letters = letters(&host)?;
    Ok(Json(letters.list(page.group.as_deref(), page.after, page.limit.unwrap_or(PAGE)).await?))
}

/// One dead letter with its body and what was done to it.
#[utoipa::path(get, path = "/_leeward/events/dead/{seq}", tag = "operator", params(("seq" = i64, Path)),
    responses((status = 200, body = Object)))]
async fn show(State(host): State<Host>, Path(seq): Path<i64>) -> Result<Json<Details>, Problem> {
    Ok(Json(letters(&host)?.show(seq).await?))
}

/// What an operator says about a change: it stands in the audit table.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Change {
    /// Who, as the admin API knows them.
    actor: String,
    /// Why.
    reason: String,
}

impl Change {
    fn by(self, caller: &Caller) -> By {
        let via = caller.issuer();
        let actor = if self.actor.is_empty() { via.to_owned() } else { format!("{} via {via}", self.actor) };
        By { actor, note: self.reason }
    }
}

/// New data for a dead letter.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Edit {
    /// Who, as the admin API knows them.
    #[serde(default)]
    actor: String,
    /// Why.
    reason: String,
    /// The event's new data; its id and its key stay.
    #[schema(value_type = Object)]
    data: Box<RawValue>,
}

/// Replaces the data of a dead letter.
#[utoipa::path(put, path = "/_leeward/events/dead/{seq}", tag = "operator", params(("seq" = i64, Path)),
    request_body = Edit, responses((status = 200, body = Object)))]
async fn edit(
    State(host): State<Host>,
    caller: Caller,
    Path(seq): Path<i64>,
    Json(Edit { actor, reason, data }): Json<Edit>,
) -> Result<Json<Details>, Problem> {
    let letters = letters(&host)?;
    letters.edit(seq, data, Change { actor, reason }.by(&caller)).await?;
    Ok(Json(letters.show(seq).await?))
}

/// Hands a dead letter to its group again.
#[utoipa::path(post, path = "/_leeward/events/dead/{seq}/replay", tag = "operator", params(("seq" = i64, Path)),
    request_body = Change, responses((status = 200)))]
async fn replay(
    State(host): State<Host>,
    caller: Caller,
    Path(seq): Path<i64>,
    Json(change): Json<Change>,
) -> Result<Json<()>, Problem> {
    Ok(Json(letters(&host)?.replay(seq, change.by(&caller)).await?))
}

/// Gives a dead letter up for good.
#[utoipa::path(post, path = "/_leeward/events/dead/{seq}/drop", tag = "operator", params(("seq" = i64, Path)),
    request_body = Change, responses((status = 200)))]
async fn discard(
    State(host): State<Host>,
    caller: Caller,
    Path(seq): Path<i64>,
    Json(change): Json<Change>,
) -> Result<Json<()>, Problem> {
    Ok(Json(letters(&host)?.drop(seq, change.by(&caller)).await?))
}

/// Where to go on in the log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    #[serde(default)]
    after: i64,
    limit: Option<u32>,
}

/// The service's event log, for other services that build something from it.
#[utoipa::path(get, path = "/internal/events", tag = "events",
    params(("after" = Option<i64>, Query), ("limit" = Option<u32>, Query)), responses((status = 200, body = Object)))]
async fn log(State(host): State<Host>, Query(cursor): Query<Cursor>) -> Result<Json<LogPage>, Problem> {
    let (db, outbox) = (database(&host)?, host.kit.outbox.clone());
    let limit = cursor.limit.unwrap_or(PAGE);
    let read = async move |tx: &mut ReadTx| outbox.read_log(tx, cursor.after, limit).await;
    Ok(Json(db.read(read).await?))
}

fn letters(host: &Host) -> Result<DeadLetters, Problem> {
    Ok(DeadLetters::new(database(host)?, host.kit.clock.clone()))
}

fn database(host: &Host) -> Result<Db, Problem> {
    host.kit.opened_db().cloned().ok_or_else(|| Problem::not_found("this service has no database"))
}
