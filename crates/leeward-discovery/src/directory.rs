//! Where the services are: names to sets of endpoints that may change at any time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use leeward_resilience::{Clock, ConfigErrors, FastRng, Rng, TokioClock};
use leeward_telemetry::metrics::Registry;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::balance::Balance;
use crate::endpoint::Endpoint;
use crate::metrics::Metrics;
use crate::upstream::Upstream;

/// Names to endpoints. Clones share it. The [`Upstream`]s it hands out follow every change, so that a service can move to
/// another process and back under its callers.
#[derive(Clone)]
pub struct Directory {
    shared: Arc<Shared>,
}

struct Shared {
    services: RwLock<HashMap<Arc<str>, Upstream>>,
    /// Counts the changes of any endpoint set.
    changes: watch::Sender<u64>,
    balance: Arc<Balance>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    metrics: Arc<OnceLock<Metrics>>,
}

impl Directory {
    /// An empty directory with the default [`Balance`], on tokio time.
    #[must_use]
    pub fn new() -> Self {
        Self::build(Balance::default(), Arc::new(TokioClock), Arc::new(FastRng::from_entropy()))
    }

    /// An empty directory with its own options, clock and randomness.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with(balance: Balance, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Result<Self, ConfigErrors> {
        balance.validate()?;
        Ok(Self::build(balance, clock, rng))
    }

    fn build(balance: Balance, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        let (services, changes, metrics) = (RwLock::default(), watch::Sender::new(0), Arc::default());
        Self {
            shared: Arc::new(Shared { services, changes, balance: Arc::new(balance), clock, rng, metrics }),
        }
    }

    /// Shows its [`metrics`](crate::metrics) in `registry`; only the first one counts.
    pub fn export(&self, registry: &Registry) {
        self.shared.metrics.get_or_init(|| Metrics::new(registry));
        self.services().iter().for_each(Upstream::measure);
    }

    /// Puts these endpoints in place of those that `service` had. One that stays, by id and URL, keeps its history; calls
    /// on their way to one that goes end normally. Of two with the same id the first counts.
    pub fn set(&self, service: &str, endpoints: impl IntoIterator<Item = Endpoint>) {
        if self.upstream(service).replace(endpoints.into_iter().collect()) {
            self.shared.changes.send_modify(|count| *count += 1);
        }
    }

    /// Takes all endpoints of `service` away. Handles to it stay, and have nobody to call.
    pub fn clear(&self, service: &str) {
        self.set(service, []);
    }

    /// Forgets `service`. Handles to it stay as they are, and nobody else finds what they find: calls that are on their way end
    /// normally. Asked for again, it is another one, without endpoints and without a history.
    pub fn remove(&self, service: &str) {
        let removed = self.shared.services.write().remove(service);
        if let Some(upstream) = removed {
            upstream.forget();
            self.shared.changes.send_modify(|count| *count += 1);
        }
    }

    /// Forgets `service` if nobody has any use for it: it has no endpoints, and nobody has a handle to it. Who asked for a name that came
    /// to nothing leaves no trace by this, and takes nothing from somebody who asked for it, or set it, meanwhile. Whether it was
    /// forgotten.
    pub fn forget_unused(&self, service: &str) -> bool {
        let mut services = self.shared.services.write();
        // Handles come from here alone: with the lock held, nobody gets another one.
        if !services.get(service).is_some_and(Upstream::is_unused) {
            return false;
        }
        let removed = services.remove(service);
        drop(services);
        if let Some(upstream) = removed {
            upstream.forget();
        }
        true
    }

    /// The service, if anybody has set or asked for it.
    #[must_use]
    pub fn service(&self, service: &str) -> Option<Upstream> {
        self.shared.services.read().get(service).cloned()
    }

    /// The service, for a caller that may be there before its endpoints are. Names come from code and configuration, never
    /// from requests: a name once asked for is kept.
    #[must_use]
    pub fn upstream(&self, service: &str) -> Upstream {
        if let Some(upstream) = self.service(service) {
            return upstream;
        }
        let shared = &*self.shared;
        let mut services = shared.services.write();
        let name: Arc<str> = service.into();
        let new = || {
            let (clock, rng) = (Arc::clone(&shared.clock), Arc::clone(&shared.rng));
            let (balance, metrics) = (Arc::clone(&shared.balance), Arc::clone(&shared.metrics));
            Upstream::new(Arc::clone(&name), balance, clock, rng, metrics)
        };
        services.entry(Arc::clone(&name)).or_insert_with(new).clone()
    }

    /// All services, by name.
    #[must_use]
    pub fn services(&self) -> Vec<Upstream> {
        let mut all: Vec<_> = self.shared.services.read().values().cloned().collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// Forgets what health checks have said, for when nobody makes them any more: an endpoint that was unhealthy gets calls again.
    pub fn uncheck(&self) {
        self.services().iter().for_each(Upstream::unchecked);
    }

    /// Resolves its `changed` whenever the endpoints of any service were changed.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.services()).finish()
    }
}
