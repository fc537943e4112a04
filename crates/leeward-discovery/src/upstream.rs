//! A service as its callers see it: a set of endpoints to pick from.
//!
//! **Rule.** Two different endpoints are drawn at random from those that are available (healthy, not ejected, with room
//! for a call), and the one with the lower expected cost gets the call (Mitzenmacher, "The power of two choices"). When
//! fewer than `panic_threshold` of all are available, health and ejections are ignored: rather a failing endpoint than
//! the last good ones run over, and never nobody.

mod balance;
mod choose;
mod member;
mod picked;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use leeward_resilience::{Clock, Instant, Reason, Rejected, Rng};
use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::balance::Balance;
pub use self::picked::Picked;

use self::member::Member;
use crate::endpoint::Endpoint;
use crate::health::Health;
use crate::load::Sample;
use crate::metrics::Metrics;

/// The policy's name in rejections, metrics and explanations.
pub const NAME: &str = "balance";

/// What a caller knows that should guide the pick.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickHint<'a> {
    /// Endpoints that this call already failed at, by id: picked again only when no other is available.
    pub avoid: &'a [Arc<str>],
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

/// What is known about one endpoint, for operators.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// What the active health checks say; true before the first one.
    pub healthy: bool,
    /// How long it is still ejected.
    pub ejected_for: Option<Duration>,
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
    balance: Arc<Balance>,
    members: ArcSwap<Box<[Arc<Member>]>>,
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
        let members = ArcSwap::from_pointee(Box::default());
        let (deciding, changes) = (Mutex::new(()), watch::Sender::new(0));
        Self { shared: Arc::new(Shared { name, balance, members, deciding, changes, clock, rng, metrics }) }
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
        let members = self.shared.members.load();
        if members.is_empty() {
            return Err(NoEndpoint::Empty { service: Arc::clone(&self.shared.name) });
        }
        let chosen = self.shared.choose(&members, now, hint).ok_or_else(|| NoEndpoint::Busy {
            service: Arc::clone(&self.shared.name),
            limit: self.shared.balance.outstanding_max,
        })?;
        Ok(Picked::new(Arc::clone(&self.shared), Arc::clone(chosen), now))
    }

    /// What is known about each endpoint.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Status> {
        let now = self.shared.clock.now();
        self.shared
            .members
            .load()
            .iter()
            .map(|member| member.status(now, self.shared.balance.decay))
            .collect()
    }

    /// Whether there is an endpoint that is healthy and not ejected.
    #[must_use]
    pub fn is_available(&self) -> bool {
        let now = self.shared.clock.now();
        self.shared.members.load().iter().any(|member| member.is_sound(now))
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
        let old = shared.members.load();
        let now = shared.clock.now();
        let latency = mean_latency(&old);
        let mut new: Vec<Arc<Member>> = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            if new.iter().any(|member| member.endpoint.id() == endpoint.id()) {
                continue;
            }
            let kept = old.iter().find(|member| member.endpoint == endpoint);
            new.push(kept.map_or_else(|| Arc::new(Member::new(endpoint, latency, now)), Arc::clone));
        }
        if old.len() == new.len() && old.iter().zip(&new).all(|(a, b)| Arc::ptr_eq(a, b)) {
            return false;
        }
        tracing::debug!(service = %shared.name, endpoints = new.len(), "endpoints changed");
        shared.members.store(Arc::new(new.into_boxed_slice()));
        shared.tell();
        true
    }

    /// Takes in the answer to a health check. An endpoint that is gone by now is none of our business.
    pub(crate) fn checked(&self, endpoint: &Endpoint, good: bool, options: &Health) {
        let members = self.shared.members.load();
        let Some(member) = members.iter().find(|member| member.endpoint == *endpoint) else { return };
        match member.checked(good, options) {
            Some(true) => tracing::info!(service = %self.shared.name, %endpoint, "endpoint is healthy again"),
            Some(false) => tracing::warn!(service = %self.shared.name, %endpoint, "endpoint is unhealthy"),
            None => return,
        }
        self.shared.tell();
    }

    /// Brings the gauges up to date.
    pub(crate) fn measure(&self) {
        self.shared.measure();
    }

    /// Nobody is to count it any more.
    pub(crate) fn forget(&self) {
        if let Some(metrics) = self.shared.metrics.get() {
            metrics.endpoints.with([&self.shared.name]).set(0);
            metrics.unhealthy.with([&self.shared.name]).set(0);
        }
    }
}

/// What a newcomer is believed to take, so that it is neither flooded nor starved.
fn mean_latency(members: &[Arc<Member>]) -> Duration {
    let measured = members.iter().filter_map(|member| member.measured_latency());
    let (sum, count) = measured.fold((Duration::ZERO, 0), |(sum, count), latency| (sum + latency, count + 1));
    sum.checked_div(count).unwrap_or_default()
}

impl Shared {
    /// Takes in how a call ended; may eject the member.
    fn report(&self, member: &Member, sample: Sample, latency: Duration, now: Instant) {
        let one_too_many = member.record(sample, latency, now, &self.balance);
        if !one_too_many {
            return;
        }
        let _deciding = self.deciding.lock();
        let members = self.members.load();
        let ejected = members.iter().filter(|other| other.ejected_for(now).is_some()).count();
        if ejected < self.balance.outlier.ejected_max(members.len()) && member.ejected_for(now).is_none() {
            let until = member.eject(now, &self.balance.outlier);
            let seconds = until.saturating_duration_since(now).as_secs();
            tracing::warn!(service = %self.name, endpoint = %member.endpoint, seconds, "endpoint ejected: it keeps failing");
            if let Some(metrics) = self.metrics.get() {
                metrics.ejections.with([&self.name]).inc();
            }
            self.tell();
        }
    }

    fn tell(&self) {
        self.measure();
        self.changes.send_modify(|count| *count += 1);
    }

    fn measure(&self) {
        let Some(metrics) = self.metrics.get() else { return };
        let members = self.members.load();
        let unhealthy = members.iter().filter(|member| !member.is_healthy()).count();
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.endpoints.with([&self.name]).set(gauge(members.len()));
        metrics.unhealthy.with([&self.name]).set(gauge(unhealthy));
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.shared.members.load();
        let endpoints: Vec<_> = members.iter().map(|member| &member.endpoint).collect();
        f.debug_struct("Upstream").field("name", &self.shared.name).field("endpoints", &endpoints).finish()
    }
}
