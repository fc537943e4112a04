//! What one service gets from its host.

mod error;
mod options;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use leeward_discovery::Directory;
use leeward_events::metrics::ConsumerMetrics;
use leeward_events::{Bus, Consumer, Dedupe, Inbox, Outbox, Projection, consumer};
use leeward_resilience::{Clock, ConfigErrors, Rng};
use leeward_runtime::{Stage, Tasks};
use leeward_saga::Sagas;
use leeward_store::{Db, Migration};
use leeward_telemetry::{Correlation, Registry};
use parking_lot::Mutex;

use crate::client::{self, Client, ClientOptions, DirectoryKeys};
use crate::consumer::ConsumerBuilder;
use crate::faults::Faults;
use crate::health::{self, Health};
use crate::identity::{Identity, Minter, PeerKeys, Verifier};
use crate::inbound::{self, InboundOptions, Stack};

pub use error::BuildError;
pub use options::KitOptions;

/// Where in the data folder the keys of the services lie.
const KEYS_FOLDER: &str = "keys";

/// Commits of the service's database since the start.
pub const DB_COMMITS: &str = "leeward_db_commits";
/// Transactions committed since the start; several share a commit.
pub const DB_TRANSACTIONS: &str = "leeward_db_transactions";
/// Syncs of the disk since the start.
pub const DB_SYNCS: &str = "leeward_db_syncs";
/// Transactions that wait for the database's writer.
pub const DB_QUEUED: &str = "leeward_db_queued";

/// What one service gets from its host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Kit {
    /// The service's name.
    pub name: Arc<str>,
    /// The service's own tasks.
    pub tasks: Tasks,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for jitter and ids.
    pub rng: Arc<dyn Rng>,
    /// The service's own metrics.
    pub registry: Registry,
    /// The key it signs with.
    pub identity: Identity,
    /// Where the other services are.
    pub peers: Directory,
    /// Where events go and come from.
    pub bus: Bus,
    /// Where the service's own events are appended.
    pub outbox: Outbox,
    /// What its consumers remember handled events with.
    pub dedupe: Arc<dyn Dedupe>,
    /// The faults in force.
    pub faults: Faults,
    /// Its checks.
    pub health: Health,
    /// Its data folder.
    pub data: PathBuf,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    database_url: String,
    database: leeward_store::Options,
    db: tokio::sync::OnceCell<Db>,
    clients: Mutex<HashMap<Arc<str>, Client>>,
    caller: client::Caller,
    verifier: Verifier,
    inbound: InboundOptions,
}

impl Kit {
    /// Makes the data folder and the key where they are missing; opens nothing else yet.
    ///
    /// # Errors
    /// When the folder or the key cannot be used.
    pub async fn new(options: KitOptions) -> Result<Self, BuildError> {
        let KitOptions { name, data, peers, bus, clock, rng, transport, .. } = options;
        tokio::fs::create_dir_all(&data)
            .await
            .map_err(|cause| BuildError::Folder { path: data.clone(), cause })?;
        let identity = Identity::open(&data.join(KEYS_FOLDER), &name)?;
        let registry = Registry::with_labels([("service", &*name)]);
        let health = Health::new(Arc::clone(&name), Arc::clone(&clock));
        health.add(health::disk(data.clone()));
        health.add(health::memory(options.memory_degraded_bytes));
        let metrics = client::Metrics::new(&registry);
        let (time, random) = (Arc::clone(&clock), Arc::clone(&rng));
        let faults = Faults::new(options.allow_faults, time, random, Some(metrics.observer()));
        let keys = DirectoryKeys {
            directory: peers.clone(),
            transport: transport.clone(),
            clock: Arc::clone(&clock),
            issuers: options.issuers,
            own: (Arc::clone(&name), identity.public_keys().clone()),
        };
        let keys = PeerKeys::new(Arc::new(keys), Arc::clone(&clock));
        let caller = client::Caller {
            service: Arc::clone(&name),
            minter: Minter::new(identity.clone()),
            transport,
            faults: faults.clone(),
            clock: Arc::clone(&clock),
            rng: Arc::clone(&rng),
            metrics,
        };
        let url = options
            .database_url
            .unwrap_or_else(|| format!("sqlite:{}", data.join(format!("{name}.db")).display()));
        let inner = Inner {
            database_url: url,
            database: options.database,
            db: tokio::sync::OnceCell::new(),
            clients: Mutex::default(),
            caller,
            verifier: Verifier::new(Arc::clone(&name), options.gateways, keys, Arc::clone(&clock)),
            inbound: options.inbound,
        };
        let tasks = options.tasks.child(&name);
        let outbox = Outbox::new(&name, Arc::clone(&clock)).rng(Arc::clone(&rng));
        health.add(health::bus(bus.clone(), outbox.clone(), Arc::clone(&clock)));
        let dedupe = options.dedupe.unwrap_or_else(|| Arc::new(Inbox::new(Arc::clone(&clock))));
        let inner = Arc::new(inner);
        Ok(Self {
            name,
            tasks,
            clock,
            rng,
            registry,
            identity,
            peers,
            bus,
            outbox,
            dedupe,
            faults,
            health,
            data,
            inner,
        })
    }

    /// The service's own database, with its tables and those of outbox and inbox. The first call opens it, has it
    /// checked, and closes it at the end.
    ///
    /// # Errors
    /// When it cannot be opened or migrated.
    pub async fn db(&self, migrations: &[Migration]) -> Result<Db, BuildError> {
        let db = self.inner.db.get_or_try_init(|| self.open_db()).await?;
        db.migrate("service", migrations).await?;
        Ok(db.clone())
    }

    /// Begins a consumer of this service over its database, which is open by then: `group` is a name like
    /// `catalog.stock`.
    pub fn consumer(&self, group: &str) -> ConsumerBuilder {
        let begin = self.opened_db().map(|db| {
            let (group, db, bus) = (group.to_owned(), db.clone(), self.bus.clone());
            move || Consumer::builder(&group, db.clone(), bus.clone())
        });
        self.furnish(group, begin.ok_or_else(|| BuildError::NoDatabase { group: group.to_owned() }))
    }

    /// The consumer that keeps a projection up to date.
    pub fn project(&self, projection: &Projection) -> ConsumerBuilder {
        let (bus, kept) = (self.bus.clone(), projection.clone());
        self.furnish(projection.group(), Ok(move || kept.consumer(bus.clone())))
    }

    fn furnish(
        &self,
        group: &str,
        begin: Result<impl Fn() -> consumer::Builder + Send + Sync + 'static, BuildError>,
    ) -> ConsumerBuilder {
        let begin = begin.map(|begin| {
            let (dedupe, clock, rng) =
                (Arc::clone(&self.dedupe), Arc::clone(&self.clock), Arc::clone(&self.rng));
            let metrics = ConsumerMetrics::new(&self.registry, group);
            move || {
                begin()
                    .dedupe(Arc::clone(&dedupe))
                    .clock(Arc::clone(&clock))
                    .rng(Arc::clone(&rng))
                    .metrics(metrics.clone())
            }
        });
        ConsumerBuilder::new(group, begin, self.outbox.clone(), Arc::clone(&self.clock))
    }

    /// The service's sagas, over its database, with their tables. Register the definitions, and hand it to
    /// [`Builder::sagas`](crate::Builder::sagas).
    ///
    /// # Errors
    /// When the tables cannot be made.
    pub async fn sagas(&self, db: &Db) -> Result<Sagas, BuildError> {
        let options = leeward_saga::Options {
            service: Arc::clone(&self.name),
            registry: self.registry.clone(),
            ..leeward_saga::Options::default()
        };
        let sagas = Sagas::new(db.clone(), Arc::clone(&self.clock), Arc::clone(&self.rng), options);
        sagas.migrate().await?;
        Ok(sagas)
    }

    /// The beginning of a piece of work that no request caused: a timer, a seed.
    #[must_use]
    pub fn correlation(&self) -> Correlation {
        Correlation::new_root(&*self.rng)
    }

    /// The client that calls `target`, with the default options.
    #[must_use]
    pub fn client(&self, target: &str) -> Client {
        // The defaults are in range, so that the only error there is cannot happen.
        self.client_with(target, ClientOptions::default()).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// The client that calls `target`. The options of the first call count: all clients of a target are one.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn client_with(&self, target: &str, options: ClientOptions) -> Result<Client, ConfigErrors> {
        let mut clients = self.inner.clients.lock();
        if let Some(client) = clients.get(target) {
            return Ok(client.clone());
        }
        let client = Client::new(&self.inner.caller, self.peers.upstream(target), options)?;
        clients.insert(target.into(), client.clone());
        Ok(client)
    }

    /// The clients made so far, by target.
    #[must_use]
    pub fn clients(&self) -> Vec<Client> {
        let mut clients: Vec<_> = self.inner.clients.lock().values().cloned().collect();
        clients.sort_by(|one, other| one.target().cmp(other.target()));
        clients
    }

    /// Signs as this service.
    #[must_use]
    pub fn minter(&self) -> &Minter {
        &self.inner.caller.minter
    }

    /// The database, if it has been opened.
    pub(crate) fn opened_db(&self) -> Option<&Db> {
        self.inner.db.get()
    }

    pub(crate) fn stack(&self) -> Result<Stack, ConfigErrors> {
        let parts = inbound::Parts {
            service: Arc::clone(&self.name),
            clock: Arc::clone(&self.clock),
            rng: Arc::clone(&self.rng),
            registry: &self.registry,
            observer: self.inner.caller.metrics.observer(),
            verifier: self.inner.verifier.clone(),
            faults: self.faults.clone(),
        };
        Stack::new(parts, &self.inner.inbound)
    }

    async fn open_db(&self) -> Result<Db, BuildError> {
        let db = Db::open(&self.inner.database_url, self.inner.database.clone()).await?;
        Outbox::migrate(&db).await?;
        Consumer::migrate(&db).await?;
        self.health.add(health::database(db.clone()));
        self.measure(&db);
        let closing = db.clone();
        // Last of all: whatever stops before may still write.
        self.tasks.spawn(Stage::Store, "database", move |stop| async move {
            stop.requested().await;
            closing.close().await;
        });
        Ok(db)
    }

    /// What the database has done, asked for at each scrape.
    fn measure(&self, db: &Db) {
        let gauge = |name, help, read: fn(&leeward_store::Stats) -> u64| {
            let db = db.clone();
            #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            self.registry.gauge_fn(name, help, move || read(&db.stats()) as f64);
        };
        gauge(DB_COMMITS, "Commits since the start.", |stats| stats.commits);
        gauge(DB_TRANSACTIONS, "Transactions committed since the start.", |stats| stats.transactions);
        gauge(DB_SYNCS, "Syncs of the disk since the start.", |stats| stats.syncs);
        gauge(DB_QUEUED, "Transactions that wait for the writer.", |stats| stats.queued);
    }
}
