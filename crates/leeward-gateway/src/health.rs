//! The health of the gateway and, through it, of all services: read from what is known already, so that a probe never
//! waits for anybody.

use std::collections::BTreeMap;

use leeward_resilience::breaker;
use serde::Serialize;

use crate::config::Revocation;
use crate::credentials::FileProblem;
use crate::jwt::Authentication;
use crate::lookups::Lookups;
use crate::revocation::DELAY_MAX_MS;
pub use crate::shared::Version;
use crate::shared::{Service, Shared};
use crate::tls::Watched;

/// A certificate that ends within a week, although it should have been renewed weeks ago, wants somebody's attention.
const CERTIFICATE_HOURS_MIN: i64 = 7 * 24;

/// How well something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All of it works.
    Up,
    /// Some of it does not.
    Degraded,
    /// It cannot be used.
    Down,
}

/// One service as the gateway sees it.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceHealth {
    /// Up: every endpoint is sound. Degraded: some are, or the breaker is probing. Down: none is, or it is open.
    pub status: State,
    /// How many endpoints there are.
    pub endpoints: usize,
    /// How many of them answer and are not ejected.
    pub sound: usize,
    /// The breaker over all of them.
    pub breaker: &'static str,
}

/// One check of the gateway's own.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Its state.
    pub status: State,
    /// What was measured.
    pub value: String,
    /// What it is held against.
    pub threshold: String,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The worst of the gateway's own checks; services that are down make it degraded, since the others still answer.
    pub status: State,
    /// Which configuration is in force.
    pub config: Version,
    /// Where the configuration takes a protection away: see [`crate::relaxations`].
    pub unsafe_options: Vec<String>,
    /// By name.
    pub services: BTreeMap<String, ServiceHealth>,
    /// By name.
    pub checks: BTreeMap<&'static str, Check>,
    /// How long ago all that was revoked was known for certain; `None` where nothing is revoked, or it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_staleness_ms: Option<u64>,
}

/// What the public sees.
#[derive(Debug, Serialize)]
pub(crate) struct States<'a> {
    status: State,
    /// A part of the hash of the configuration in force.
    config: &'a str,
    /// How many options take a protection away.
    unsafe_options: usize,
    services: BTreeMap<&'a str, State>,
    checks: BTreeMap<&'static str, State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_delay_ms: Option<i64>,
    /// How old the view of revocations is.
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_staleness_ms: Option<u64>,
}

impl Report {
    /// The states alone.
    pub(crate) fn states(&self) -> States<'_> {
        let revocations = self.checks.get("revocations");
        States {
            status: self.status,
            config: self.config.short_hash(),
            unsafe_options: self.unsafe_options.len(),
            services: self.services.iter().map(|(name, health)| (name.as_str(), health.status)).collect(),
            checks: self.checks.iter().map(|(name, check)| (*name, check.status)).collect(),
            revocation_staleness_ms: self.revocation_staleness_ms,
            revocation_delay_ms: revocations.and_then(|check| check.value.strip_suffix("ms")?.parse().ok()),
        }
    }
}

/// Whether new requests should come here: not while it drains, and not before it could tell users apart once, knew what was
/// revoked, and has looked for every service. What a reload adds takes nothing from what was there.
pub(crate) fn is_ready(shared: &Shared) -> bool {
    let traffic = &shared.traffic;
    let knows_users = || shared.authentication.as_ref().is_none_or(Authentication::has_keys);
    let knows_services = || shared.lookups.as_ref().is_none_or(|lookups| lookups.were_tried());
    let knows_revocations = || match &shared.config.revocation {
        Some(options) => options.unsafe_fail_open || shared.revocations.age(shared.clock.now()).is_some(),
        None => true,
    };
    if !traffic.has_been_ready() && knows_users() && knows_services() && knows_revocations() {
        traffic.ready();
    }
    traffic.has_been_ready() && !traffic.is_draining()
}

pub(crate) fn report(shared: &Shared) -> Report {
    let services: BTreeMap<String, ServiceHealth> =
        shared.services.iter().map(|one| (one.name.to_string(), service(shared, one))).collect();
    let checks = checks(shared);
    let own = checks.values().map(|check| check.status).max().unwrap_or(State::Up);
    let theirs = services.values().map(|health| health.status).max().unwrap_or(State::Up);
    let config = shared.version.clone();
    let age = shared.config.revocation.as_ref().and_then(|_| shared.revocations.age(shared.clock.now()));
    Report {
        status: own.max(theirs.min(State::Degraded)),
        config,
        unsafe_options: shared.relaxed.to_vec(),
        services,
        checks,
        revocation_staleness_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
    }
}

fn service(shared: &Shared, service: &Service) -> ServiceHealth {
    let endpoints = service.upstream.endpoints();
    let sound = endpoints.iter().filter(|one| one.healthy && one.ejected_for.is_none()).count();
    let state = service
        .pipeline
        .breaker()
        .map_or(breaker::State::Closed, |breaker| breaker.state(shared.clock.now()));
    let broken = matches!(state, breaker::State::Open | breaker::State::ForcedOpen);
    let status = if sound == 0 || broken {
        State::Down
    } else if sound < endpoints.len() || state == breaker::State::HalfOpen {
        State::Degraded
    } else {
        State::Up
    };
    ServiceHealth { status, endpoints: endpoints.len(), sound, breaker: state.as_str() }
}

fn checks(shared: &Shared) -> BTreeMap<&'static str, Check> {
    let mut checks = BTreeMap::new();
    let draining = shared.traffic.is_draining();
    let connections = shared.traffic.connections();
    let most = shared.config.limits.connections;
    let status = match () {
        () if draining => State::Down,
        () if connections >= most => State::Degraded,
        () => State::Up,
    };
    let value = if draining { "draining".to_owned() } else { connections.to_string() };
    checks.insert("connections", Check { status, value, threshold: format!("below {most}") });
    checks.insert("configuration", configuration(shared));
    if let Some(check) = held(shared) {
        checks.insert("held", check);
    }
    if let Some(auth) = &shared.authentication {
        checks.insert("token_keys", token_keys(auth, shared));
    }
    if let Some(keys) = &shared.api_keys {
        checks.insert("api_keys", callers(keys.now().holders().len(), keys.problem()));
    }
    if let Some(basic) = &shared.basic {
        checks.insert("basic", callers(basic.store.now().holders().len(), basic.store.problem()));
    }
    if let Some(lookups) = &shared.lookups {
        checks.insert("lookups", lookups_check(lookups));
    }
    if let Some(check) = certificates(shared) {
        checks.insert("certificates", check);
    }
    if let Some(options) = &shared.config.revocation {
        checks.insert("revocations", revocations(shared));
        checks.insert("revocation_view", revocation_view(shared, options));
    }
    checks
}

/// The issuer whose keys are in the worst state.
fn token_keys(auth: &Authentication, shared: &Shared) -> Check {
    let mut worst: Option<Check> = None;
    // Where some of the issuers had theirs, the others' users are served.
    let without = if shared.traffic.has_been_ready() { State::Degraded } else { State::Down };
    for (issuer, jwt) in auth.issuers.iter().zip(&shared.config.jwt) {
        let oldest = jwt.refresh * 2;
        let (status, value) = match issuer.keys.age() {
            None => (without, format!("no keys yet of {}", jwt.keys)),
            Some((count, age)) => {
                let status = if age > oldest { State::Degraded } else { State::Up };
                (status, format!("{count} keys of {}, {}s old", jwt.keys, age.as_secs()))
            }
        };
        if worst.as_ref().is_none_or(|worst| worst.status < status) {
            let threshold = format!("younger than {}s", oldest.as_secs());
            worst = Some(Check { status, value, threshold });
        }
    }
    worst.unwrap_or(Check { status: State::Up, value: "none".to_owned(), threshold: String::new() })
}

/// How many callers a file has, and whether those on disk are in force.
fn callers(count: usize, problem: Option<FileProblem>) -> Check {
    let (status, value) = match problem {
        None => (State::Up, format!("{count} in force")),
        Some(why) => (State::Degraded, format!("{count} in force; the file on disk is not taken: {why}")),
    };
    Check { status, value, threshold: "what the file says".to_owned() }
}

/// Whether all endpoints that are looked up are as the registry says now.
fn lookups_check(lookups: &Lookups) -> Check {
    let failing: Vec<_> = lookups.statuses().filter(|one| one.error.is_some()).collect();
    let threshold = "what the registry says".to_owned();
    let Some(first) = failing.first() else {
        return Check { status: State::Up, value: "up to date".to_owned(), threshold };
    };
    let known = first.age.map_or("never known".to_owned(), |age| format!("known {}s ago", age.as_secs()));
    let error = first.error.as_deref().unwrap_or_default();
    let others =
        if failing.len() > 1 { format!(", and {} others", failing.len() - 1) } else { String::new() };
    let value = format!("{} {known}: {error}{others}", first.service);
    Check { status: State::Degraded, value, threshold }
}

/// The certificate that ends first, and whether those on disk are in force.
fn certificates(shared: &Shared) -> Option<Check> {
    let servers = shared.entries.iter().filter_map(|entry| Some(&**entry.tls.as_ref()? as &dyn Watched));
    let all: Vec<&dyn Watched> =
        servers.chain(shared.outward().map(|outward| &**outward as &dyn Watched)).collect();
    let first = all.iter().flat_map(|one| one.certificates()).map(|one| one.not_after_unix_s).min();
    let hours = first.map(|first| (first - shared.clock.unix_ms() / 1_000).div_euclid(3_600));
    let problem = all.iter().find_map(|one| one.problem());
    let is_due = hours.is_some_and(|hours| hours < CERTIFICATE_HOURS_MIN);
    let status = if is_due || problem.is_some() { State::Degraded } else { State::Up };
    let value = problem.or(hours.map(|hours| format!("{hours}h left")))?;
    Some(Check { status, value, threshold: format!("{CERTIFICATE_HOURS_MIN}h") })
}

/// What operators hold, and what they break: nobody should have to guess it.
fn held(shared: &Shared) -> Option<Check> {
    let held = shared.holds.list().into_iter().map(|held| held.text());
    let is_broken =
        |service: &&Service| service.faults.as_ref().is_some_and(|faults| faults.running().is_some());
    let broken =
        shared.services.iter().filter(is_broken).map(|service| format!("faults at {}", service.name));
    let all: Vec<String> = held.chain(broken).collect();
    let threshold = "nothing".to_owned();
    (!all.is_empty()).then(|| Check { status: State::Degraded, value: all.join("; "), threshold })
}

fn configuration(shared: &Shared) -> Check {
    let (status, value) = match shared.refused.why() {
        None => (State::Up, shared.version.short_hash().to_owned()),
        Some(why) => (State::Degraded, format!("the file on disk is not the one in force: {why}")),
    };
    Check { status, value, threshold: "what the file says".to_owned() }
}

fn revocations(shared: &Shared) -> Check {
    let set = &shared.revocations;
    let slow = set.is_slow(shared.clock.now());
    Check {
        status: if slow || set.dropped() > 0 { State::Degraded } else { State::Up },
        value: set.delay_ms().map_or_else(|| format!("{} held", set.len()), |delay| format!("{delay}ms")),
        threshold: format!("{DELAY_MAX_MS}ms"),
    }
}

/// How long a revocation may have gone unheard.
fn revocation_view(shared: &Shared, options: &Revocation) -> Check {
    let (set, now) = (&shared.revocations, shared.clock.now());
    let value = match set.age(now) {
        Some(age) => format!("{}s old", age.as_secs()),
        None => "never whole so far".to_owned(),
    };
    let is_stale = set.is_stale(now, options.stale_after);
    let status = if is_stale { State::Degraded } else { State::Up };
    let bound = leeward_resilience::config::units::show_duration(options.stale_after);
    let beyond = if options.unsafe_fail_open { "accepted" } else { "refused" };
    Check { status, value, threshold: format!("{bound}, beyond which tokens are {beyond}") }
}
