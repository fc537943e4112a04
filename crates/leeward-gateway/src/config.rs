//! The gateway's configuration: one YAML file, strict, all mistakes at once.
//!
//! Six lines are enough:
//!
//! ```yaml
//! listen: 127.0.0.1:8080
//! routes:
//!   - path: /api
//!     service: http://127.0.0.1:4001
//!   - path: /shop
//!     service: http://127.0.0.1:4002
//! ```
//!
//! Everything else has a default. [`Config::to_yaml`] prints all values in force, in a form that parses back.

mod access;
mod access_log;
mod addresses;
mod callers;
mod decisions;
mod delivery;
mod deprecated;
mod facts;
mod fallback;
mod hash_on;
mod jwt;
mod listen;
mod metrics;
mod named;
mod parse;
mod policy;
mod print;
mod route_policies;
mod routes;
mod security_headers;
mod service_tls;
mod services;
mod shed;
mod split;
mod sticky;
mod takes;
mod target;
mod tunnel;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use leeward_discovery::{Health, dns};
use leeward_resilience::rate::RateLimit;
use leeward_resilience::{Concurrency, PipelineOptions, Priority};
use leeward_runtime::config::{Origins, Secret};

use crate::address::{Addresses, Network};
use crate::cors::Cors;
use crate::deprecation::Deprecated;
use crate::path::EncodedSlash;
use crate::router::{Conditions, Entry, Host, Methods, Pattern};
use crate::security_headers::SecurityHeaders;
use crate::target::{Changes, Rewrite, Target};

pub use self::access::Rule;
pub use self::access_log::{AccessLog, AccessLogTo};
pub use self::callers::{ApiKeys, Basic};
pub use self::decisions::Decisions;
pub use self::facts::{Calls, Facts, Known};
pub use self::fallback::{Fallback, Substitute};
pub use self::hash_on::HashOn;
pub use self::jwt::{Jwt, KeySource};
pub use self::listen::{Certificate, ClientCertificates, Listener, Protocols, Tls, UnknownNames, Version};
pub use self::metrics::Metrics;
pub use self::named::Named;
pub(crate) use self::parse::read;
pub use self::policy::ServicePolicy;
pub(crate) use self::policy::{POLICY_NAMES, explained};
pub use self::route_policies::RoutePolicies;
pub(crate) use self::route_policies::{ATTEMPT_TIMEOUT, policy_name};
pub use self::service_tls::{Protocol, ServiceTls};
pub use self::shed::Shed;
pub(crate) use self::split::hundredths;
pub(crate) use self::target::{may_change_of_request, may_change_of_response};
pub use crate::jwt::{Algorithm, Names as ClaimNames};

/// The default of `listen`.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// The default of `admin.listen`.
pub const ADMIN_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);

/// Everything that the gateway needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect: one address at least.
    pub listen: Vec<Listener>,
    /// Threads that carry requests; `None` is one a core.
    pub cores: Option<NonZeroUsize>,
    /// Networks of proxies whose `X-Forwarded-For` is believed. Default: none.
    pub trusted_proxies: Vec<Network>,
    /// Whether `trusted_proxies` may have a network that is every address. Default: no.
    pub unsafe_trust_any_proxy: bool,
    /// Callers that are told the configuration line and a hint when they are refused. Default: none.
    pub explain_to: Vec<Network>,
    /// Whether `explain_to` may have a network that is every address. Default: no.
    pub unsafe_explain_to_anyone: bool,
    /// Who may come at all, by the client's address. Default: everybody.
    pub addresses: Addresses,
    /// What happens to `%2F` in a path: kept with `unsafe_keep_encoded_slash`. Default: it is refused.
    pub encoded_slash: EncodedSlash,
    /// The operators' side.
    pub admin: Admin,
    /// A line for each request; `None` writes none.
    pub access_log: Option<AccessLog>,
    /// What is kept of decisions, for operators who ask why.
    pub decisions: Decisions,
    /// How far metrics may grow.
    pub metrics: Metrics,
    /// Sizes and times of one connection and one request.
    pub limits: Limits,
    /// Cross-origin requests; `None` leaves them to the services.
    pub cors: Option<Cors>,
    /// What browsers are told about answers.
    pub security_headers: SecurityHeaders,
    /// Whose tokens are known, and how they are checked; none: nobody is known, and tokens pass through to the services.
    pub jwt: Vec<Jwt>,
    /// Callers that present a key; `None`: nobody does.
    pub api_keys: Option<ApiKeys>,
    /// Callers that present a name and a password; `None`: nobody does.
    pub basic: Option<Basic>,
    /// Tokens that were revoked before their end; `None`: none ever is.
    pub revocation: Option<Revocation>,
    /// Rate limits.
    pub rate_limits: RateLimits,
    /// The gateway's own limit of requests at a time. Default: 2,048, at most 256 waiting, for up to 100 ms.
    pub concurrency: Concurrency,
    /// What a core refuses that does not keep up; `None`: nothing.
    pub shed: Option<Shed>,
    /// How endpoints are looked up, for services that are found by DNS.
    pub dns: dns::Options,
    /// How endpoints are watched; `None`: only by what becomes of the requests sent to them.
    pub health: Option<Health>,
    /// The store of last good copies.
    pub stale: Stale,
    /// What is not the default for a service, by its name.
    pub services: BTreeMap<Arc<str>, ServicePolicy>,
    /// The routes, in the order of the file.
    pub routes: Vec<Route>,
    /// What is known beside all that, for `leeward lint`.
    pub facts: Facts,
    /// The named policies, used or not. What they say is in the services and routes that name them.
    pub policies: Vec<Named>,
    /// Where each value was given.
    pub origins: Origins,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![Listener::from(LISTEN)],
            cores: None,
            trusted_proxies: Vec::new(),
            unsafe_trust_any_proxy: false,
            explain_to: Vec::new(),
            unsafe_explain_to_anyone: false,
            addresses: Addresses::default(),
            encoded_slash: EncodedSlash::Refuse,
            admin: Admin::default(),
            access_log: None,
            decisions: Decisions::default(),
            metrics: Metrics::default(),
            limits: Limits::default(),
            cors: None,
            security_headers: SecurityHeaders::default(),
            jwt: Vec::new(),
            api_keys: None,
            basic: None,
            revocation: None,
            rate_limits: RateLimits::default(),
            concurrency: concurrency(),
            shed: Some(Shed::default()),
            dns: dns::Options::default(),
            health: None,
            stale: Stale::default(),
            services: BTreeMap::new(),
            routes: Vec::new(),
            facts: Facts::default(),
            policies: Vec::new(),
            origins: Origins::default(),
        }
    }
}

/// The operators' side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admin {
    /// Where the admin API listens; on anything but loopback it needs a token, and `unsafe_beyond_loopback`.
    pub listen: SocketAddr,
    /// Whether it may listen on more than loopback, where nothing encrypts what operators send. Default: no.
    pub unsafe_beyond_loopback: bool,
    /// What operators present as `Authorization: Bearer`.
    pub token: Option<Token>,
    /// Names by which it may be called, beside loopback ones: a page elsewhere must not reach it through a name.
    pub hosts: Vec<String>,
    /// Origins of pages that may call it, beside its own.
    pub origins: Vec<String>,
    /// Whether operators may break calls to services on purpose. Default: no.
    pub faults: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: ADMIN_LISTEN,
            unsafe_beyond_loopback: false,
            token: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            faults: false,
        }
    }
}

/// A secret, and the reference that it was read by, which is what a printed configuration shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// The secret itself.
    pub secret: Secret,
    /// `env:NAME` or `file:PATH`.
    pub reference: String,
}

/// Sizes and times of one connection and one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest request body. Default 10 MiB.
    pub body_bytes: u64,
    /// Most header lines of a request. Default 64: browsers send about 20.
    pub headers: usize,
    /// Largest request head, in bytes. Default 32 KiB.
    pub head_bytes: usize,
    /// Most connections of clients. Default 10,000: at about 20 KiB each.
    pub connections: usize,
    /// How long a client may take to send a request's head. Default 10 s.
    pub head_timeout: Duration,
    /// How long a connection may stay without a request. Default 75 s: longer than most clients keep theirs.
    pub idle_timeout: Duration,
    /// How long a client may take to send a body. Default 30 s.
    pub body_timeout: Duration,
    /// How long a client may take no byte of a response. Default 30 s.
    pub write_timeout: Duration,
    /// How long requests in flight may take to finish after a stop. Default 5 s.
    pub drain: Duration,
    /// The time a request may take in all, unless its route says otherwise. Default 10 s.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 10 * 1024 * 1024,
            headers: 64,
            head_bytes: 32 * 1024,
            connections: 10_000,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            deadline: Duration::from_secs(10),
        }
    }
}

/// Tokens that were revoked before their end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    /// The type of the event that revokes. Default `token.revoked`.
    pub event: String,
    /// The database that keeps the revocations. Default `sqlite:leeward-data/gateway.db`.
    pub database: String,
    /// The name under which the bus is read. Default `gateway.revocations`; of two gateways on one bus each needs its own,
    /// since a name has one reader at a time.
    pub group: String,
    /// How old the gateway's view of revocations may be before tokens are refused (503 `revocations_stale`). Default 30 s: a bus that
    /// starts anew takes a few. From 1 s to 1 h.
    pub stale_after: Duration,
    /// Whether tokens are accepted however old that view is. Default: no, and a token that may have been revoked opens nothing
    /// (fail closed): whoever stole one would only have to bring the bus down.
    pub unsafe_fail_open: bool,
}

impl Default for Revocation {
    fn default() -> Self {
        Self {
            event: "token.revoked".to_owned(),
            database: "sqlite:leeward-data/gateway.db".to_owned(),
            group: "gateway.revocations".to_owned(),
            stale_after: Duration::from_secs(30),
            unsafe_fail_open: false,
        }
    }
}

/// Rate limits. Each route may have one of its own on top.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RateLimits {
    /// By the client's address. Default 1,000 a second: a household behind one address, not a flood.
    pub address: Option<RateLimit>,
    /// By user. Default 100 a second.
    pub principal: Option<RateLimit>,
    /// Keys remembered a limit. Default 100,000, at about 100 bytes each.
    pub keys: usize,
}

impl Default for RateLimits {
    fn default() -> Self {
        let per_second = |limit| NonZeroU32::new(limit).map(RateLimit::per_second);
        Self { address: per_second(1_000), principal: per_second(100), keys: 100_000 }
    }
}

/// The default of `concurrency`: 2,048 requests at a time, at most 256 waiting, for up to 100 ms.
fn concurrency() -> Concurrency {
    const LIMIT: NonZeroU32 = NonZeroU32::new(2_048).expect("not zero");
    Concurrency { limit: LIMIT, queue: 256, max_wait: Duration::from_millis(100), ..Concurrency::default() }
}

/// The store of last good copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stale {
    /// Bytes of all copies. Default 32 MiB.
    pub bytes: usize,
    /// Bytes of the largest copy. Default 256 KiB.
    pub entry_bytes: usize,
}

impl Default for Stale {
    fn default() -> Self {
        Self { bytes: 32 * 1024 * 1024, entry_bytes: 256 * 1024 }
    }
}

/// The certificate that a route's clients must have presented. That it is a good one the handshake has seen to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientCertificate {
    /// Any that the listener takes.
    Any,
    /// One with any of these names among its alternative names, or as the common name of its subject.
    Names(Vec<String>),
}

/// How long a connection lasts that was switched to WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// How long nothing may pass, in either direction. 1 s to 24 h. Default: 5 min, within which most clients and services ask each other
    /// whether they live.
    pub idle_timeout: Duration,
    /// How long it lasts at most, 1 s to 7 days; `None`, the default: as long as both sides want.
    pub max_duration: Option<Duration>,
}

impl Default for Tunnel {
    fn default() -> Self {
        Self { idle_timeout: Duration::from_secs(300), max_duration: None }
    }
}

/// One route.
#[derive(Clone, PartialEq, Debug)]
pub struct Route {
    /// What it is called wherever its state is kept or shown. Default: what it takes, as [`Route::derived_id`] writes it, which stays
    /// the same when other routes come and go.
    pub id: Arc<str>,
    /// Which hosts. Default: every host that no other route names.
    pub hosts: Vec<Host>,
    /// Which paths.
    pub pattern: Pattern,
    /// Which methods. Default: all.
    pub methods: Methods,
    /// What else of a request must hold. Default: nothing.
    pub conditions: Conditions,
    /// Who answers.
    pub target: Target,
    /// What is taken off the front of the path before it goes on.
    pub strip_prefix: Option<String>,
    /// What else is changed of a request before a service gets it.
    pub rewrite: Rewrite,
    /// What is done to the headers of requests before a service gets them. The gateway's own are added afterwards.
    pub request_headers: Arc<Changes>,
    /// What is done to the headers of answers, but of refusals: those are the gateway's own.
    pub response_headers: Arc<Changes>,
    /// What browsers are told about its answers; `None`: what the top of the file says.
    pub security_headers: Option<SecurityHeaders>,
    /// Who may, by the client's address, of those that may come at all. Default: everybody.
    pub addresses: Addresses,
    /// Who may.
    pub access: Rule,
    /// How much its requests matter to a core that does not keep up: the lowest are refused first. Default [`Priority::Normal`].
    pub priority: Priority,
    /// The time that a request may take in all; `None` is `limits.deadline`.
    pub deadline: Option<Duration>,
    /// Largest body; `None` is `limits.body`.
    pub body_bytes: Option<u64>,
    /// A rate limit of this route: by user where `access` needs one, by address where it is for anyone.
    pub rate_limit: Option<RateLimit>,
    /// The policies towards its services that it has for itself, in place of theirs.
    pub policies: Option<Box<RoutePolicies>>,
    /// For how long a last good copy may stand in when the service fails; `None`: never.
    pub stale_if_error: Option<Duration>,
    /// What answers when the service fails and no copy does; `None`: nothing.
    pub fallback: Option<Fallback>,
    /// The certificate that a client must have presented; `None`: none.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether the user's own token goes on to the service.
    pub forward_token: bool,
    /// What connections of its clients may be switched to WebSocket for; `None`: they may not.
    pub tunnel: Option<Tunnel>,
    /// What is said of it while it is going away; `None`: it is not.
    pub deprecated: Option<Deprecated>,
    /// Where it stands, as `file:line`.
    pub origin: Arc<str>,
}

impl Route {
    /// The id of a route that is given none: the requests that it takes, as `GET, HEAD shop.example/orders/{id}`. No two routes take the same, and
    /// no given id has a slash.
    #[must_use]
    pub fn derived_id(&self) -> String {
        let mut id = String::new();
        if !self.methods.is_any() {
            id = format!("{} ", self.methods);
        }
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        id.push_str(&hosts.join(","));
        id.push_str(self.pattern.text());
        if self.pattern.is_exact() {
            id.push_str(" exact");
        }
        for (at, condition) in self.conditions.iter().enumerate() {
            id.push_str(if at == 0 { " if " } else { " and " });
            id.push_str(&condition.to_string());
        }
        id
    }

    /// Whether another one is the same, wherever each of them stands.
    #[must_use]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let Self {
            id,
            hosts,
            pattern,
            methods,
            conditions,
            target,
            strip_prefix,
            rewrite,
            request_headers,
            response_headers,
            security_headers,
            addresses,
            access,
            priority,
            deadline,
            body_bytes,
            rate_limit,
            policies,
            stale_if_error,
            fallback,
            client_certificate,
            forward_token,
            tunnel,
            deprecated,
            origin: _,
        } = self;
        *id == other.id
            && *hosts == other.hosts
            && *pattern == other.pattern
            && *methods == other.methods
            && *conditions == other.conditions
            && *target == other.target
            && *strip_prefix == other.strip_prefix
            && *rewrite == other.rewrite
            && *request_headers == other.request_headers
            && *response_headers == other.response_headers
            && *security_headers == other.security_headers
            && *addresses == other.addresses
            && *access == other.access
            && *priority == other.priority
            && *deadline == other.deadline
            && *body_bytes == other.body_bytes
            && *rate_limit == other.rate_limit
            && *policies == other.policies
            && *stale_if_error == other.stale_if_error
            && *fallback == other.fallback
            && *client_certificate == other.client_certificate
            && *forward_token == other.forward_token
            && *tunnel == other.tunnel
            && *deprecated == other.deprecated
    }

    /// The services that get its requests: those that answer them, and the one that stands in for them.
    pub fn services(&self) -> impl Iterator<Item = &Arc<str>> {
        self.times().map(|(name, _)| name)
    }

    /// The same, each with the time that the route gives it; `None` is `limits.deadline`.
    pub(crate) fn times(&self) -> impl Iterator<Item = (&Arc<str>, Option<Duration>)> {
        let standby = self.fallback.iter().filter_map(|fallback| {
            let name = fallback.substitute.service()?;
            Some((name, Some(fallback.options.within)))
        });
        self.target.services().map(|name| (name, self.deadline)).chain(standby)
    }

    /// What the router knows of it.
    #[must_use]
    pub fn entry(&self) -> Entry<'_> {
        let Self { hosts, pattern, methods, conditions, .. } = self;
        Entry { hosts, pattern, methods: *methods, conditions }
    }

    /// The policies in front of a service for its requests, where it has some for itself.
    #[must_use]
    pub fn outbound(&self, service: &ServicePolicy, limits: &Limits) -> Option<PipelineOptions> {
        let deadline = self.deadline.unwrap_or(limits.deadline);
        self.policies.as_ref().map(|own| own.outbound(service, deadline))
    }

    /// Whether a policy is its own, by its key.
    #[must_use]
    pub fn has_policy(&self, key: &str) -> bool {
        self.policies.as_ref().is_some_and(|own| own.has(key))
    }

    /// Whether the configuration gives it its id.
    #[must_use]
    pub fn is_named(&self) -> bool {
        !self.id.contains('/')
    }
}

impl Config {
    /// The policy of a service: its own, or the defaults.
    #[must_use]
    pub fn service(&self, name: &str) -> ServicePolicy {
        self.services.get(name).cloned().unwrap_or_default()
    }

    /// The longest time that a service's routes give it, and at least `limits.deadline`.
    #[must_use]
    pub fn longest_deadline(&self, service: &str) -> Duration {
        let times = self.routes.iter().flat_map(Route::times).filter(|(name, _)| ***name == *service);
        times.filter_map(|(_, time)| time).fold(self.limits.deadline, Duration::max)
    }

    /// Whether a request may say who it is for.
    #[must_use]
    pub fn knows_callers(&self) -> bool {
        !self.jwt.is_empty() || self.api_keys.is_some() || self.basic.is_some()
    }

    /// The names of all services that a route or the token check needs.
    #[must_use]
    pub fn service_names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.routes.iter().flat_map(Route::services).cloned().collect();
        names.extend(self.jwt.iter().filter_map(|jwt| jwt.keys.service().cloned()));
        names.extend(self.services.keys().cloned());
        names.sort_unstable();
        names.dedup();
        names
    }
}
