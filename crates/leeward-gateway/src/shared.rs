//! What all cores share: immutable tables made of one configuration, and handles to what outlives it.
//!
//! A snapshot is made whole before anybody sees it, and never changes. Whatever a policy has learnt is kept under a stable id (a
//! service's name, a route's id) and handed from one snapshot to the next.

mod departed;
mod make;
mod own;
mod pending;
mod standby;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use leeward_discovery::{Directory, Upstream};
use leeward_resilience::{Clock, ConcurrencyLimit, FaultInjector, Pipeline, PipelineOptions, Rng};
use leeward_service::identity::Minter;
use leeward_telemetry::metrics::Counter;
use serde::Serialize;
use tokio::sync::watch;

pub(crate) use self::departed::{Departed, Gone, Leaving};
pub(crate) use self::own::OwnPolicies;
pub(crate) use self::pending::Pending;
pub(crate) use self::standby::Standby;

use self::make::Making;
use crate::access::AccessLog;
use crate::config::{Config, HashOn, Route};
use crate::cors;
use crate::credentials::{Accepted, Accounts, Checks, Keys, Store};
use crate::delivery::{Kept, Moving, Problem, Progress, State};
use crate::gateway::Error;
use crate::holds::Holds;
use crate::jwt::Authentication;
use crate::layer::Maker;
use crate::limits::{ByAddress, ByName};
use crate::lookups::Lookups;
use crate::metrics::Metrics;
use crate::plane::{Entry, Load};
use crate::reload::Refused;
use crate::revocation::Revocations;
use crate::router::Router;
use crate::security_headers;
use crate::split::Shares;
use crate::stale::StaleStore;
use crate::tls::Outward;
use crate::upstream::Way;

/// A service as the request path needs it.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: Arc<str>,
    pub(crate) name_header: http::HeaderValue,
    pub(crate) upstream: Upstream,
    /// What a request is balanced by, if it is.
    pub(crate) hash_on: Option<HashOn>,
    pub(crate) pipeline: Pipeline,
    /// What the pipeline was given.
    pub(crate) options: PipelineOptions,
    pub(crate) way: Way,
    /// What operators may break its calls with; `None` where they may not.
    pub(crate) faults: Option<FaultInjector>,
    pub(crate) attempt_timeout: Duration,
    pub(crate) read_timeout: Duration,
}

impl Service {
    /// Its own policies.
    pub(crate) fn outbound(&self) -> Outbound<'_> {
        Outbound { pipeline: &self.pipeline, attempt_longest: self.attempt_timeout }
    }
}

/// What a request goes through on its way to a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outbound<'s> {
    pub(crate) pipeline: &'s Pipeline,
    /// The longest that an attempt may take.
    pub(crate) attempt_longest: Duration,
}

/// Who answers the requests of a route. Services are places in [`Shared::services`].
#[derive(Debug)]
pub(crate) enum Answers {
    /// The gateway itself.
    Gateway,
    /// A service.
    Service(usize),
    /// One of several services.
    OneOf(Box<Dealt>),
}

/// A split at work.
#[derive(Debug)]
pub(crate) struct Dealt {
    /// In the order of the split.
    pub(crate) services: Box<[usize]>,
    /// What each of them got.
    pub(crate) requests: Box<[Counter]>,
    /// Those of now: of a delivery, operators move them.
    pub(crate) shares: Arc<ArcSwap<Shares>>,
    pub(crate) moving: Option<Arc<Moving>>,
    /// How many turns were dealt out, under this configuration and those before it.
    pub(crate) turns: Arc<AtomicU64>,
}

/// A route of a configuration.
#[derive(Debug)]
pub(crate) struct OfConfig {
    config: Arc<Config>,
    number: usize,
}

impl std::ops::Deref for OfConfig {
    type Target = Route;

    fn deref(&self) -> &Route {
        &self.config.routes[self.number]
    }
}

/// A route as the request path needs it.
#[derive(Debug)]
pub(crate) struct RouteState {
    pub(crate) config: OfConfig,
    /// What it is counted as: its id, or with all beyond the budget `other`.
    pub(crate) label: Arc<str>,
    pub(crate) answers: Answers,
    pub(crate) deadline: Duration,
    pub(crate) body_bytes_max: u64,
    pub(crate) limiter: Option<ByName>,
    /// For each of its services, where it has policies for itself; else empty.
    pub(crate) own: Box<[OwnPolicies]>,
    /// What answers when its service fails.
    pub(crate) standby: Option<Standby>,
    /// What browsers are told about its answers.
    pub(crate) security: Arc<security_headers::Ready>,
    /// What operators may break its requests with; `None` where they may not.
    pub(crate) faults: Option<FaultInjector>,
}

impl RouteState {
    /// The policies in front of one of its services: its own, or those of the service.
    pub(crate) fn outbound<'s>(&'s self, shared: &Shared, service: &'s Service) -> Outbound<'s> {
        let is_its = |own: &&OwnPolicies| std::ptr::eq(&raw const shared.services[own.service], service);
        match self.own.iter().find(is_its) {
            Some(own) => Outbound { pipeline: &own.pipeline, attempt_longest: own.options.attempt_longest() },
            None => service.outbound(),
        }
    }

    /// For how long a request may go on when its deadline is over.
    pub(crate) fn beyond_deadline(&self) -> Duration {
        self.standby.as_ref().map_or(Duration::ZERO, Standby::beyond_deadline)
    }

    /// Its delivery, if it has one.
    pub(crate) fn moving(&self) -> Option<&Moving> {
        match &self.answers {
            Answers::OneOf(dealt) => dealt.moving.as_deref(),
            Answers::Gateway | Answers::Service(_) => None,
        }
    }
}

/// Names with passwords, as the request path needs them.
#[derive(Debug)]
pub(crate) struct Basic {
    pub(crate) store: Arc<Store<Accounts>>,
    pub(crate) checks: Arc<Checks>,
    pub(crate) attempts: ByAddress,
}

/// Whether connections are taken, and how many there are.
#[derive(Default, Debug)]
pub(crate) struct Traffic {
    draining: AtomicBool,
    /// Whether an operator wants no new requests, for now.
    held_back: AtomicBool,
    /// The same, for those who wait for it.
    holding_back: watch::Sender<bool>,
    ready: AtomicBool,
    connections: AtomicUsize,
    cores: OnceLock<Vec<Arc<Load>>>,
}

impl Traffic {
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed) || self.held_back.load(Ordering::Relaxed)
    }

    /// An operator says whether new requests should come.
    pub(crate) fn hold_back(&self, is_wanted: bool) {
        self.held_back.store(is_wanted, Ordering::Relaxed);
        self.holding_back.send_replace(is_wanted);
    }

    pub(crate) fn follow_hold(&self) -> watch::Receiver<bool> {
        self.holding_back.subscribe()
    }

    /// Notes that the gateway could tell users apart.
    pub(crate) fn ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_been_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub(crate) fn has_cores(&self, cores: &[Arc<Load>]) {
        self.cores.get_or_init(|| cores.to_vec());
    }

    /// What each core has to do.
    pub(crate) fn cores(&self) -> &[Arc<Load>] {
        self.cores.get().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn opened(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// What lives as long as the gateway, whatever its configuration.
#[derive(Clone, Debug)]
pub(crate) struct Lasting {
    pub(crate) directory: Directory,
    pub(crate) minter: Option<Minter>,
    pub(crate) metrics: Metrics,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) holds: Arc<Holds>,
    /// How connections to each listener begin.
    pub(crate) entries: Arc<[Arc<Entry>]>,
    pub(crate) access: Option<Arc<AccessLog>>,
    pub(crate) refused: Arc<Refused>,
    pub(crate) departed: Arc<Departed>,
    /// Where it is kept how far deliveries are, if it is.
    pub(crate) deliveries: Option<Arc<Kept>>,
    /// What the program puts on the path.
    pub(crate) layers: Arc<[Maker]>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
}

/// Which configuration a snapshot was made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Version {
    /// How many configurations have been in force since the start, this one included.
    pub epoch: u64,
    /// [`Config::hash`].
    pub hash: String,
    /// When it came into force, in milliseconds of Unix time.
    pub since_ms: i64,
}

impl Version {
    /// Enough of the hash to tell configurations apart by eye: 12 hexadecimal digits.
    #[must_use]
    pub fn short_hash(&self) -> &str {
        self.hash.get(..12).unwrap_or(&self.hash)
    }
}

/// One snapshot: everything that the cores share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) version: Version,
    pub(crate) config: Arc<Config>,
    /// Where protections are taken away.
    pub(crate) relaxed: Arc<[String]>,
    pub(crate) router: Router,
    pub(crate) routes: Vec<RouteState>,
    /// By name.
    pub(crate) services: Vec<Service>,
    pub(crate) cors: Option<cors::Compiled>,
    /// What browsers are told about answers that no route has.
    pub(crate) security: Arc<security_headers::Ready>,
    pub(crate) by_address: Option<ByAddress>,
    pub(crate) by_principal: Option<ByName>,
    pub(crate) shed: ConcurrencyLimit,
    pub(crate) authentication: Option<Authentication>,
    pub(crate) api_keys: Option<Arc<Store<Keys>>>,
    pub(crate) basic: Option<Basic>,
    /// What says who calls.
    pub(crate) accepted: Accepted,
    /// How the keys of each issuer are fetched, where that is encrypted and their place is a URL.
    pub(crate) keys_tls: Vec<Option<Arc<Outward>>>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) minter: Option<Minter>,
    pub(crate) stale: Arc<StaleStore>,
    pub(crate) metrics: Metrics,
    pub(crate) directory: Directory,
    pub(crate) lookups: Option<Arc<Lookups>>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) entries: Arc<[Arc<Entry>]>,
    pub(crate) access: Option<Arc<AccessLog>>,
    pub(crate) refused: Arc<Refused>,
    /// What the program puts on the path.
    pub(crate) layers: Arc<[Maker]>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    /// Where it is kept how far deliveries are.
    kept: Option<Arc<Kept>>,
    /// The last to be dropped: nothing of this snapshot counts anything after that.
    pub(crate) leaving: Leaving,
}

impl Shared {
    /// The first snapshot.
    ///
    /// # Errors
    /// A policy whose options do not go together; files of certificates that cannot be used.
    pub(crate) fn new(
        config: &Arc<Config>,
        lookups: Option<Arc<Lookups>>,
        lasting: &Lasting,
    ) -> Result<Self, Error> {
        let mut pending = Pending::default();
        let first = Making { config, lookups, lasting, old: None, pending: &mut pending }.snapshot()?;
        // Nobody sees it before it is in force.
        pending.apply();
        Ok(first)
    }

    /// The snapshot after this one. Nothing is different for anybody until `pending` is applied and the snapshot published.
    ///
    /// # Errors
    /// As [`Shared::new`]; then nothing has changed.
    pub(crate) fn after(
        &self,
        config: &Arc<Config>,
        lookups: Option<Arc<Lookups>>,
        lasting: &Lasting,
        pending: &mut Pending,
    ) -> Result<Self, Error> {
        Making { config, lookups, lasting, old: Some(self), pending }.snapshot()
    }

    /// Shows in the metrics which configuration is in force.
    pub(crate) fn measure(&self) {
        let Version { epoch, since_ms, .. } = self.version;
        let hash = u64::from_str_radix(self.version.short_hash(), 16).unwrap_or_default();
        self.metrics.config_hash.set(hash.cast_signed());
        self.metrics.config_epoch.set(epoch.cast_signed());
        self.metrics.config_since.set(since_ms / 1_000);
        let folded = self.routes.len().saturating_sub(self.config.metrics.routes);
        self.metrics.routes_folded.set(i64::try_from(folded).unwrap_or(i64::MAX));
        self.metrics.unsafe_options.set(i64::try_from(self.relaxed.len()).unwrap_or(i64::MAX));
        if !self.relaxed.is_empty() {
            tracing::warn!(
                count = self.relaxed.len(),
                options = self.relaxed.join(", "),
                "protections are taken away by the configuration: `leeward lint` says what each lets happen"
            );
        }
        if folded > 0 {
            tracing::warn!(
                folded,
                budget = self.config.metrics.routes,
                "routes are counted as `other`: `metrics.routes` allows no more"
            );
        }
    }

    /// The deliveries, with their routes.
    pub(crate) fn moving(&self) -> impl Iterator<Item = (&RouteState, &Moving)> {
        self.routes.iter().filter_map(|route| Some((route, route.moving()?)))
    }

    /// How far each delivery is, of which one is at another state than its own.
    fn deliveries(&self, at: Option<(&Moving, State)>) -> Vec<Progress> {
        let entry = |(route, moving): (&RouteState, &Moving)| {
            let other = at.filter(|(one, _)| std::ptr::eq(*one, moving)).map(|(_, state)| state);
            Progress::new(&route.config.id, moving, other.unwrap_or_else(|| moving.state()))
        };
        self.moving().map(entry).collect()
    }

    /// Keeps how far the deliveries are, where that is wanted; `at` is one that is about to move, whose state its caller holds.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn keep_deliveries(&self, at: Option<(&Moving, State)>) -> Result<(), Problem> {
        match &self.kept {
            Some(kept) => kept.write(self.deliveries(at)),
            None => Ok(()),
        }
    }

    /// The TLS towards services and issuers.
    pub(crate) fn outward(&self) -> impl Iterator<Item = &Arc<Outward>> {
        let services = self.services.iter().filter_map(|service| service.way.tls.as_ref());
        services.chain(self.keys_tls.iter().flatten())
    }

    /// What a route has for itself in front of a service.
    fn own<'r>(&self, route: &'r RouteState, service: &str) -> Option<&'r OwnPolicies> {
        route.own.iter().find(|own| *self.services[own.service].name == *service)
    }

    /// All that routes have for themselves, by what it is called.
    pub(crate) fn own_policies(&self) -> impl Iterator<Item = (&str, &OwnPolicies)> {
        self.routes.iter().flat_map(|route| route.own.iter().map(|own| (own.pipeline.name(), own)))
    }

    pub(crate) fn service(&self, name: &str) -> Option<&Service> {
        let place = self.services.binary_search_by(|service| (*service.name).cmp(name)).ok()?;
        self.services.get(place)
    }
}
