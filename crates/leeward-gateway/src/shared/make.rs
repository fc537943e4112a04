//! Making a snapshot: anew, or after another one whose policies go on with what they have learnt.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use leeward_discovery::{Balance, Health, Upstream};
use leeward_resilience::{
    ConcurrencyLimit, ConfigErrors, FaultInjector, Observer, Pipeline, PipelineOptions,
};

use super::{
    Answers, Basic, Dealt, Lasting, Leaving, OfConfig, Pending, RouteState, Service, Shared, Version,
};
use crate::config::{Config, Jwt, KeySource, Protocol, Route, ServicePolicy, ServiceTls};
use crate::cors;
use crate::credentials::{Accepted, Checks, Store};
use crate::delivery::Moving;
use crate::gateway::Error;
use crate::jwt::Authentication;
use crate::limits::{ByAddress, ByName, Limiter};
use crate::lookups::Lookups;
use crate::metrics::OTHER_ROUTES;
use crate::relaxations;
use crate::router::Router;
use crate::security_headers::Ready;
use crate::split::Split;
use crate::stale::StaleStore;
use crate::target::Target;
use crate::tls::{Outward, Problem};
use crate::upstream::{Keep, Way};

pub(super) struct Making<'a> {
    pub(super) config: &'a Arc<Config>,
    pub(super) lookups: Option<Arc<Lookups>>,
    pub(super) lasting: &'a Lasting,
    pub(super) old: Option<&'a Shared>,
    pub(super) pending: &'a mut Pending,
}

impl Making<'_> {
    pub(super) fn snapshot(mut self) -> Result<Shared, Error> {
        let Self { config, lasting, old, .. } = self;
        config.health.as_ref().map_or(Ok(()), Health::validate)?;
        let names = config.service_names();
        let services = self.services(&names)?;
        let security = Arc::new(Ready::new(&config.security_headers));
        let routes = self.routes(&services, &security)?;
        Ok(Shared {
            version: Version {
                epoch: old.map_or(1, |old| old.version.epoch + 1),
                hash: config.hash(),
                since_ms: lasting.clock.unix_ms(),
            },
            router: Router::new(config.routes.iter().map(Route::entry)),
            routes,
            services,
            cors: config.cors.as_ref().map(cors::Compiled::new),
            security,
            by_address: self.by_address()?,
            by_principal: self.by_principal()?,
            shed: self.shed()?,
            authentication: self.authentication(),
            api_keys: config.api_keys.as_ref().map(|keys| Arc::new(Store::new(keys.loaded.clone()))),
            basic: self.basic()?,
            accepted: Accepted::by(config),
            keys_tls: self.keys_tls()?,
            stale: self.stale()?,
            relaxed: relaxations::in_force(config).into_iter().map(|one| one.path).collect(),
            config: Arc::clone(config),
            revocations: Arc::clone(&lasting.revocations),
            minter: lasting.minter.clone(),
            metrics: lasting.metrics.clone(),
            directory: lasting.directory.clone(),
            lookups: self.lookups.take(),
            traffic: Arc::clone(&lasting.traffic),
            holds: Arc::clone(&lasting.holds),
            entries: Arc::clone(&lasting.entries),
            access: lasting.access.clone(),
            layers: Arc::clone(&lasting.layers),
            refused: Arc::clone(&lasting.refused),
            clock: Arc::clone(&lasting.clock),
            rng: Arc::clone(&lasting.rng),
            kept: lasting.deliveries.clone(),
            leaving: Leaving::new(&lasting.departed),
        })
    }

    fn services(&mut self, names: &[Arc<str>]) -> Result<Vec<Service>, Error> {
        let config = self.config;
        let mut deadlines: HashMap<&str, Duration> = HashMap::new();
        for route in &config.routes {
            for (service, time) in route.times() {
                let longest = deadlines.entry(service).or_insert(config.limits.deadline);
                *longest = time.map_or(*longest, |time| time.max(*longest));
            }
        }
        let deadline = |name: &str| deadlines.get(name).copied().unwrap_or(config.limits.deadline);
        names.iter().map(|name| self.service(name, deadline(name))).collect()
    }

    fn service(&mut self, name: &Arc<str>, deadline: Duration) -> Result<Service, Error> {
        let policy = self.config.service(name);
        let options = policy.outbound(deadline);
        let upstream = self.lasting.directory.upstream(name);
        self.balance(&upstream, policy.balance(&options))?;
        let old = self.old.and_then(|old| old.service(name));
        let faults = self.faults(|| Arc::clone(name), old.map(|old| &old.faults));
        Ok(Service {
            name: Arc::clone(name),
            name_header: http::HeaderValue::try_from(&**name).unwrap_or(http::HeaderValue::from_static("")),
            upstream,
            hash_on: policy.key().cloned(),
            attempt_timeout: options.attempt_longest(),
            pipeline: self.pipeline(name, &options, faults.as_ref())?,
            faults,
            options,
            read_timeout: policy.read_timeout,
            way: Way {
                keep: Keep {
                    connect_timeout: policy.connect_timeout,
                    idle_timeout: policy.idle_timeout,
                    read_timeout: policy.read_timeout,
                    idle_max: policy.idle_connections,
                },
                tls: self.tls(name, &policy)?,
                protocol: policy.protocol,
            },
        })
    }

    /// Connections and sessions stay where the options are the same.
    fn tls(&self, name: &Arc<str>, policy: &ServicePolicy) -> Result<Option<Arc<Outward>>, Problem> {
        let old = self.old.and_then(|old| old.service(name)?.way.tls.as_ref());
        let Some(options) = policy.believed() else { return Ok(None) };
        self.outward(name, &options, policy.protocol.offered(), old).map(Some)
    }

    fn outward(
        &self,
        name: &Arc<str>,
        options: &ServiceTls,
        protocols: &[&str],
        old: Option<&Arc<Outward>>,
    ) -> Result<Arc<Outward>, Problem> {
        match old.filter(|old| old.is_of(options, protocols)) {
            Some(old) => Ok(Arc::clone(old)),
            None => {
                let failures = self.lasting.metrics.upstream_handshakes_failed.clone();
                Outward::new(name, options, protocols, failures).map(Arc::new)
            }
        }
    }

    /// For issuers whose keys are at a URL: those of a service come as its requests go.
    fn keys_tls(&self) -> Result<Vec<Option<Arc<Outward>>>, Problem> {
        let old = |url: &http::Uri| {
            let old = self.old?;
            let is_its = |jwt: &Jwt| matches!(&jwt.keys, KeySource::Url(known) if known == url);
            old.keys_tls.get(old.config.jwt.iter().position(is_its)?)?.as_ref()
        };
        let tls = |jwt: &Jwt| {
            let (KeySource::Url(url), Some(options)) = (&jwt.keys, &jwt.tls) else { return Ok(None) };
            self.outward(&url.host().unwrap_or_default().into(), options, Protocol::Http1.offered(), old(url))
                .map(Some)
        };
        self.config.jwt.iter().map(tls).collect()
    }

    /// Endpoints keep their history.
    fn balance(&mut self, upstream: &Upstream, balance: Balance) -> Result<(), ConfigErrors> {
        if self.old.is_none() {
            // Nobody sees the first snapshot before it is in force.
            upstream.configure(balance)?;
        } else if *upstream.balance() != balance {
            balance.validate()?;
            let upstream = upstream.clone();
            self.pending.add(move || upstream.configure(balance));
        }
        Ok(())
    }

    /// An experiment goes on. Whether there may be one is said at the start alone.
    fn faults(
        &self,
        name: impl FnOnce() -> Arc<str>,
        old: Option<&Option<FaultInjector>>,
    ) -> Option<FaultInjector> {
        let Lasting { metrics, clock, rng, .. } = self.lasting;
        if !self.config.admin.faults {
            return None;
        }
        if let Some(old) = old {
            return old.clone();
        }
        let observer: Arc<dyn Observer> = Arc::new(metrics.policies.clone());
        Some(FaultInjector::with(name(), Arc::clone(clock), Arc::clone(rng), Some(observer)))
    }

    /// Windows, states, permits and budgets go on.
    fn pipeline(
        &mut self,
        name: &Arc<str>,
        options: &PipelineOptions,
        faults: Option<&FaultInjector>,
    ) -> Result<Pipeline, ConfigErrors> {
        let Lasting { metrics, clock, rng, .. } = self.lasting;
        let Some(old) = self.old.and_then(|old| old.service(name)) else {
            let observer: Arc<dyn Observer> = Arc::new(metrics.policies.clone());
            let builder = Pipeline::builder(Arc::clone(name));
            let builder = match faults {
                Some(faults) => builder.faults(faults.clone()),
                None => builder,
            };
            return builder
                .options(options.clone())
                .clock(Arc::clone(clock))
                .rng(Arc::clone(rng))
                .observer(observer)
                .build();
        };
        if old.options != *options {
            options.validate()?;
            let (pipeline, options) = (old.pipeline.clone(), options.clone());
            self.pending.add(move || pipeline.reconfigure(options).map(drop));
        }
        Ok(old.pipeline.clone())
    }

    fn routes(
        &mut self,
        services: &[Service],
        security: &Arc<Ready>,
    ) -> Result<Vec<RouteState>, ConfigErrors> {
        let config = self.config;
        let old = self.old.map_or(&[][..], |old| &old.routes);
        let old: HashMap<&str, &RouteState> = old.iter().map(|route| (&*route.config.id, route)).collect();
        let others: Arc<str> = OTHER_ROUTES.into();
        config
            .routes
            .iter()
            .enumerate()
            .map(|(number, route)| {
                let has_own = number < config.metrics.routes;
                let old = old.get(&*route.id).copied();
                let limiter = old.and_then(|old| old.limiter.as_ref());
                let label = Arc::clone(if has_own { &route.id } else { &others });
                Ok(RouteState {
                    answers: self.answers((route, &label), services, old),
                    deadline: route.deadline.unwrap_or(config.limits.deadline),
                    body_bytes_max: route.body_bytes.unwrap_or(config.limits.body_bytes),
                    limiter: self.route_limiter(route, limiter)?,
                    own: self.own((route, &label), services, old)?,
                    standby: self.standby(
                        (route, &label),
                        services,
                        old.and_then(|old| old.standby.as_ref()),
                    )?,
                    security: match &route.security_headers {
                        Some(own) => Arc::new(Ready::new(own)),
                        None => Arc::clone(security),
                    },
                    faults: self.faults(|| format!("route {}", route.id).into(), old.map(|old| &old.faults)),
                    label,
                    config: OfConfig { config: Arc::clone(config), number },
                })
            })
            .collect()
    }

    /// Who answers. Turns go on where they were, so that a reload favours nobody.
    fn answers(
        &mut self,
        (route, label): (&Route, &str),
        services: &[Service],
        old: Option<&RouteState>,
    ) -> Answers {
        let mut places = places(route, services);
        match &route.target {
            Target::Redirect(_) | Target::Respond(_) => Answers::Gateway,
            Target::Service(_) => places.next().map_or(Answers::Gateway, Answers::Service),
            Target::Split(split) => {
                let old = match old.map(|old| &old.answers) {
                    Some(Answers::OneOf(dealt)) => Some(&**dealt),
                    _ => None,
                };
                let moving = self.moving((route, label), split, old.and_then(|old| old.moving.as_ref()));
                let shares = match &moving {
                    Some(moving) => Arc::clone(moving.shares()),
                    None => Arc::new(ArcSwap::from_pointee(split.shares())),
                };
                let counters = &self.lasting.metrics.split_requests;
                let requests = split.arms.iter().map(|arm| counters.with([label, &arm.service]));
                Answers::OneOf(Box::new(Dealt {
                    services: places.collect(),
                    requests: requests.collect(),
                    shares,
                    moving,
                    turns: old.map(|old| Arc::clone(&old.turns)).unwrap_or_default(),
                }))
            }
        }
    }

    /// A delivery goes on where operators left it, unless the file says another one.
    fn moving(
        &mut self,
        (route, label): (&Route, &str),
        split: &Split,
        old: Option<&Arc<Moving>>,
    ) -> Option<Arc<Moving>> {
        let kind = split.delivery?;
        let new = Moving::new(split, kind, old.map(|old| &**old), self.lasting.clock.unix_ms())?;
        let moving = match old.filter(|old| old.begins_as(&new)) {
            Some(old) => Arc::clone(old),
            None => {
                // What was there before the start counts at the start alone.
                if let Some(kept) = self.lasting.deliveries.as_ref().filter(|_| self.old.is_none()) {
                    new.resume(&route.id, kept);
                }
                Arc::new(new)
            }
        };
        let gauge = (*label == *route.id).then(|| self.lasting.metrics.delivery_share.with([label]));
        let shown = Arc::clone(&moving);
        self.pending.add(move || {
            shown.measure(gauge);
            Ok(())
        });
        Some(moving)
    }

    fn route_limiter(&mut self, route: &Route, old: Option<&ByName>) -> Result<Option<ByName>, ConfigErrors> {
        let limit = route.rate_limit.as_ref();
        limit.map(|limit| self.limiter("route", limit, old)).transpose()
    }

    fn by_address(&mut self) -> Result<Option<ByAddress>, ConfigErrors> {
        let limit = self.config.rate_limits.address.as_ref();
        let old = self.old.and_then(|old| old.by_address.as_ref());
        limit.map(|limit| self.limiter("address", limit, old)).transpose()
    }

    fn by_principal(&mut self) -> Result<Option<ByName>, ConfigErrors> {
        let limit = self.config.rate_limits.principal.as_ref();
        let old = self.old.and_then(|old| old.by_principal.as_ref());
        limit.map(|limit| self.limiter("principal", limit, old)).transpose()
    }

    fn limiter<K: std::hash::Hash + Eq + Clone + Send + 'static>(
        &mut self,
        name: &'static str,
        limit: &leeward_resilience::RateLimit,
        old: Option<&Limiter<K>>,
    ) -> Result<Limiter<K>, ConfigErrors> {
        match old {
            Some(old) => old.after(limit, self.pending),
            None => Limiter::new(name, limit, self.config.rate_limits.keys, &self.lasting.clock),
        }
    }

    /// Permits and places in the queue are kept.
    fn shed(&mut self) -> Result<ConcurrencyLimit, ConfigErrors> {
        let options = &self.config.concurrency;
        let Some(old) = self.old else { return ConcurrencyLimit::new(options.clone()) };
        if old.config.concurrency != *options {
            options.validate()?;
            let (limit, options) = (old.shed.clone(), options.clone());
            self.pending.add(move || limit.reconfigure(options));
        }
        Ok(old.shed.clone())
    }

    /// Keys from the same place stay; how they are used is always as the configuration says.
    fn authentication(&self) -> Option<Authentication> {
        let old = self.old.and_then(|old| Some((&*old.config.jwt, old.authentication.as_ref()?)));
        Authentication::new(&self.config.jwt, &self.config.routes, old, &self.lasting.clock)
    }

    /// Checks that run, and what each address has used up, go on.
    fn basic(&mut self) -> Result<Option<Basic>, ConfigErrors> {
        let Some(config) = &self.config.basic else { return Ok(None) };
        let old = self.old.and_then(|old| old.basic.as_ref());
        let kept = old.filter(|old| old.checks.at_a_time() == config.checks);
        let checks = kept.map_or_else(|| Arc::new(Checks::new(config.checks)), |old| Arc::clone(&old.checks));
        let attempts = self.limiter("password", &config.attempts, old.map(|old| &old.attempts))?;
        Ok(Some(Basic { store: Arc::new(Store::new(config.loaded.clone())), checks, attempts }))
    }

    /// Copies stay, unless the room for them is another one.
    fn stale(&self) -> Result<Arc<StaleStore>, ConfigErrors> {
        match self.old {
            Some(old) if old.config.stale == self.config.stale => Ok(Arc::clone(&old.stale)),
            _ => StaleStore::new(self.config.stale.bytes, self.config.stale.entry_bytes).map(Arc::new),
        }
    }
}

/// Where the services of a route are.
pub(super) fn places(route: &Route, services: &[Service]) -> impl Iterator<Item = usize> {
    let place = |name: &Arc<str>| services.binary_search_by(|service| service.name.cmp(name)).ok();
    route.target.services().filter_map(place)
}
