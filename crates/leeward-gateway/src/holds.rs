//! What operators hold for a time, against what the policies would decide: breakers, endpoints, and whether new requests should come.
//!
//! The rule: nothing is held for ever. Each hold says for how long, a day at most, and ends by itself; what operators did is kept, the
//! last of it, for those who come later and wonder.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use leeward_discovery::{HoldError, Upstream};
use leeward_resilience::breaker::State;
use leeward_resilience::config::units::show_duration;
use leeward_resilience::{CircuitBreaker, Clock, Instant};
use leeward_runtime::Stop;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use crate::shared::Traffic;

/// How long something is held unless it is said.
pub(crate) const LASTS: Duration = Duration::from_secs(600);
/// How long something may be held.
pub(crate) const LASTS_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Characters of a reason.
pub(crate) const REASON_MAX: usize = 200;
/// Endpoints that may be held at a time, of all services.
const ENDPOINTS_MAX: usize = 256;
/// Acts that are remembered.
const ACTS_MAX: usize = 256;

/// For how long, and why.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) lasts: Duration,
    pub(crate) reason: String,
}

/// What an operator did, or what ended by itself.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Act {
    pub(crate) time_ms: i64,
    /// `breaker`, `endpoint`, `drain` or `faults`.
    pub(crate) of: &'static str,
    /// The service, or nothing.
    pub(crate) service: Option<Arc<str>>,
    /// The endpoint's id, of an act about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<Arc<str>>,
    /// The route's id, of faults of a route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<Arc<str>>,
    /// What it was set to.
    pub(crate) to: &'static str,
    pub(crate) lasts_s: Option<u64>,
    pub(crate) reason: String,
}

/// Something that is held.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Held {
    /// `breaker`, `endpoint` or `drain`.
    pub(crate) of: &'static str,
    pub(crate) service: Option<Arc<str>>,
    /// The endpoint's id, where one is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<Arc<str>>,
    pub(crate) state: &'static str,
    pub(crate) left_ms: u64,
    pub(crate) reason: String,
}

impl Held {
    /// In words.
    pub(crate) fn text(&self) -> String {
        let left = show_duration(Duration::from_millis(self.left_ms));
        match (&self.service, &self.endpoint) {
            (Some(service), Some(id)) => {
                format!("endpoint {id} of {service} held {} for {left} more", self.state)
            }
            (Some(service), None) => format!("{} of {service} held {} for {left} more", self.of, self.state),
            _ => format!("{} for {left} more", self.state),
        }
    }
}

/// A breaker that lets nothing pass.
const OPEN: &str = "open";

fn force(breaker: &CircuitBreaker, open: bool) {
    if open {
        breaker.force_open();
    } else {
        breaker.force_closed();
    }
}

struct Hold {
    state: &'static str,
    until: Instant,
    reason: String,
}

/// What an act is about.
#[derive(Clone, Copy, Default)]
struct On<'a> {
    of: &'static str,
    service: Option<&'a Arc<str>>,
    endpoint: Option<&'a Arc<str>>,
    route: Option<&'a Arc<str>>,
}

impl<'a> On<'a> {
    const DRAIN: On<'static> = On { of: "drain", service: None, endpoint: None, route: None };

    fn breaker(service: &'a Arc<str>) -> Self {
        Self { of: "breaker", service: Some(service), ..Self::default() }
    }

    fn endpoint((service, id): &'a (Arc<str>, Arc<str>)) -> Self {
        Self { of: "endpoint", service: Some(service), endpoint: Some(id), route: None }
    }
}

/// Whose calls or requests an experiment breaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FaultsOf<'a> {
    Service(&'a Arc<str>),
    Route(&'a Arc<str>),
}

/// Why an endpoint is not held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NotHeld {
    #[error(transparent)]
    Endpoint(#[from] HoldError),
    #[error("{ENDPOINTS_MAX} endpoints are held already: let one of them go")]
    TooMany,
}

/// An endpoint that is held, with how.
struct HeldEndpoint {
    hold: Hold,
    upstream: Upstream,
    wanted: leeward_discovery::Hold,
}

#[derive(Default)]
struct Table {
    /// By the service's name: as many as there are services with a breaker.
    breakers: BTreeMap<Arc<str>, (Hold, CircuitBreaker)>,
    /// By service and id.
    endpoints: BTreeMap<(Arc<str>, Arc<str>), HeldEndpoint>,
    drain: Option<Hold>,
    acts: VecDeque<Act>,
}

/// What is held.
pub(crate) struct Holds {
    table: Mutex<Table>,
    changed: Notify,
    traffic: Arc<Traffic>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Holds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Holds").field(&self.list()).finish()
    }
}

impl Holds {
    pub(crate) fn new(traffic: Arc<Traffic>, clock: Arc<dyn Clock>) -> Self {
        Self { table: Mutex::default(), changed: Notify::new(), traffic, clock }
    }

    /// Holds a breaker open or closed.
    pub(crate) fn breaker(&self, service: &Arc<str>, breaker: CircuitBreaker, open: bool, terms: Terms) {
        let state = if open { OPEN } else { "closed" };
        let mut table = self.table.lock();
        force(&breaker, open);
        self.tell(&mut table, On::breaker(service), state, Some(&terms));
        table.breakers.insert(Arc::clone(service), (self.hold(state, terms), breaker));
        self.changed.notify_one();
    }

    /// Lets a breaker go: it is closed, and decides for itself.
    pub(crate) fn let_go(&self, service: &Arc<str>, breaker: &CircuitBreaker) {
        let mut table = self.table.lock();
        table.breakers.remove(service);
        breaker.reset();
        self.tell(&mut table, On::breaker(service), "auto", None);
    }

    /// Holds an endpoint of a service: drained, ejected or in.
    ///
    /// # Errors
    /// There is none of this id, nobody would be left to get calls, or too many are held.
    pub(crate) fn endpoint(
        &self,
        upstream: &Upstream,
        id: &str,
        wanted: leeward_discovery::Hold,
        terms: Terms,
    ) -> Result<(), NotHeld> {
        let key: (Arc<str>, Arc<str>) = (Arc::clone(upstream.name()), id.into());
        let mut table = self.table.lock();
        if table.endpoints.len() >= ENDPOINTS_MAX && !table.endpoints.contains_key(&key) {
            return Err(NotHeld::TooMany);
        }
        upstream.hold(id, Some(wanted))?;
        self.tell(&mut table, On::endpoint(&key), wanted.as_str(), Some(&terms));
        let hold = self.hold(wanted.as_str(), terms);
        table.endpoints.insert(key, HeldEndpoint { hold, upstream: upstream.clone(), wanted });
        self.changed.notify_one();
        Ok(())
    }

    /// Lets an endpoint go: what becomes of its calls decides again.
    ///
    /// # Errors
    /// There is none of this id.
    pub(crate) fn let_endpoint_go(&self, upstream: &Upstream, id: &str) -> Result<(), NotHeld> {
        let key: (Arc<str>, Arc<str>) = (Arc::clone(upstream.name()), id.into());
        let mut table = self.table.lock();
        let was_held = table.endpoints.remove(&key).is_some();
        // Of one that is gone meanwhile the hold alone is taken back.
        match upstream.hold(id, None) {
            Err(error) if !was_held => return Err(error.into()),
            _ => {}
        }
        self.tell(&mut table, On::endpoint(&key), "auto", None);
        Ok(())
    }

    /// Says that no new requests should come. Those that come are answered, and told that the connection ends.
    pub(crate) fn drain(&self, terms: Terms) {
        let mut table = self.table.lock();
        self.traffic.hold_back(true);
        self.tell(&mut table, On::DRAIN, "drained", Some(&terms));
        table.drain = Some(self.hold("drained", terms));
        self.changed.notify_one();
    }

    /// Takes that back. `false` when there was nothing to take back.
    pub(crate) fn undrain(&self) -> bool {
        let mut table = self.table.lock();
        let was = table.drain.take().is_some();
        if was {
            self.traffic.hold_back(false);
            self.tell(&mut table, On::DRAIN, "taking", None);
        }
        was
    }

    /// Notes what was done to faults, which end by themselves.
    pub(crate) fn faults(&self, of: FaultsOf<'_>, to: &'static str, terms: Option<&Terms>) {
        let on = On { of: "faults", ..On::default() };
        let on = match of {
            FaultsOf::Service(name) => On { service: Some(name), ..on },
            FaultsOf::Route(id) => On { route: Some(id), ..on },
        };
        self.tell(&mut self.table.lock(), on, to, terms);
    }

    fn hold(&self, state: &'static str, terms: Terms) -> Hold {
        Hold { state, until: self.clock.now() + terms.lasts, reason: terms.reason }
    }

    fn tell(&self, table: &mut Table, on: On<'_>, to: &'static str, terms: Option<&Terms>) {
        let On { of, service, endpoint, route } = on;
        let lasts_s = terms.map(|terms| terms.lasts.as_secs());
        let reason = terms.map(|terms| terms.reason.clone()).unwrap_or_default();
        let [service, endpoint, route] = [service, endpoint, route].map(Option::<&Arc<str>>::cloned);
        tracing::warn!(
            target: "leeward_gateway::audit",
            of, service = service.as_deref(), endpoint = endpoint.as_deref(), route = route.as_deref(), to, lasts_s, %reason,
            "an operator acts"
        );
        if table.acts.len() == ACTS_MAX {
            table.acts.pop_front();
        }
        let time_ms = self.clock.unix_ms();
        table.acts.push_back(Act { time_ms, of, service, endpoint, route, to, lasts_s, reason });
    }

    /// What is held now.
    pub(crate) fn list(&self) -> Vec<Held> {
        let (now, table) = (self.clock.now(), self.table.lock());
        let held = |on: On<'_>, hold: &Hold| Held {
            of: on.of,
            service: on.service.cloned(),
            endpoint: on.endpoint.cloned(),
            state: hold.state,
            left_ms: u64::try_from(hold.until.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX),
            reason: hold.reason.clone(),
        };
        let drain = table.drain.iter().map(|hold| held(On::DRAIN, hold));
        let breakers = table.breakers.iter().map(|(name, (hold, _))| held(On::breaker(name), hold));
        let endpoints = table.endpoints.iter().map(|(key, one)| held(On::endpoint(key), &one.hold));
        drain.chain(breakers).chain(endpoints).collect()
    }

    /// What was done lately, newest first.
    pub(crate) fn acts(&self) -> Vec<Act> {
        self.table.lock().acts.iter().rev().cloned().collect()
    }

    /// After another configuration: what is gone is held no more, and what was made anew is held as what was there before.
    pub(crate) fn settle(
        &self,
        breaker_of: impl Fn(&str) -> Option<CircuitBreaker>,
        upstream_of: impl Fn(&str) -> Option<Upstream>,
    ) {
        let (now, mut table) = (self.clock.now(), self.table.lock());
        let table = &mut *table;
        let keys: Vec<(Arc<str>, Arc<str>)> = table.endpoints.keys().cloned().collect();
        for key in keys {
            let Some(one) = table.endpoints.get_mut(&key) else { continue };
            match upstream_of(&key.0) {
                Some(upstream) if upstream.hold(&key.1, Some(one.wanted)).is_ok() => one.upstream = upstream,
                _ => {
                    let gone = table.endpoints.remove(&key);
                    // Handles to it may still be used.
                    let _last = gone.map(|one| one.upstream.hold(&key.1, None));
                    self.tell(table, On::endpoint(&key), "gone", None);
                }
            }
        }
        let names: Vec<Arc<str>> = table.breakers.keys().cloned().collect();
        for name in names {
            let Some(breaker) = breaker_of(&name) else {
                table.breakers.remove(&name);
                self.tell(table, On::breaker(&name), "gone", None);
                continue;
            };
            let Some((hold, held)) = table.breakers.get_mut(&name) else { continue };
            if !matches!(breaker.state(now), State::ForcedOpen | State::ForcedClosed) {
                force(&breaker, hold.state == OPEN);
            }
            *held = breaker;
        }
    }

    /// Ends what is over, until the stop.
    pub(crate) async fn run(&self, stop: Stop) {
        loop {
            let left = self.end_what_is_over();
            let waiting = async {
                tokio::select! {
                    () = tokio::time::sleep(left.unwrap_or(LASTS_MAX)) => {}
                    () = self.changed.notified() => {}
                }
            };
            if stop.clone().or(waiting).await.is_none() {
                return;
            }
        }
    }

    /// The time until something else is over.
    fn end_what_is_over(&self) -> Option<Duration> {
        let (now, mut table) = (self.clock.now(), self.table.lock());
        let table = &mut *table;
        let over: Vec<Arc<str>> = table
            .breakers
            .iter()
            .filter(|(_, (hold, _))| hold.until <= now)
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in over {
            if let Some((_, breaker)) = table.breakers.remove(&name) {
                breaker.reset();
                self.tell(table, On::breaker(&name), "ended", None);
            }
        }
        let is_over = |one: &HeldEndpoint| one.hold.until <= now;
        let over: Vec<_> =
            table.endpoints.iter().filter(|(_, one)| is_over(one)).map(|(key, _)| key.clone()).collect();
        for key in over {
            if let Some(one) = table.endpoints.remove(&key) {
                // It may be gone by itself.
                let _gone = one.upstream.hold(&key.1, None);
                self.tell(table, On::endpoint(&key), "ended", None);
            }
        }
        if table.drain.as_ref().is_some_and(|hold| hold.until <= now) {
            table.drain = None;
            self.traffic.hold_back(false);
            self.tell(table, On::DRAIN, "ended", None);
        }
        let untils = table.breakers.values().map(|(hold, _)| hold.until);
        let endpoints = table.endpoints.values().map(|one| one.hold.until);
        let first = untils.chain(endpoints).chain(table.drain.iter().map(|hold| hold.until)).min();
        first.map(|until| until.saturating_duration_since(now))
    }
}
