//! What all cores share: immutable tables made from the configuration, and policy state that must be exact.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use leeward_discovery::{Directory, Upstream};
use leeward_resilience::{Clock, ConcurrencyLimit, ConfigErrors, Observer, Pipeline, Rng};
use leeward_service::identity::Minter;

use crate::config::{Config, Route};
use crate::cors;
use crate::jwt::{KeyStore, Rules};
use crate::limits::{ByAddress, ByName, Limiter};
use crate::metrics::Metrics;
use crate::revocation::Revocations;
use crate::router::Router;
use crate::stale::StaleStore;
use crate::upstream::Keep;

/// A service as the request path needs it.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: Arc<str>,
    pub(crate) name_header: http::HeaderValue,
    pub(crate) upstream: Upstream,
    pub(crate) pipeline: Pipeline,
    pub(crate) keep: Keep,
    pub(crate) attempt_timeout: Duration,
    pub(crate) read_timeout: Duration,
}

/// A route as the request path needs it.
#[derive(Debug)]
pub(crate) struct RouteState {
    pub(crate) config: Route,
    /// Its place in [`Shared::services`].
    pub(crate) service: usize,
    pub(crate) deadline: Duration,
    pub(crate) body_bytes_max: u64,
    pub(crate) limiter: Option<ByName>,
}

/// How tokens are checked.
#[derive(Debug)]
pub(crate) struct Authentication {
    pub(crate) keys: Arc<KeyStore>,
    pub(crate) rules: Rules,
    pub(crate) token_bytes_max: usize,
}

/// Everything that the cores share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) router: Router,
    pub(crate) routes: Vec<RouteState>,
    pub(crate) services: Vec<Service>,
    pub(crate) cors: Option<cors::Compiled>,
    pub(crate) by_address: Option<ByAddress>,
    pub(crate) by_principal: Option<ByName>,
    pub(crate) shed: ConcurrencyLimit,
    pub(crate) authentication: Option<Authentication>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) minter: Option<Minter>,
    pub(crate) stale: StaleStore,
    pub(crate) metrics: Metrics,
    pub(crate) directory: Directory,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) draining: AtomicBool,
    pub(crate) connections: AtomicUsize,
}

/// What the tables are made of besides the configuration.
pub(crate) struct Material {
    pub(crate) directory: Directory,
    pub(crate) minter: Option<Minter>,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
}

impl Shared {
    /// Makes the tables.
    ///
    /// # Errors
    /// A policy whose options do not go together.
    pub(crate) fn new(config: Config, material: Material) -> Result<Self, ConfigErrors> {
        let Material { directory, minter, metrics, clock, rng } = material;
        let names = config.service_names();
        let services: Result<Vec<Service>, ConfigErrors> =
            names.iter().map(|name| service(&config, name, &directory, &metrics, &clock, &rng)).collect();
        let keys_max = config.rate_limits.keys;
        let by = |limit: &Option<_>| {
            limit.as_ref().map(|limit| Limiter::new("principal", limit, keys_max)).transpose()
        };
        let by_address = config.rate_limits.address.as_ref();
        let by_address = by_address.map(|limit| Limiter::new("address", limit, keys_max)).transpose()?;
        let routes: Result<Vec<RouteState>, ConfigErrors> =
            config.routes.iter().map(|route| route_state(&config, route, &names, keys_max)).collect();
        Ok(Self {
            router: Router::new(config.routes.iter().map(|route| (&route.pattern, route.methods))),
            routes: routes?,
            services: services?,
            cors: config.cors.as_ref().map(cors::Compiled::new),
            by_address,
            by_principal: by(&config.rate_limits.principal)?,
            shed: ConcurrencyLimit::new(config.concurrency.clone())?,
            authentication: config.jwt.as_ref().map(|jwt| Authentication {
                keys: Arc::new(KeyStore::new(jwt.refresh, jwt.stale_if_error, Arc::clone(&clock))),
                rules: Rules::new(
                    jwt.issuer.as_deref(),
                    jwt.audience.as_deref(),
                    i64::try_from(jwt.leeway.as_secs()).unwrap_or(0),
                ),
                token_bytes_max: jwt.token_bytes,
            }),
            revocations: Arc::new(Revocations::new()),
            minter,
            stale: StaleStore::new(config.stale.bytes, config.stale.entry_bytes)?,
            metrics,
            directory,
            clock,
            rng,
            draining: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            config,
        })
    }

    pub(crate) fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| *service.name == *name)
    }
}

fn service(
    config: &Config,
    name: &Arc<str>,
    directory: &Directory,
    metrics: &Metrics,
    clock: &Arc<dyn Clock>,
    rng: &Arc<dyn Rng>,
) -> Result<Service, ConfigErrors> {
    let policy = config.service(name);
    let observer: Arc<dyn Observer> = Arc::new(metrics.policies.clone());
    let options = policy.outbound(config.longest_deadline(name));
    let attempt_timeout = options.attempt_longest();
    let pipeline = Pipeline::builder(Arc::clone(name))
        .options(options)
        .clock(Arc::clone(clock))
        .rng(Arc::clone(rng))
        .observer(observer)
        .build()?;
    Ok(Service {
        name: Arc::clone(name),
        name_header: http::HeaderValue::try_from(&**name).unwrap_or(http::HeaderValue::from_static("")),
        upstream: directory.upstream(name),
        pipeline,
        attempt_timeout,
        read_timeout: policy.read_timeout,
        keep: Keep {
            connect_timeout: policy.connect_timeout,
            idle_timeout: policy.idle_timeout,
            idle_max: policy.idle_connections,
        },
    })
}

fn route_state(
    config: &Config,
    route: &Route,
    names: &[Arc<str>],
    keys_max: usize,
) -> Result<RouteState, ConfigErrors> {
    Ok(RouteState {
        service: names.iter().position(|name| *name == route.service).unwrap_or(0),
        deadline: route.deadline.unwrap_or(config.limits.deadline),
        body_bytes_max: route.body_bytes.unwrap_or(config.limits.body_bytes),
        limiter: route.rate_limit.as_ref().map(|limit| Limiter::new("route", limit, keys_max)).transpose()?,
        config: route.clone(),
    })
}
