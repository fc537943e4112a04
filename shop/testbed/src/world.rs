//! A world for one service: folder, bus, directory, and the services it talks with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leeward_discovery::{Directory, Endpoint};
use leeward_events::{Bus, Envelope, Event, bus};
use leeward_runtime::Tasks;
use leeward_service::{Kit, KitOptions, Minter, Service};
use parking_lot::Mutex;
use tokio::net::TcpListener;

use crate::bus::{Ear, PATIENCE, decode};
use crate::clock::Shifted;
use crate::peer::Peer;
use crate::site::Site;

/// How often something is looked at that nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Everything around a service under test.
#[derive(Debug)]
pub struct World {
    folder: tempfile::TempDir,
    directory: Directory,
    tasks: Tasks,
    bus: Bus,
    ear: Ear,
    clock: Shifted,
    services: Services,
    gateway: Minter,
    outsider: Minter,
}

/// The tasks of each service, by its name.
type Services = Mutex<Vec<(String, Tasks)>>;

impl World {
    /// An empty world with a gateway in it, and a service that has no business with any other.
    pub async fn new() -> Self {
        let (folder, directory, tasks) = (tempfile::tempdir().unwrap(), Directory::new(), Tasks::new());
        let clock = Shifted::default();
        let bus = Bus::open("memory:", bus::Options::default(), &tasks).await.unwrap();
        let ear = Ear::on(&bus, &tasks).await;
        let services = Services::default();
        let ground =
            Ground { folder: &folder, directory: &directory, bus: &bus, clock: &clock, services: &services };
        let mut minters = Vec::new();
        for name in ["gateway", "outsider"] {
            let kit = Kit::new(ground.options(name)).await.unwrap();
            minters.push(kit.minter().clone());
            ground.serve(Service::builder(kit).build().unwrap()).await;
        }
        let (outsider, gateway) = (minters.pop().unwrap(), minters.pop().unwrap());
        Self { folder, directory, tasks, bus, ear, clock, services, gateway, outsider }
    }

    /// A kit for the service `name`. One made after [`World::halt`] finds the data of the one before.
    pub async fn kit(&self, name: &str) -> Kit {
        Kit::new(self.options(name)).await.unwrap()
    }

    /// What [`World::kit`] is made of, to be changed first.
    #[must_use]
    pub fn options(&self, name: &str) -> KitOptions {
        self.ground().options(name)
    }

    /// Serves the service under test.
    pub async fn serve(&self, service: Service) -> Site {
        let (name, routes) = (service.name().to_string(), service.routes().to_vec());
        let address = self.ground().serve(service).await;
        Site::new(name, address, routes, self.clock.clone(), self.gateway.clone(), self.outsider.clone())
            .await
    }

    /// A service beside the one under test, with an outbox of its own.
    pub async fn peer(&self, name: &str) -> Peer {
        let kit = self.kit(name).await;
        let db = kit.db(&[]).await.unwrap();
        let peer = Peer::new(kit.clone(), db, self.ear.clone());
        self.ground().serve(Service::builder(kit).build().unwrap()).await;
        peer
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Shifted {
        &self.clock
    }

    /// Waits for an event that `wanted` takes, said at any time before or after.
    pub async fn heard<E: Event>(&self, wanted: impl Fn(&E) -> bool) -> (E, Envelope) {
        let find = |envelope: &Envelope| Some((decode::<E>(envelope).filter(&wanted)?, envelope.clone()));
        self.find(E::TYPE, find).await
    }

    pub(crate) async fn find<T>(&self, what: &str, wanted: impl Fn(&Envelope) -> Option<T>) -> T {
        self.ear.find(0, what, wanted).await
    }

    /// All events of a type that were said so far.
    #[must_use]
    pub fn said<E: Event>(&self) -> Vec<E> {
        self.ear.all().iter().filter_map(decode).collect()
    }

    /// Everything that was said so far, as it went over the bus.
    #[must_use]
    pub fn envelopes(&self) -> Vec<Envelope> {
        self.ear.all()
    }

    /// Stops the service `name`, which must end in time. Its data stay.
    pub async fn halt(&self, name: &str) {
        self.directory.clear(name);
        let tasks = {
            let mut services = self.services.lock();
            let place = services.iter().position(|(own, _)| own == name).unwrap();
            services.swap_remove(place).1
        };
        stop(&tasks).await;
    }

    /// Stops everything, which must end in time.
    pub async fn stop(self) {
        for (_, tasks) in self.services.into_inner() {
            stop(&tasks).await;
        }
        stop(&self.tasks).await;
    }

    fn ground(&self) -> Ground<'_> {
        let Self { folder, directory, bus, clock, services, .. } = self;
        Ground { folder, directory, bus, clock, services }
    }
}

async fn stop(tasks: &Tasks) {
    let report = tasks.shutdown(PATIENCE).await;
    assert!(report.is_clean(), "{report}");
}

/// What kits are made of.
struct Ground<'a> {
    folder: &'a tempfile::TempDir,
    directory: &'a Directory,
    bus: &'a Bus,
    clock: &'a Shifted,
    services: &'a Services,
}

impl Ground<'_> {
    fn options(&self, name: &str) -> KitOptions {
        let mut options = KitOptions::new(name, self.folder.path(), self.directory.clone(), self.bus.clone());
        self.services.lock().push((name.to_owned(), options.tasks.clone()));
        options.clock = Arc::new(self.clock.clone());
        options
    }

    /// Serves on a free port, and enters it into the directory.
    async fn serve(&self, service: Service) -> SocketAddr {
        let name = Arc::clone(service.name());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = service.serve(listener).await.unwrap();
        self.directory.set(&name, [Endpoint::from(address)]);
        address
    }
}

/// Looks until there is something, for what nobody announces: rows that a consumer writes.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        let mut again = tokio::time::interval(LOOK_EVERY);
        loop {
            if let Some(found) = look().await {
                return found;
            }
            again.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{what}: it did not come about"))
}
