//! What operators hold for a time, against what the policies would decide: breakers, and whether new requests should come.
//!
//! The rule: nothing is held for ever. Each hold says for how long, a day at most, and ends by itself; what operators did is kept, the
//! last of it, for those who come later and wonder.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

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
    /// `breaker`, `drain` or `faults`.
    pub(crate) of: &'static str,
    /// The service, or nothing.
    pub(crate) service: Option<Arc<str>>,
    /// What it was set to.
    pub(crate) to: &'static str,
    pub(crate) lasts_s: Option<u64>,
    pub(crate) reason: String,
}

/// Something that is held.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Held {
    /// `breaker` or `drain`.
    pub(crate) of: &'static str,
    pub(crate) service: Option<Arc<str>>,
    pub(crate) state: &'static str,
    pub(crate) left_ms: u64,
    pub(crate) reason: String,
}

impl Held {
    /// In words.
    pub(crate) fn text(&self) -> String {
        let left = show_duration(Duration::from_millis(self.left_ms));
        match &self.service {
            Some(service) => format!("{} of {service} held {} for {left} more", self.of, self.state),
            None => format!("{} for {left} more", self.state),
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

#[derive(Default)]
struct Table {
    /// By the service's name: as many as there are services with a breaker.
    breakers: BTreeMap<Arc<str>, (Hold, CircuitBreaker)>,
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
        self.tell(&mut table, ("breaker", Some(service), state), Some(&terms));
        table.breakers.insert(Arc::clone(service), (self.hold(state, terms), breaker));
        self.changed.notify_one();
    }

    /// Lets a breaker go: it is closed, and decides for itself.
    pub(crate) fn let_go(&self, service: &Arc<str>, breaker: &CircuitBreaker) {
        let mut table = self.table.lock();
        table.breakers.remove(service);
        breaker.reset();
        self.tell(&mut table, ("breaker", Some(service), "auto"), None);
    }

    /// Says that no new requests should come. Those that come are answered, and told that the connection ends.
    pub(crate) fn drain(&self, terms: Terms) {
        let mut table = self.table.lock();
        self.traffic.hold_back(true);
        self.tell(&mut table, ("drain", None, "drained"), Some(&terms));
        table.drain = Some(self.hold("drained", terms));
        self.changed.notify_one();
    }

    /// Takes that back. `false` when there was nothing to take back.
    pub(crate) fn undrain(&self) -> bool {
        let mut table = self.table.lock();
        let was = table.drain.take().is_some();
        if was {
            self.traffic.hold_back(false);
            self.tell(&mut table, ("drain", None, "taking"), None);
        }
        was
    }

    /// Notes what was done to the faults of a service, which end by themselves.
    pub(crate) fn faults(&self, service: &Arc<str>, to: &'static str, terms: Option<&Terms>) {
        self.tell(&mut self.table.lock(), ("faults", Some(service), to), terms);
    }

    fn hold(&self, state: &'static str, terms: Terms) -> Hold {
        Hold { state, until: self.clock.now() + terms.lasts, reason: terms.reason }
    }

    fn tell(
        &self,
        table: &mut Table,
        (of, service, to): (&'static str, Option<&Arc<str>>, &'static str),
        terms: Option<&Terms>,
    ) {
        let lasts_s = terms.map(|terms| terms.lasts.as_secs());
        let reason = terms.map(|terms| terms.reason.clone()).unwrap_or_default();
        tracing::warn!(target: "leeward_gateway::audit", of, service = service.map(|name| &**name), to, lasts_s, %reason, "an operator acts");
        if table.acts.len() == ACTS_MAX {
            table.acts.pop_front();
        }
        let (time_ms, service) = (self.clock.unix_ms(), service.cloned());
        table.acts.push_back(Act { time_ms, of, service, to, lasts_s, reason });
    }

    /// What is held now.
    pub(crate) fn list(&self) -> Vec<Held> {
        let (now, table) = (self.clock.now(), self.table.lock());
        let held = |of, service: Option<&Arc<str>>, hold: &Hold| Held {
            of,
            service: service.cloned(),
            state: hold.state,
            left_ms: u64::try_from(hold.until.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX),
            reason: hold.reason.clone(),
        };
        let drain = table.drain.iter().map(|hold| held("drain", None, hold));
        let breakers = table.breakers.iter().map(|(name, (hold, _))| held("breaker", Some(name), hold));
        drain.chain(breakers).collect()
    }

    /// What was done lately, newest first.
    pub(crate) fn acts(&self) -> Vec<Act> {
        self.table.lock().acts.iter().rev().cloned().collect()
    }

    /// After another configuration: a breaker that is gone is held no more, and one that was made anew is held as the one before.
    pub(crate) fn settle(&self, breaker_of: impl Fn(&str) -> Option<CircuitBreaker>) {
        let (now, mut table) = (self.clock.now(), self.table.lock());
        let table = &mut *table;
        let names: Vec<Arc<str>> = table.breakers.keys().cloned().collect();
        for name in names {
            let Some(breaker) = breaker_of(&name) else {
                table.breakers.remove(&name);
                self.tell(table, ("breaker", Some(&name), "gone"), None);
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
                self.tell(table, ("breaker", Some(&name), "ended"), None);
            }
        }
        if table.drain.as_ref().is_some_and(|hold| hold.until <= now) {
            table.drain = None;
            self.traffic.hold_back(false);
            self.tell(table, ("drain", None, "ended"), None);
        }
        let untils = table.breakers.values().map(|(hold, _)| hold.until);
        let first = untils.chain(table.drain.iter().map(|hold| hold.until)).min();
        first.map(|until| until.saturating_duration_since(now))
    }
}
