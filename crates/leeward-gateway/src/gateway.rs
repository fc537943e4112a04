//! Putting a gateway together, starting it, and giving it another configuration while it runs.

mod bound;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use leeward_discovery::registry::Unavailable;
use leeward_discovery::{Checker, Directory, Endpoint, Health};
use leeward_events::Bus;
use leeward_resilience::{Clock, ConfigErrors, FastRng, Rng, TokioClock};
use leeward_runtime::{Stage, Stop, Tasks};
use leeward_service::identity::{Identity, Minter};
use leeward_telemetry::Registry;

use self::bound::Bound;
use crate::access::AccessLog;
use crate::admin;
use crate::config::{AccessLogTo, Config, KeySource, Listener, explained};
use crate::control::Control;
use crate::credentials::{FileProblem, Store};
use crate::decisions;
use crate::delivery::{self, Kept};
use crate::handover::{Given, Handover, Sockets};
use crate::health;
use crate::holds::Holds;
use crate::jwt::KeyStore;
use crate::layer::{Layer, Maker};
use crate::lookups::Lookups;
use crate::metrics::{Metrics, REVOCATION_STALENESS};
use crate::places::Places;
use crate::plane::{self, Entry, Load};
use crate::probe::Encrypted;
use crate::published::Published;
use crate::reload::{self, BoxError, Cause, Changes, Failure, Reloader, Source};
use crate::revocation::Revocations;
use crate::revocation::feed::{self, Counted, Feed};
use crate::shared::{Lasting, Shared, Traffic};
use crate::tls::{self, Outward};

/// The name under which the gateway signs, and under which the directory knows its admin API.
pub const NAME: &str = "gateway";

/// Why a gateway does not start, or does not take another configuration. Each text is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({key}): {cause}; stop what uses it, or set another address")]
    Bind {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// Services of the configuration are nowhere.
    #[error("no endpoints for {}: give each of them `urls` or `dns` in the configuration", list(services))]
    Nowhere {
        /// Their names.
        services: Vec<Arc<str>>,
    },
    /// Revocations come over the bus, and there is none.
    #[error("`revocation` needs a bus, and the gateway was started without one")]
    NoBus,
    /// Revocations cannot be kept.
    #[error(transparent)]
    Revocation(#[from] feed::Error),
    /// Another configuration has other values for what a running gateway cannot change.
    #[error("a running gateway cannot change {}: put back what was there, or restart it", listed(options))]
    NeedsRestart {
        /// Where these stand in the configuration.
        options: Vec<&'static str>,
    },
    /// The certificates of a listener, or those towards a service.
    #[error(transparent)]
    Certificate(#[from] tls::Problem),
    /// Options that do not go together.
    #[error("the configuration does not fit together: {0}")]
    Options(#[from] ConfigErrors),
    /// The access log cannot be opened.
    #[error(
        "cannot write the access log to {to} (access_log.to): {cause}; name a file in a folder that is there and may be written"
    )]
    AccessLog {
        /// What was asked for.
        to: AccessLogTo,
        /// Why.
        cause: std::io::Error,
    },
    /// An endpoint's URL.
    #[error(transparent)]
    Endpoint(#[from] leeward_discovery::endpoint::Error),
    /// Services are to be looked up, and nobody can be asked.
    #[error("{0}; give `servers` under `dns`")]
    Dns(Unavailable),
    /// It was to begin once it was ready, and did not become so.
    #[error(
        "not ready within {} s: the keys of `jwt` were not fetched, services were not looked up, or it is not known what was revoked; see what was logged",
        within.as_secs()
    )]
    NotReady {
        /// How long it was waited for.
        within: Duration,
    },
    /// Whom it was to wait for before it begins.
    #[error("it may not begin: {0}")]
    Unwanted(BoxError),
    /// How far deliveries are cannot be read.
    #[error(transparent)]
    Deliveries(#[from] delivery::Problem),
    /// The system gave no thread.
    #[error("the system gave no thread for a core: {0}")]
    Thread(std::io::Error),
}

fn list(names: &[Arc<str>]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn listed(options: &[&str]) -> String {
    options.iter().map(|option| format!("`{option}`")).collect::<Vec<_>>().join(", ")
}

/// Whom a gateway waits for before it takes the first connection.
type Begin = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// How long a gateway that is to be ready before it begins may take for that: keys of tokens are fetched within some attempts.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked whether it is.
const READY_LOOK: Duration = Duration::from_millis(10);

/// What a gateway is made of.
pub struct Builder {
    config: Config,
    directory: Option<Directory>,
    bus: Option<Bus>,
    identity: Option<Identity>,
    registry: Registry,
    admin_routes: axum::Router,
    source: Option<Source>,
    deliveries: Option<PathBuf>,
    layers: Vec<Maker>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    checks_health: bool,
    sockets: Vec<TcpListener>,
    begins_after: Option<Begin>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("listen", &self.config.listen).finish_non_exhaustive()
    }
}

impl Builder {
    /// Where the services are. Those with `urls` in the configuration are put into it. Default: an own, empty one.
    #[must_use]
    pub fn directory(mut self, directory: Directory) -> Self {
        self.directory = Some(directory);
        self
    }

    /// Where revocations come from.
    #[must_use]
    pub fn bus(mut self, bus: Bus) -> Self {
        self.bus = Some(bus);
        self
    }

    /// The key with which the gateway vouches for users towards services. Default: none, and no assertions.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Where metrics are registered. Default: an own registry.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Routes to serve beside the admin API, such as those of an embedded bus. They must guard themselves.
    #[must_use]
    pub fn admin_routes(mut self, routes: axum::Router) -> Self {
        self.admin_routes = self.admin_routes.merge(routes);
        self
    }

    /// Puts code on the path of every request that goes to a service, inside of the layers that were added before: see
    /// [`crate::layer`]. `name` is what it is called in metrics; `make` makes it once for each core.
    #[must_use]
    pub fn layer<L: Layer + 'static>(
        mut self,
        name: &'static str,
        make: impl Fn() -> L + Send + Sync + 'static,
    ) -> Self {
        self.layers.push(Maker::new(name, make));
        self
    }

    /// Where the configuration comes from: it is read again when its file changes, when an operator asks for it, and by
    /// [`Gateway::read_again`]. Default: nowhere, and only [`Gateway::reload`] changes anything.
    #[must_use]
    pub fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// The file in which it is kept how far operators moved each delivery, so that a restart goes on there. It is made when it is not there; its folder
    /// must be. No two gateways may share one. Default: none, and a restart begins where the configuration says.
    #[must_use]
    pub fn deliveries(mut self, file: impl Into<PathBuf>) -> Self {
        self.deliveries = Some(file.into());
        self
    }

    /// Time.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Randomness for ids, jitter and choices.
    #[must_use]
    pub fn rng(mut self, rng: Arc<dyn Rng>) -> Self {
        self.rng = rng;
        self
    }

    /// Leaves the health checks of the configuration to somebody else who runs them over the same directory.
    #[must_use]
    pub fn without_health_checks(mut self) -> Self {
        self.checks_health = false;
        self
    }

    /// Sockets that listen already, opened by a supervisor or by the process whose place this one takes. Each is used for the address of the
    /// configuration that it has (a port 0 there takes any of the address); one that has none is closed. Default: none, and all are opened.
    #[must_use]
    pub fn sockets(mut self, sockets: Vec<TcpListener>) -> Self {
        self.sockets = sockets;
        self
    }

    /// Waits, once the gateway is ready, for `wanted` before it takes the first connection: for the process whose place it takes to
    /// let go. A gateway that does not become ready (20 s at most) does not start, and neither does one for which `wanted` is an error.
    /// Default: connections are taken at once.
    #[must_use]
    pub fn begin_after(
        mut self,
        wanted: impl Future<Output = Result<(), BoxError>> + Send + 'static,
    ) -> Self {
        self.begins_after = Some(Box::pin(wanted));
        self
    }

    /// Starts the gateway: loads revocations, then listens. It runs under `tasks` until they are shut down: it stops
    /// taking connections first, and answers what is on its way before anything behind it stops.
    ///
    /// When services of the same process stop under the same tasks, give the gateway a child of them and shut that
    /// down first.
    ///
    /// # Errors
    /// Whatever keeps it from serving.
    ///
    /// # Cancel safety
    /// Not safe: parts that were started stay until `tasks` are shut down.
    pub async fn start(self, tasks: &Tasks) -> Result<Gateway, Error> {
        let Self {
            config,
            directory,
            bus,
            identity,
            registry,
            admin_routes,
            source,
            deliveries,
            layers,
            clock,
            rng,
            checks_health,
            sockets,
            begins_after,
        } = self;
        let is_own_directory = directory.is_none();
        let directory = directory.unwrap_or_default();
        Places::read(&config, is_own_directory)?.settle(&directory);
        let (bound, handover) = (Bound::new(&config, Given::new(sockets))?, Handover::new());
        let entries: Arc<[Arc<Entry>]> = entries(&config)?.into();
        let (addrs, admin_addr) = (Arc::clone(&bound.addrs), bound.admin_addr);
        directory.set(NAME, [Endpoint::from(reachable(admin_addr))]);

        let (revocations, traffic) = (Arc::new(Revocations::new()), Arc::new(Traffic::default()));
        let metrics = Metrics::new(registry, config.metrics.routes);
        let access = access_log(&config, &metrics, &clock, &rng, tasks)?;
        let lasting = Lasting {
            directory,
            minter: identity.clone().map(Minter::new),
            metrics,
            revocations,
            holds: holds(&traffic, &clock, tasks),
            traffic,
            access,
            entries: Arc::clone(&entries),
            refused: Arc::default(),
            departed: Arc::default(),
            deliveries: deliveries.map(Kept::open).transpose()?.map(Arc::new),
            layers: layers.into(),
            clock,
            rng,
        };
        let lookups = Lookups::new(&config, &lasting.clock).map_err(Error::Dns)?;
        let published = Published::new(Shared::new(&Arc::new(config), lookups, &lasting)?);
        follow_revocations(&published.current(), bus.clone(), &handover, tasks).await?;
        find_out(&published, checks_health, tasks);
        if begins_after.is_some() {
            until_ready(&published).await?;
        }
        // What can fail for want of an address fails before anybody else goes.
        let (doors, admin, sockets) = bound.open(&entries)?;
        if let Some(wanted) = begins_after {
            wanted.await.map_err(Error::Unwanted)?;
        }
        let reloader = Arc::new(Reloader::new(published.clone(), lasting, is_own_directory, source));
        let (decisions, asked) = decisions::channels(plane::cores(&published.current().config));
        let loads = plane::start(&published, doors, asked, tasks).map_err(Error::Thread)?;
        let parts =
            admin::Parts { identity, bus, beside: admin_routes, decisions, handover: handover.clone() };
        admin::start(&reloader, parts, admin, tasks).map_err(|cause| Error::Bind {
            key: "admin.listen",
            address: admin_addr,
            cause,
        })?;
        follow_files(&published, &reloader, tasks);
        tracing::info!(?addrs, %admin_addr, cores = loads.len(), "gateway listens");
        Ok(Gateway { addrs, admin_addr, published, reloader, loads, sockets, handover })
    }
}

/// A running gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    addrs: Arc<[SocketAddr]>,
    admin_addr: SocketAddr,
    published: Published,
    reloader: Arc<Reloader>,
    loads: Vec<Arc<Load>>,
    sockets: Sockets,
    handover: Handover,
}

impl Gateway {
    /// A gateway with this configuration.
    #[must_use]
    pub fn builder(config: Config) -> Builder {
        Builder {
            config,
            directory: None,
            bus: None,
            identity: None,
            registry: Registry::new(),
            admin_routes: axum::Router::new(),
            source: None,
            deliveries: None,
            layers: Vec::new(),
            clock: Arc::new(TokioClock),
            rng: Arc::new(FastRng::from_entropy()),
            checks_health: true,
            sockets: Vec::new(),
            begins_after: None,
        }
    }

    /// Where clients connect: the first listener.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    /// Where clients connect, in the order of the configuration.
    #[must_use]
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Where operators connect.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.published.current().config)
    }

    /// Puts another configuration into force, and says what that changed. No connection is closed and no request fails for it: see
    /// [`crate::reload`]. Limits of a connection (sizes and times of heads, idle and write timeouts) are those from when it
    /// was opened. It takes time in proportion to the routes, on the caller's thread.
    ///
    /// # Errors
    /// Everything that a running gateway cannot change, and what keeps a gateway from starting. Then the configuration before stays
    /// in force, all of it.
    pub fn reload(&self, config: &Config) -> Result<Changes, Error> {
        self.reloader.reload(config.clone())
    }

    /// Reads the configuration's file again and [puts it into force](Self::reload). What comes of it is also logged, counted and
    /// shown in the health.
    ///
    /// # Errors
    /// Why the configuration before stays in force.
    ///
    /// # Cancel safety
    /// What was begun is done to its end.
    pub async fn read_again(&self, cause: Cause) -> Result<Changes, Failure> {
        reload::again(&self.reloader, cause).await
    }

    /// Whether it takes new requests: not while it drains, and not before it has the keys to tell users apart.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        health::is_ready(&self.published.current())
    }

    /// The health of the gateway and of all services as it sees them.
    #[must_use]
    pub fn health(&self) -> health::Report {
        health::report(&self.published.current())
    }

    /// The order and the values of the outbound policies of each service.
    #[must_use]
    pub fn explain(&self) -> String {
        let shared = self.published.current();
        let held = shared.holds.list().into_iter().map(|held| format!("an operator has {}\n", held.text()));
        let layers =
            shared.layers.iter().map(|layer| format!("layer {}, in front of all services\n", layer.name));
        let services = shared.services.iter().map(|service| &service.pipeline);
        let own = shared.routes.iter().flat_map(|route| route.own.iter().map(|own| &own.pipeline));
        let pipelines = services.chain(own).map(|pipeline| explained(pipeline) + "\n");
        let deliveries =
            shared.moving().map(|(route, moving)| format!("delivery of {}: {moving}\n", route.config.id));
        layers.chain(pipelines).chain(deliveries).chain(held).collect()
    }

    /// Copies of all listening sockets, for [`Builder::sockets`] of a process that is to take the place of this one. They listen as long
    /// as any copy is open, whatever becomes of this gateway.
    ///
    /// # Errors
    /// When the gateway stops, or file descriptors ran out.
    pub fn sockets(&self) -> std::io::Result<Vec<TcpListener>> {
        self.sockets.copies()
    }

    /// Closes the files that only one process may have, the database of `revocation`, so that the next one can start. Until it
    /// [takes them back](Self::take_back) or [goes](Self::go), this gateway follows revocations in memory.
    ///
    /// # Cancel safety
    /// Safe; the files are wanted until they are taken back.
    pub async fn lend(&self) {
        self.handover.lend(self.config().revocation.is_some()).await;
    }

    /// Opens the files again: nobody took over.
    pub fn take_back(&self) {
        self.handover.take_back();
    }

    /// Another process answers in place of this one: the admin API closes, and files stay closed. Then shut the gateway's tasks down, so
    /// that what is on its way is answered.
    pub fn go(&self) {
        self.handover.go();
    }

    /// Open connections and requests so far, for each core.
    #[must_use]
    pub fn cores(&self) -> Vec<(usize, u64)> {
        self.loads.iter().map(|load| (load.connections(), load.requests())).collect()
    }
}

/// What operators hold, each as long as they said.
fn holds(traffic: &Arc<Traffic>, clock: &Arc<dyn Clock>, tasks: &Tasks) -> Arc<Holds> {
    let holds = Arc::new(Holds::new(Arc::clone(traffic), Arc::clone(clock)));
    let held = Arc::clone(&holds);
    tasks.spawn(Stage::Work, "gateway.holds", |stop| async move { held.run(stop).await });
    holds
}

/// How connections to each listener begin.
fn entries(config: &Config) -> Result<Vec<Arc<Entry>>, Error> {
    let entry = |listener: &Listener| {
        let tls = listener.tls.as_ref().map(|options| tls::Server::new(listener, options)).transpose()?;
        Ok(Arc::new(Entry { tls: tls.map(Arc::new), protocols: listener.protocols }))
    };
    config.listen.iter().map(entry).collect()
}

fn access_log(
    config: &Config,
    metrics: &Metrics,
    clock: &Arc<dyn Clock>,
    rng: &Arc<dyn Rng>,
    tasks: &Tasks,
) -> Result<Option<Arc<AccessLog>>, Error> {
    let Some(options) = &config.access_log else { return Ok(None) };
    let ways = (Arc::clone(clock), Arc::clone(rng));
    let log = AccessLog::start(options, plane::cores(config), metrics, ways, tasks);
    log.map(Some).map_err(|cause| Error::AccessLog { to: options.to.clone(), cause })
}

/// Waits until requests can be answered.
async fn until_ready(published: &Published) -> Result<(), Error> {
    let ready = async {
        while !health::is_ready(&published.current()) {
            tokio::time::sleep(READY_LOOK).await;
        }
    };
    tokio::time::timeout(READY_WITHIN, ready).await.map_err(|_| Error::NotReady { within: READY_WITHIN })
}

/// "Every address" is none that somebody can call.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

async fn follow_revocations(
    shared: &Arc<Shared>,
    bus: Option<Bus>,
    handover: &Handover,
    tasks: &Tasks,
) -> Result<(), Error> {
    let Some(options) = &shared.config.revocation else { return Ok(()) };
    let bus = bus.ok_or(Error::NoBus)?;
    let counted = Counted {
        applied: shared.metrics.revocations.clone(),
        unreadable: shared.metrics.revocations_unreadable.clone(),
        delay: shared.metrics.revocation_delay.clone(),
    };
    let (set, clock) = (Arc::clone(&shared.revocations), Arc::clone(&shared.clock));
    let known = Arc::clone(&set);
    let now = Arc::clone(&clock);
    shared.metrics.registry.gauge_fn(
        REVOCATION_STALENESS,
        "Time since all that was revoked was known for certain",
        move || known.age(now.now()).map_or(f64::INFINITY, |age| age.as_secs_f64()),
    );
    let mut feed = Feed::open(options, bus, set, clock, counted, handover.clone()).await?;
    feed.catch_up().await;
    tasks.spawn(Stage::Work, "gateway.revocations", |stop| async move { feed.run(stop).await });
    Ok(())
}

/// Begins to find out what only others know.
fn find_out(published: &Published, checks_health: bool, tasks: &Tasks) {
    fetch_keys(published, tasks);
    look_up(published, tasks);
    if checks_health {
        check_health(published, tasks);
    }
}

/// Follows everything on disk that may change while the gateway runs.
fn follow_files(published: &Published, reloader: &Arc<Reloader>, tasks: &Tasks) {
    watch_certificates(published, tasks);
    follow_callers(published, tasks, "api_keys", |shared| shared.api_keys.clone());
    follow_callers(published, tasks, "basic", |shared| Some(Arc::clone(&shared.basic.as_ref()?.store)));
    let following = Arc::clone(reloader);
    tasks.spawn(Stage::Work, "gateway.config", |stop| reload::follow_file(following, stop));
    let reloader = Arc::clone(reloader);
    tasks.spawn(Stage::Work, "gateway.retired-config", |stop| reload::retire(reloader, stop));
}

/// Follows the certificates on disk: those of listeners stay the same ones, those towards services come and go.
fn watch_certificates(published: &Published, tasks: &Tasks) {
    let shared = published.current();
    for server in shared.entries.iter().filter_map(|entry| entry.tls.clone()) {
        let metrics = shared.metrics.clone();
        tasks.spawn(Stage::Work, "gateway.certificates", |stop| tls::follow(server, metrics, stop));
    }
    let (published, metrics) = (published.clone(), shared.metrics.clone());
    tasks.spawn(Stage::Work, "gateway.service-certificates", |stop| async move {
        let part = |shared: &Shared| {
            let all: Vec<_> = shared.outward().cloned().collect();
            Some(all).filter(|all| !all.is_empty())
        };
        let is_same = |was: &Vec<Arc<Outward>>, is: &Vec<Arc<Outward>>| {
            was.len() == is.len() && was.iter().zip(is).all(|(was, is)| Arc::ptr_eq(was, is))
        };
        let run = async |all: Vec<Arc<Outward>>, stop: Stop| {
            let each = all.into_iter().map(|one| tls::follow(one, metrics.clone(), stop.clone()));
            futures_util::future::join_all(each).await;
        };
        published.run_for(stop, part, is_same, run).await;
    });
}

/// Follows a file of callers on disk.
fn follow_callers<T: Send + Sync + 'static>(
    published: &Published,
    tasks: &Tasks,
    kind: &'static str,
    part: impl Fn(&Shared) -> Option<Arc<Store<T>>> + Send + Sync + 'static,
) {
    let published = published.clone();
    tasks.spawn(Stage::Work, "gateway.callers", move |stop| async move {
        let metrics = published.current().metrics.clone();
        let run = async |store: Arc<Store<T>>, stop: Stop| {
            store.follow(stop, |file, taken| note_callers(&metrics, kind, file, taken)).await;
        };
        published.run_for(stop, part, Arc::ptr_eq, run).await;
    });
}

fn note_callers(metrics: &Metrics, kind: &'static str, file: &Path, taken: Result<(), FileProblem>) {
    let file = file.display();
    metrics.caller_reloads.with([kind, if taken.is_ok() { "taken" } else { "refused" }]).inc();
    match taken {
        Ok(()) => tracing::info!(kind, %file, "the file of callers changed and is in force"),
        Err(problem) => {
            tracing::error!(kind, %file, "the file of callers changed; the one before stays in force: {problem}");
        }
    }
}

fn fetch_keys(published: &Published, tasks: &Tasks) {
    let (published, control) = (published.clone(), Control::new());
    type Wanted = Vec<(Arc<KeyStore>, KeySource, Option<Arc<Outward>>)>;
    let part = |shared: &Shared| {
        let issuers = &shared.authentication.as_ref()?.issuers;
        let stores = issuers.iter().zip(&shared.config.jwt).zip(&shared.keys_tls).filter_map(
            |((issuer, jwt), tls)| Some((Arc::clone(issuer.keys.store()?), jwt.keys.clone(), tls.clone())),
        );
        Some(stores.collect::<Wanted>()).filter(|stores| !stores.is_empty())
    };
    // Whoever waits for keys waits for those of this store.
    let is_same = |was: &Wanted, is: &Wanted| {
        let is_same_tls = |was: &Option<Arc<Outward>>, is: &Option<Arc<Outward>>| {
            was.as_ref().map(Arc::as_ptr) == is.as_ref().map(Arc::as_ptr)
        };
        was.len() == is.len()
            && was.iter().zip(is).all(|(was, is)| Arc::ptr_eq(&was.0, &is.0) && is_same_tls(&was.2, &is.2))
    };
    tasks.spawn(Stage::Work, "gateway.token-keys", |stop| async move {
        let shared = published.current();
        let (directory, clock) = (shared.directory.clone(), Arc::clone(&shared.clock));
        drop(shared);
        let run = async |wanted: Wanted, stop: Stop| {
            let each = wanted.iter().map(|(keys, source, tls)| {
                let fetch = async || match source {
                    KeySource::Service { service, path } => {
                        let current = published.current();
                        let way = current.service(service).map(|service| service.way.clone());
                        drop(current);
                        control.fetch(&directory.upstream(service), path, &*clock, way.as_ref()).await
                    }
                    KeySource::Url(url) => control.fetch_url(url, tls.as_deref()).await,
                    KeySource::Given(_) | KeySource::Secret(_) => {
                        Err("these keys are not published".to_owned())
                    }
                };
                keys.run(stop.clone(), fetch)
            });
            futures_util::future::join_all(each).await;
        };
        published.run_for(stop, part, is_same, run).await;
    });
}

/// Follows DNS for the services that are found by it.
fn look_up(published: &Published, tasks: &Tasks) {
    let published = published.clone();
    tasks.spawn(Stage::Work, "gateway.lookups", |stop| async move {
        let shared = published.current();
        let (directory, rng) = (shared.directory.clone(), Arc::clone(&shared.rng));
        drop(shared);
        let part = |shared: &Shared| shared.lookups.clone();
        let run = async |lookups: Arc<Lookups>, stop: Stop| lookups.run(&directory, &*rng, &stop).await;
        published.run_for(stop, part, Arc::ptr_eq, run).await;
    });
}

fn check_health(published: &Published, tasks: &Tasks) {
    let published = published.clone();
    tasks.spawn(Stage::Work, "gateway.health", |stop| async move {
        let shared = published.current();
        let (directory, rng) = (shared.directory.clone(), Arc::clone(&shared.rng));
        drop(shared);
        let run = async |health: Option<Health>, stop: Stop| {
            let checker = health.map(|health| Checker::new(directory.clone(), health, Arc::clone(&rng)));
            match checker {
                Some(Ok(checker)) => {
                    let probe = Arc::new(Encrypted(published.clone()));
                    return checker.with_probe(probe).run(stop).await;
                }
                Some(Err(error)) => tracing::error!(%error, "endpoints are not checked"),
                // What was unhealthy would stay out for ever.
                None => directory.uncheck(),
            }
            stop.requested().await;
        };
        published.run_for(stop, |shared| Some(shared.config.health.clone()), PartialEq::eq, run).await;
    });
}

#[cfg(test)]
mod tests;
