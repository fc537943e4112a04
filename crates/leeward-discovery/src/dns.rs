//! Endpoints by DNS: every address of a name (A, AAAA), or every target of a service record (SRV) with its port and weight.
//!
//! **Rule.** An answer holds for its shortest time to live, between `ttl_min` and `ttl_max`. It counts only when it is whole: a name
//! whose A records are there while the question for AAAA records failed keeps the endpoints known last. Of SRV records those with
//! the lowest priority value are used, each by its weight, all their addresses with it; a target without addresses is left out.

mod name;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::lookup::Lookup as Records;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::time::Instant;

pub use self::name::Name;
use crate::endpoint::Endpoint;
use crate::registry::{Registry, Unavailable};

/// Most targets of a service record: more are a mistake, and each is a question of its own.
const TARGETS_MAX: usize = 256;
/// Most endpoints of a name.
const ENDPOINTS_MAX: usize = 4_096;

/// Which addresses of a name are used.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Family {
    /// All of them.
    #[default]
    Any,
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

impl Family {
    const fn types(self) -> &'static [RecordType] {
        match self {
            Self::Any => &[RecordType::A, RecordType::AAAA],
            Self::V4 => &[RecordType::A],
            Self::V6 => &[RecordType::AAAA],
        }
    }
}

/// How names are looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Servers to ask, over UDP and, where an answer is too long for that, TCP. Default: none, and those of `/etc/resolv.conf` are
    /// asked, with its search domains, as they stood at the start.
    pub servers: Vec<SocketAddr>,
    /// Which addresses are used. Default: all.
    pub family: Family,
    /// How long a server may take. Default 2 s: the last answer is in force meanwhile.
    pub timeout: Duration,
    /// The least time between two questions for one name. Default 1 s, 100 ms to 1 h: a time to live of nothing is not a wish to be
    /// asked without a pause.
    pub ttl_min: Duration,
    /// The longest time. Default 5 min, at least `ttl_min`: whoever moves a service seldom waits for longer.
    pub ttl_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            family: Family::Any,
            timeout: Duration::from_secs(2),
            ttl_min: Duration::from_secs(1),
            ttl_max: Duration::from_secs(300),
        }
    }
}

/// Asks name servers. Clones share what they know of the servers.
#[derive(Clone)]
pub struct Resolver {
    inner: Arc<TokioResolver>,
    options: Arc<Options>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The answer to one question, and until when it holds.
struct Answer<T> {
    found: Vec<T>,
    until: Option<Instant>,
}

impl Resolver {
    /// A resolver. It asks nobody yet.
    ///
    /// # Errors
    /// No servers are given, and those of the system cannot be read.
    pub fn new(options: Options) -> Result<Self, Unavailable> {
        let system =
            |error: NetError| Unavailable(format!("the system's name servers cannot be read: {error}"));
        let mut builder = if options.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(system)?
        } else {
            let servers = options.servers.iter().map(|server| name_server(*server)).collect();
            let config = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let asking = builder.options_mut();
        asking.timeout = options.timeout;
        // A question is asked again by whoever wants the endpoints, and its answer kept by nobody else.
        asking.attempts = 1;
        asking.cache_size = 0;
        let inner = Arc::new(builder.build().map_err(system)?);
        Ok(Self { inner, options: Arc::new(options) })
    }

    /// The endpoints behind a name. Each is asked for by its address; `name` says what else there is to know.
    #[must_use]
    pub fn records(&self, name: Name) -> DnsRecords {
        DnsRecords { resolver: self.clone(), name, is_encrypted: false, until: None }
    }

    async fn look_up(&self, name: &Name) -> Result<Answer<Endpoint>, Unavailable> {
        match name {
            Name::Host { host, port } => {
                let addresses = self.addresses(host).await?;
                let found = addresses.found.iter().map(|ip| SocketAddr::new(*ip, *port).into());
                Ok(Answer { found: found.collect(), until: addresses.until })
            }
            Name::Service(service) => self.targets(service).await,
        }
    }

    async fn addresses(&self, host: &str) -> Result<Answer<IpAddr>, Unavailable> {
        let types = self.options.family.types().iter();
        let asked = types.map(|kind| self.ask(host, *kind));
        let mut answer = Answer { found: Vec::new(), until: None };
        for records in futures_util::future::join_all(asked).await {
            let Some(records) = records? else { continue };
            answer.until = earlier(answer.until, Some(records.valid_until().into()));
            answer.found.extend(records.answers().iter().filter_map(|record| record.data.ip_addr()));
        }
        Ok(answer)
    }

    async fn targets(&self, service: &str) -> Result<Answer<Endpoint>, Unavailable> {
        let Some(records) = self.ask(service, RecordType::SRV).await? else {
            return Ok(Answer { found: Vec::new(), until: None });
        };
        let services = records.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(one) => Some(one),
            _ => None,
        });
        let first = services.clone().map(|one| one.priority).min();
        let used: Vec<_> =
            services.filter(|one| Some(one.priority) == first && !one.target.is_root()).collect();
        if used.len() > TARGETS_MAX {
            return Err(Unavailable(format!(
                "{service} has {} targets; {TARGETS_MAX} are the most",
                used.len()
            )));
        }
        let mut answer = Answer { found: Vec::new(), until: Some(records.valid_until().into()) };
        let names: Vec<String> = used.iter().map(|one| one.target.to_ascii()).collect();
        let addresses = futures_util::future::join_all(names.iter().map(|name| self.addresses(name))).await;
        for (one, addresses) in used.into_iter().zip(addresses) {
            let addresses = addresses?;
            answer.until = earlier(answer.until, addresses.until);
            let at = |ip| Endpoint::from(SocketAddr::new(ip, one.port)).with_weight(one.weight.into());
            answer.found.extend(addresses.found.into_iter().map(at));
        }
        Ok(answer)
    }

    /// The records; `None` where the servers say that there are none.
    async fn ask(&self, name: &str, kind: RecordType) -> Result<Option<Records>, Unavailable> {
        match self.inner.lookup(name, kind).await {
            Ok(records) => Ok(Some(records)),
            Err(error) if error.is_no_records_found() => Ok(None),
            Err(error) => Err(Unavailable(format!("{kind} records of {name}: {error}"))),
        }
    }
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let with_port = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    let connections = vec![with_port(ConnectionConfig::udp()), with_port(ConnectionConfig::tcp())];
    NameServerConfig::new(server.ip(), true, connections)
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// The records of one name, as a [`Registry`].
#[derive(Debug)]
pub struct DnsRecords {
    resolver: Resolver,
    name: Name,
    is_encrypted: bool,
    /// Until when the last answer holds.
    until: Option<Instant>,
}

impl DnsRecords {
    /// The same, of endpoints that speak TLS.
    #[must_use]
    pub fn encrypted(mut self, is_encrypted: bool) -> Self {
        self.is_encrypted = is_encrypted;
        self
    }
}

impl Registry for DnsRecords {
    fn source(&self) -> String {
        format!("dns {}", self.name)
    }

    async fn next(&mut self) -> Result<Vec<Endpoint>, Unavailable> {
        if let Some(until) = self.until {
            tokio::time::sleep_until(until).await;
        }
        self.until = None;
        let Options { ttl_min, ttl_max, .. } = *self.resolver.options;
        let Answer { found, until } = self.resolver.look_up(&self.name).await?;
        if found.len() > ENDPOINTS_MAX {
            return Err(Unavailable(format!("{} addresses; {ENDPOINTS_MAX} are the most", found.len())));
        }
        if !found.is_empty() {
            let now = Instant::now();
            let ttl = until.map_or(ttl_min, |until| until.saturating_duration_since(now));
            self.until = Some(now + ttl.clamp(ttl_min, ttl_max.max(ttl_min)));
        }
        let found = one_each(found);
        Ok(if self.is_encrypted { found.into_iter().map(Endpoint::encrypted).collect() } else { found })
    }
}

/// Each address once, with the weights of all its records, in an order of their own: an answer that is only shuffled is the same.
fn one_each(found: Vec<Endpoint>) -> Vec<Endpoint> {
    let mut all: BTreeMap<Arc<str>, Endpoint> = BTreeMap::new();
    for endpoint in found {
        match all.get_mut(endpoint.id()) {
            Some(known) => {
                *known = known.clone().with_weight(known.weight().saturating_add(endpoint.weight()))
            }
            None => {
                all.insert(Arc::clone(endpoint.id()), endpoint);
            }
        }
    }
    all.into_values().collect()
}
