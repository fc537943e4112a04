//! Making a snapshot: anew, or after another one whose policies go on with what they have learnt.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use leeward_discovery::{Balance, Health, Upstream};
use leeward_resilience::{ConcurrencyLimit, ConfigErrors, Observer, Pipeline, PipelineOptions};

use super::{Lasting, Pending, RouteState, Service, Shared, Version};
use crate::config::{Config, Jwt, KeySource, Protocol, Route, ServicePolicy, ServiceTls};
use crate::cors;
use crate::gateway::Error;
use crate::jwt::Authentication;
use crate::limits::{ByAddress, ByName, Limiter};
use crate::lookups::Lookups;
use crate::router::Router;
use crate::stale::StaleStore;
use crate::tls::{Outward, Problem};
use crate::upstream::{Keep, Way};

pub(super) struct Making<'a> {
    pub(super) config: &'a Config,
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
        let routes = self.routes(&names)?;
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
            by_address: self.by_address()?,
            by_principal: self.by_principal()?,
            shed: self.shed()?,
            authentication: self.authentication(),
            keys_tls: self.keys_tls()?,
            stale: self.stale()?,
            config: Arc::new(config.clone()),
            revocations: Arc::clone(&lasting.revocations),
            minter: lasting.minter.clone(),
            metrics: lasting.metrics.clone(),
            directory: lasting.directory.clone(),
            lookups: self.lookups.take(),
            traffic: Arc::clone(&lasting.traffic),
            entries: Arc::clone(&lasting.entries),
            access: lasting.access.clone(),
            refused: Arc::clone(&lasting.refused),
            clock: Arc::clone(&lasting.clock),
            rng: Arc::clone(&lasting.rng),
        })
    }

    fn services(&mut self, names: &[Arc<str>]) -> Result<Vec<Service>, Error> {
        let config = self.config;
        let mut deadlines: HashMap<&str, Duration> = HashMap::new();
        for route in &config.routes {
            for service in route.target.services() {
                let longest = deadlines.entry(service).or_insert(config.limits.deadline);
                *longest = route.deadline.map_or(*longest, |deadline| deadline.max(*longest));
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
        Ok(Service {
            name: Arc::clone(name),
            name_header: http::HeaderValue::try_from(&**name).unwrap_or(http::HeaderValue::from_static("")),
            upstream,
            hash_on: policy.key().cloned(),
            attempt_timeout: options.attempt_longest(),
            pipeline: self.pipeline(name, &options)?,
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
        policy
            .tls
            .as_ref()
            .map(|options| self.outward(name, options, policy.protocol.offered(), old))
            .transpose()
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

    /// Windows, states, permits and budgets go on.
    fn pipeline(&mut self, name: &Arc<str>, options: &PipelineOptions) -> Result<Pipeline, ConfigErrors> {
        let Lasting { metrics, clock, rng, .. } = self.lasting;
        let Some(old) = self.old.and_then(|old| old.service(name)) else {
            let observer: Arc<dyn Observer> = Arc::new(metrics.policies.clone());
            return Pipeline::builder(Arc::clone(name))
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

    fn routes(&mut self, names: &[Arc<str>]) -> Result<Vec<RouteState>, ConfigErrors> {
        let config = self.config;
        let old = self.old.map_or(&[][..], |old| &old.routes);
        let old: HashMap<&str, &RouteState> = old.iter().map(|route| (&*route.config.id, route)).collect();
        config
            .routes
            .iter()
            .map(|route| {
                let limiter = old.get(&*route.id).and_then(|old| old.limiter.as_ref());
                Ok(RouteState {
                    service: route.target.services().find_map(|name| names.binary_search(name).ok()),
                    deadline: route.deadline.unwrap_or(config.limits.deadline),
                    body_bytes_max: route.body_bytes.unwrap_or(config.limits.body_bytes),
                    limiter: self.route_limiter(route, limiter)?,
                    config: route.clone(),
                })
            })
            .collect()
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

    /// Copies stay, unless the room for them is another one.
    fn stale(&self) -> Result<Arc<StaleStore>, ConfigErrors> {
        match self.old {
            Some(old) if old.config.stale == self.config.stale => Ok(Arc::clone(&old.stale)),
            _ => StaleStore::new(self.config.stale.bytes, self.config.stale.entry_bytes).map(Arc::new),
        }
    }
}
