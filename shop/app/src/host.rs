//! One process's share of the shop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use leeward_discovery::{Directory, Endpoint};
use leeward_events::bus::Token;
use leeward_events::{Bus, Dedupe};
use leeward_runtime::{Stage, Tasks};
use leeward_service::{Issuers, Kit, KitOptions, Service, Transport};
use shop_payments::{HttpProvider, PaymentProvider};
use tokio::net::TcpListener;

use crate::bus::{self, BusAt};
use crate::error::Error;
use crate::{PROVIDER, peers, seed};

/// The gateway's name in the directory and in assertions. Its address there is that of its admin API.
pub const GATEWAY: &str = "gateway";

/// Makes the client of the payment provider out of the one that speaks HTTP.
pub type MakeProvider = fn(HttpProvider) -> Arc<dyn PaymentProvider>;

/// What the shop is made of where more than one part would fit. The default is the product.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What remembers handled events; the inbox when none is given.
    pub dedupe: Option<Arc<dyn Dedupe>>,
    /// The client of the payment provider.
    pub provider: MakeProvider,
}

impl Default for Parts {
    fn default() -> Self {
        Self { dedupe: None, provider: |http| Arc::new(http) }
    }
}

/// What a host is opened with.
#[derive(Debug)]
pub struct HostOptions {
    /// The folder of all databases and keys.
    pub data: PathBuf,
    /// Which bus.
    pub bus: BusAt,
    /// Services elsewhere.
    pub at: Vec<(String, Endpoint)>,
    /// Whether an operator may inject faults. Default: no.
    pub allow_faults: bool,
    /// Whether the admin API, which must be among `at` as [`GATEWAY`], is asked where the others are. Default: no.
    pub follow: bool,
    /// Who owns all tasks.
    pub tasks: Tasks,
    /// What the shop is made of.
    pub parts: Parts,
}

impl HostOptions {
    /// A host that owns the bus and knows of nobody elsewhere.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, tasks: Tasks) -> Self {
        Self {
            data: data.into(),
            bus: BusAt::Own,
            at: Vec::new(),
            allow_faults: false,
            follow: false,
            tasks,
            parts: Parts::default(),
        }
    }
}

/// One process's share of the shop. Clones are the same host.
#[derive(Clone, Debug)]
pub struct Host {
    data: PathBuf,
    bus: Bus,
    token: Token,
    directory: Directory,
    transport: Transport,
    fixed: Vec<String>,
    allow_faults: bool,
    follow: bool,
    tasks: Tasks,
    parts: Parts,
}

impl Host {
    /// Opens the bus and fills the directory with what is known to be elsewhere.
    ///
    /// # Errors
    /// When the bus cannot be opened.
    pub async fn open(options: HostOptions) -> Result<Self, Error> {
        let HostOptions { data, bus, at, allow_faults, follow, tasks, parts } = options;
        let (bus, token) = bus::open(&bus, &data, &tasks).await?;
        let directory = Directory::new();
        let fixed = at.iter().map(|(name, _)| name.clone()).collect();
        for (name, endpoint) in at {
            directory.set(&name, [endpoint]);
        }
        let transport = Transport::new();
        Ok(Self { data, bus, token, directory, transport, fixed, allow_faults, follow, tasks, parts })
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The bus's routes, for the process that serves it to others.
    pub fn bus_router(&self) -> axum::Router {
        self.bus.router(self.token.clone())
    }

    /// Who is where.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Whether `name` was said to be elsewhere.
    #[must_use]
    pub fn is_elsewhere(&self, name: &str) -> bool {
        self.fixed.iter().any(|fixed| fixed == name)
    }

    /// Starts the service `name` on `address` and enters it into the directory.
    ///
    /// # Errors
    /// When the address is taken, the database is in use, or the service cannot be put together.
    pub async fn start(&self, name: &str, address: SocketAddr) -> Result<SocketAddr, Error> {
        let listener = TcpListener::bind(address).await.map_err(|cause| Error::Listen { address, cause })?;
        let address = if name == PROVIDER {
            self.serve_provider(listener).await?
        } else {
            let service = self.build(name).await?;
            if self.follow {
                self.follow_admin(service.kit());
            }
            service.serve(listener).await.map_err(|cause| Error::Listen { address, cause })?
        };
        self.directory.set(name, [Endpoint::from(address)]);
        Ok(address)
    }

    /// Every service of the shop, and what each is given.
    async fn build(&self, name: &str) -> Result<Service, Error> {
        let known = crate::SERVICES.into_iter().find(|known| *known == name);
        let service = known.ok_or_else(|| Error::UnknownService(name.to_owned()))?;
        let kit = self.kit(service).await?;
        match service {
            shop_users::NAME => shop_users::build(kit, seed::users()).await.map_err(Error::of(service)),
            shop_catalog::NAME => shop_catalog::build(kit, seed::categories(), seed::products())
                .await
                .map_err(Error::of(service)),
            shop_inventory::NAME => {
                shop_inventory::build(kit, seed::stock()).await.map_err(Error::of(service))
            }
            shop_payments::NAME => {
                let client = shop_payments::provider_client(&kit).map_err(Error::of(service))?;
                let provider = (self.parts.provider)(HttpProvider::new(client));
                shop_payments::build(kit, provider).await.map_err(Error::of(service))
            }
            shop_shipping::NAME => shop_shipping::build(kit).await.map_err(Error::of(service)),
            shop_notifications::NAME => shop_notifications::build(kit).await.map_err(Error::of(service)),
            shop_orders::NAME => shop_orders::build(kit).await.map_err(Error::of(service)),
            other => Err(Error::UnknownService(other.to_owned())),
        }
    }

    /// What this host gives a service.
    ///
    /// # Errors
    /// When the data folder or the service's key cannot be used.
    pub async fn kit(&self, name: &str) -> Result<Kit, Error> {
        let mut options = KitOptions::new(name, &self.data, self.directory.clone(), self.bus.clone());
        options.dedupe.clone_from(&self.parts.dedupe);
        options.tasks = self.tasks.clone();
        options.transport = self.transport.clone();
        options.allow_faults = self.allow_faults;
        // The directory also knows the provider, which is no part of the shop.
        options.issuers = Issuers::only(crate::SERVICES.into_iter().chain([GATEWAY]));
        Ok(Kit::new(options).await?)
    }

    /// Keeps the directory as the admin API has it, but for what was said at the start and this service itself.
    fn follow_admin(&self, kit: &Kit) {
        let fixed = self.fixed.iter().cloned().chain([kit.name.to_string()]).collect();
        let (asking, directory) = (kit.clone(), self.directory.clone());
        kit.tasks.spawn(Stage::Work, "peers", move |stop| peers::follow(asking, directory, fixed, stop));
    }

    async fn serve_provider(&self, listener: TcpListener) -> Result<SocketAddr, Error> {
        let address = listener.local_addr().map_err(|cause| Error::Provider(cause.into()))?;
        let url = format!("sqlite:{}", self.data.join("provider.db").display());
        let mut options = shop_provider::Options::new(url);
        options.allow_faults = self.allow_faults;
        std::fs::create_dir_all(&self.data).map_err(|cause| Error::Provider(cause.into()))?;
        let provider = shop_provider::Provider::open(options, self.tasks.stop(Stage::Serve)).await?;
        self.tasks.spawn_critical(Stage::Store, PROVIDER, move |_stop| async move {
            if let Err(error) = provider.serve(listener).await {
                tracing::error!(%error, "the provider ended");
            }
        });
        Ok(address)
    }
}
