//! A service as its callers see it: a set of endpoints to pick from.
//!
//! **Rule.** One of those that are available (healthy, not ejected, with room for a call) gets the call, as the service's
//! [`Algorithm`](crate::Algorithm) says: by default, of two drawn at random, the one with the lower expected cost. A call
//! with a key goes by consistent hash. When fewer than `panic_threshold` of all are available, health and ejections are
//! ignored: rather a failing endpoint than the last good ones run over, and never nobody.

mod choose;
mod member;
mod picked;
mod set;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use leeward_resilience::{Clock, ConfigErrors, Instant, Reason, Rejected, Rng};
use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::picked::Picked;

use self::member::Member;
use self::set::Set;
use crate::balance::Balance;
use crate::endpoint::Endpoint;
use crate::health::Health;
use crate::load::Sample;
use crate::metrics::Metrics;
use crate::outlier::{self, Outlier};

/// The policy's name in rejections, metrics and explanations.
pub const NAME: &str = "balance";

/// What a caller knows that should guide the pick.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickHint<'a> {
    /// Endpoints that this call already failed at, by id: picked again only when no other is available.
    pub avoid: &'a [Arc<str>],
    /// The [hash](crate::ring::hash) of what the call belongs to, a user or a session: calls with the same one go to the same
    /// endpoint while it is available and not busier than the others, whatever the algorithm.
    pub key: Option<u64>,
}

/// Nobody to send the call to. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEndpoint {
    /// The service has no endpoints at all.
    #[error("{service} has no endpoints")]
    Empty {
        /// Its name.
        service: Arc<str>,
    },
    /// Every endpoint has as many calls on their way as it may have.
    #[error("every endpoint of {service} has {limit} calls on their way")]
    Busy {
        /// Its name.
        service: Arc<str>,
        /// Calls at a time for each endpoint.
        limit: u32,
    },
}

/// When to come back after [`NoEndpoint`]: about the time in which endpoints come and calls end.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<&NoEndpoint> for Rejected {
    fn from(error: &NoEndpoint) -> Self {
        let reason = match *error {
            NoEndpoint::Empty { .. } => Reason::NoEndpoint,
            NoEndpoint::Busy { limit, .. } => Reason::EndpointsBusy { limit },
        };
        Self::new(NAME, reason).with_retry_after(Some(RETRY_AFTER))
    }
}

/// What an operator wants of one endpoint, whatever it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It gets no new calls, not even when hardly anybody else is left; those on their way end. When every endpoint is drained, none is:
    /// rather one that is to go than nobody.
    Drained,
    /// It is left alone as if it did worse than the others.
    Ejected,
    /// It is not ejected, whatever becomes of its calls. A failed health check keeps it out all the same.
    In,
}

impl Hold {
    /// The hold in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Ejected => "ejected",
            Self::In => "in",
        }
    }
}

/// Why an endpoint is not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// The service has none of this id.
    #[error("the service has no such endpoint")]
    Unknown,
    /// Nobody would be left to get calls.
    #[error("it is the last endpoint that is not drained")]
    Last,
}

/// What is known about one endpoint, for operators.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// What the active health checks say; true before the first one.
    pub healthy: bool,
    /// How long it is still ejected, for what it did.
    pub ejected_for: Option<Duration>,
    /// For what: `consecutive_failures`, `failure_rate` or `latency`.
    pub ejected_because: Option<&'static str>,
    /// What an operator wants of it.
    pub held: Option<Hold>,
    /// Calls on their way.
    pub outstanding: u32,
    /// Its average latency.
    pub latency: Duration,
    /// Share of failures, weighted towards the recent ones, 0 ..= 1.
    pub failures: f64,
}

/// A service's endpoints. Clones share them.
#[derive(Clone)]
pub struct Upstream {
    shared: Arc<Shared>,
}

struct Shared {
    name: Arc<str>,
    set: ArcSwap<Set>,
    /// The turns that round robin has dealt out.
    turn: AtomicU64,
    /// Whether so few are sound that soundness does not count.
    panic: AtomicBool,
    /// When that is to be found out again, in nanoseconds of an `Instant`.
    recount_at: AtomicU64,
    /// Picks of a panic that the metrics do not show yet.
    panic_picks: AtomicU64,
    /// When endpoints are compared next, in nanoseconds of an `Instant`.
    compare_at: AtomicU64,
    /// Whether the directory knows it no more: what its last calls come to is shown nowhere. Held while gauges are written.
    is_forgotten: Mutex<bool>,
    /// Held while the set changes and while an ejection is decided.
    deciding: Mutex<()>,
    changes: watch::Sender<u64>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    metrics: Arc<OnceLock<Metrics>>,
}

impl Upstream {
    pub(crate) fn new(
        name: Arc<str>,
        balance: Arc<Balance>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        metrics: Arc<OnceLock<Metrics>>,
    ) -> Self {
        let zero = AtomicU64::default;
        let shared = Shared {
            name,
            set: ArcSwap::from_pointee(Set::new(Vec::new(), balance)),
            turn: zero(),
            panic: AtomicBool::new(false),
            recount_at: zero(),
            panic_picks: zero(),
            compare_at: zero(),
            is_forgotten: Mutex::new(false),
            deciding: Mutex::new(()),
            changes: watch::Sender::new(0),
            clock,
            rng,
            metrics,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// Picks the endpoint for one call at `now`. What becomes of the call is reported to the [`Picked`].
    ///
    /// # Errors
    /// [`NoEndpoint`] when there is none at all, or when all have their hands full. Never because all are unhealthy.
    pub fn pick(&self, now: Instant, hint: &PickHint<'_>) -> Result<Picked, NoEndpoint> {
        let set = self.shared.set.load();
        if set.members.is_empty() {
            return Err(NoEndpoint::Empty { service: Arc::clone(&self.shared.name) });
        }
        let chosen = self.shared.choose(&set, now, hint).ok_or_else(|| NoEndpoint::Busy {
            service: Arc::clone(&self.shared.name),
            limit: set.balance.outstanding_max,
        })?;
        Ok(Picked::new(Arc::clone(&self.shared), Arc::clone(chosen), now))
    }

    /// What is known about each endpoint.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Status> {
        let (now, set) = (self.shared.clock.now(), self.shared.set.load());
        let decay = set.balance.decay();
        set.all().map(|(member, weight)| member.status(weight, now, decay)).collect()
    }

    /// Does with an endpoint what an operator wants; `None` lets it go. A hold goes with its endpoint: who puts it into the set again, or makes
    /// the service anew, says it again.
    ///
    /// # Errors
    /// There is no such endpoint, or it is the last one that could be drained.
    pub fn hold(&self, id: &str, wanted: Option<Hold>) -> Result<(), HoldError> {
        let shared = &*self.shared;
        let _deciding = shared.deciding.lock();
        let set = shared.set.load();
        let is_it = |member: &Member| **member.endpoint.id() == *id;
        let (member, _) = set.all().find(|(member, _)| is_it(member)).ok_or(HoldError::Unknown)?;
        if member.held() == wanted {
            return Ok(());
        }
        let mut others = set.all().filter(|(member, _)| !is_it(member));
        let is_last = others.all(|(member, _)| member.held() == Some(Hold::Drained));
        if wanted == Some(Hold::Drained) && is_last {
            return Err(HoldError::Last);
        }
        member.hold(wanted, shared.clock.now());
        let all = set.all().map(|(member, weight)| (Arc::clone(member), weight)).collect();
        shared.set.store(Arc::new(Set::new(all, Arc::clone(&set.balance))));
        shared.tell();
        Ok(())
    }

    /// The options of balancing in force.
    #[must_use]
    pub fn balance(&self) -> Arc<Balance> {
        Arc::clone(&self.shared.set.load().balance)
    }

    /// Puts other options of balancing into force, for this service alone. Endpoints keep their history.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn configure(&self, balance: Balance) -> Result<(), ConfigErrors> {
        balance.validate()?;
        let shared = &*self.shared;
        let _deciding = shared.deciding.lock();
        let old = shared.set.load();
        if *old.balance != balance {
            let all = old.all().map(|(member, weight)| (Arc::clone(member), weight)).collect();
            shared.set.store(Arc::new(Set::new(all, Arc::new(balance))));
            shared.tell();
        }
        Ok(())
    }

    /// Whether there is an endpoint that is healthy and not ejected.
    #[must_use]
    pub fn is_available(&self) -> bool {
        let now = self.shared.clock.now();
        self.shared.set.load().members.iter().any(|member| member.is_sound(now))
    }

    /// Resolves its `changed` whenever the set of endpoints, their health or their ejections change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Replaces the set; `false` when it is the same as before.
    pub(crate) fn replace(&self, endpoints: Vec<Endpoint>) -> bool {
        let shared = &*self.shared;
        let _deciding = shared.deciding.lock();
        let old = shared.set.load();
        let now = shared.clock.now();
        let latency = mean_latency(&old.members);
        // Who comes together with everybody else has nobody to catch up with.
        let since = if old.members.is_empty() { Instant::ZERO } else { now };
        let mut new: Vec<(Arc<Member>, u32)> = Vec::with_capacity(endpoints.len());
        let mut ids = HashSet::with_capacity(endpoints.len());
        let known: HashMap<_, _> = old.all().map(|(member, _)| (member.endpoint.id(), member)).collect();
        for endpoint in endpoints {
            if !ids.insert(Arc::clone(endpoint.id())) {
                continue;
            }
            let weight = endpoint.weight();
            let kept = known.get(endpoint.id()).filter(|member| member.endpoint.is_at(&endpoint));
            let member = kept.map_or_else(
                || Arc::new(Member::new(endpoint, latency, now, since)),
                |kept| Arc::clone(kept),
            );
            new.push((member, weight));
        }
        let new = Set::new(new, Arc::clone(&old.balance));
        if old.is_like(&new) {
            return false;
        }
        tracing::debug!(service = %shared.name, endpoints = new.members.len(), "endpoints changed");
        shared.set.store(Arc::new(new));
        shared.tell();
        true
    }

    /// Takes in the answer to a health check. An endpoint that is gone by now is none of our business.
    pub(crate) fn checked(&self, endpoint: &Endpoint, good: bool, options: &Health) {
        let set = self.shared.set.load();
        let Some((member, _)) = set.all().find(|(member, _)| member.endpoint.is_at(endpoint)) else { return };
        match member.checked(good, self.shared.clock.now(), options) {
            Some(true) => tracing::info!(service = %self.shared.name, %endpoint, "endpoint is healthy again"),
            Some(false) => tracing::warn!(service = %self.shared.name, %endpoint, "endpoint is unhealthy"),
            None => return,
        }
        self.shared.tell();
    }

    /// Nobody asks any more: what was unhealthy gets calls again, and what becomes of those says how it is.
    pub(crate) fn unchecked(&self) {
        let now = self.shared.clock.now();
        let set = self.shared.set.load();
        let changed = set.all().filter(|(member, _)| member.unchecked(now)).count();
        if changed > 0 {
            tracing::info!(service = %self.shared.name, endpoints = changed, "endpoints get calls again, since nobody checks them");
            self.shared.tell();
        }
    }

    /// Brings the gauges up to date.
    pub(crate) fn measure(&self) {
        self.shared.measure();
    }

    /// Whether this is the only handle, and there are no endpoints.
    pub(crate) fn is_unused(&self) -> bool {
        Arc::strong_count(&self.shared) == 1 && self.shared.set.load().members.is_empty()
    }

    /// Nobody is to count it any more.
    pub(crate) fn forget(&self) {
        let mut is_forgotten = self.shared.is_forgotten.lock();
        *is_forgotten = true;
        if let Some(metrics) = self.shared.metrics.get() {
            metrics.endpoints.forget(0, &self.shared.name);
            metrics.unhealthy.forget(0, &self.shared.name);
        }
    }
}

/// What a newcomer is believed to take, so that it is neither flooded nor starved.
fn mean_latency(members: &[Arc<Member>]) -> Duration {
    let measured = members.iter().filter_map(|member| member.measured_latency());
    let (sum, count) = measured.fold((Duration::ZERO, 0), |(sum, count), latency| (sum + latency, count + 1));
    sum.checked_div(count).unwrap_or_default()
}

/// The mean of the recent shares of failures of all but one.
#[allow(clippy::cast_precision_loss, reason = "counts of endpoints are far below 2^52")]
fn others(set: &Set, member: &Member, now: Instant) -> f64 {
    let others = set.members.iter().filter(|other| !std::ptr::eq(&***other, member));
    let sum: f64 = others.map(|other| other.failures(now, &set.balance)).sum();
    sum / set.members.len().saturating_sub(1).max(1) as f64
}

impl Shared {
    /// Takes in how a call ended; may eject the member, or another one when it is time to compare them.
    fn report(&self, member: &Member, sample: Sample, latency: Duration, now: Instant) {
        let set = self.set.load();
        let one_too_many = member.record(sample, latency, now, &set.balance);
        let Some(options) = &set.balance.outlier else { return };
        if one_too_many && options.fails_more(member.failures(now, &set.balance), others(&set, member, now)) {
            self.eject(&set, options, member, outlier::Reason::ConsecutiveFailures, now);
        }
        let compare_at = self.compare_at.load(Ordering::Relaxed);
        if now.as_nanos() >= compare_at {
            let next = (now + options.interval).as_nanos();
            let swap =
                self.compare_at.compare_exchange(compare_at, next, Ordering::Relaxed, Ordering::Relaxed);
            // One of the cores that come at this time does it. What was counted before the first comparison has no known start.
            if swap.is_ok() {
                self.compare(&set, options, compare_at > 0, now);
            }
        }
    }

    /// Compares the endpoints by what they did in the interval that is over.
    fn compare(&self, set: &Set, options: &Outlier, judge: bool, now: Instant) {
        let counted: Vec<_> = set.members.iter().map(|member| member.count()).collect();
        if !judge {
            return;
        }
        for (member, reason) in set.members.iter().zip(options.compare(&counted)) {
            if let Some(reason) = reason {
                self.eject(set, options, member, reason, now);
            }
        }
    }

    fn eject(&self, set: &Set, options: &Outlier, member: &Member, reason: outlier::Reason, now: Instant) {
        let _deciding = self.deciding.lock();
        let ejected = set.members.iter().filter(|other| other.ejected_for(now).is_some()).count();
        if ejected >= options.ejected_max(set.members.len()) || member.ejected_for(now).is_some() {
            return;
        }
        let Some(until) = member.eject(now, options, reason) else { return };
        let (seconds, reason) = (until.saturating_duration_since(now).as_secs(), reason.as_str());
        tracing::warn!(service = %self.name, endpoint = %member.endpoint, seconds, reason, "endpoint ejected");
        if let Some(metrics) = self.metrics.get() {
            metrics.ejections.with([&self.name, reason]).inc();
        }
        self.tell();
    }

    fn tell(&self) {
        self.recount_at.store(0, Ordering::Relaxed);
        self.measure();
        self.changes.send_modify(|count| *count += 1);
    }

    fn measure(&self) {
        let Some(metrics) = self.metrics.get() else { return };
        self.count_panic_picks();
        let is_forgotten = self.is_forgotten.lock();
        if *is_forgotten {
            return;
        }
        let set = self.set.load();
        let unhealthy = set.all().filter(|(member, _)| !member.is_healthy()).count();
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.endpoints.with([&self.name]).set(gauge(set.all().count()));
        metrics.unhealthy.with([&self.name]).set(gauge(unhealthy));
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.shared.set.load();
        let endpoints: Vec<_> = set.members.iter().map(|member| &member.endpoint).collect();
        f.debug_struct("Upstream").field("name", &self.shared.name).field("endpoints", &endpoints).finish()
    }
}
