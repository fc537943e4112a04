//! Every backend of the bus passes the same suite.

use std::sync::atomic::{AtomicU32, Ordering};

use leeward_events::bus::{self, Bus};
use leeward_events::conformance::{self, Features, Subject};
use leeward_runtime::Tasks;

use crate::world::serve;

struct Memory(Tasks);

impl Subject for Memory {
    fn features(&self) -> Features {
        Features { durable: false }
    }

    async fn open(&self, options: bus::Options) -> Bus {
        Bus::open("memory:", options, &self.0).await.unwrap()
    }

    async fn reopen(&self, _: Bus, _: bus::Options) -> Bus {
        unreachable!("not durable")
    }
}

struct Sqlite {
    tasks: Tasks,
    folder: tempfile::TempDir,
    opened: AtomicU32,
}

impl Sqlite {
    fn new() -> Self {
        Self { tasks: Tasks::new(), folder: tempfile::tempdir().unwrap(), opened: AtomicU32::new(0) }
    }

    fn url(&self, number: u32) -> String {
        format!("sqlite:{}", self.folder.path().join(format!("bus-{number}.db")).display())
    }
}

impl Subject for Sqlite {
    fn features(&self) -> Features {
        Features { durable: true }
    }

    async fn open(&self, options: bus::Options) -> Bus {
        let number = self.opened.fetch_add(1, Ordering::Relaxed) + 1;
        Bus::open(&self.url(number), options, &self.tasks).await.unwrap()
    }

    async fn reopen(&self, bus: Bus, options: bus::Options) -> Bus {
        bus.close().await;
        Bus::open(&self.url(self.opened.load(Ordering::Relaxed)), options, &self.tasks).await.unwrap()
    }
}

/// A bus in a file, used through its owner's HTTP routes.
struct Remote {
    file: Sqlite,
    owner: tokio::sync::Mutex<Option<Bus>>,
}

impl Remote {
    async fn client(&self, owner: Bus) -> Bus {
        let token = bus::Token::new("secret");
        let address = serve(&self.file.tasks, owner.router(token.clone())).await;
        *self.owner.lock().await = Some(owner);
        let options = bus::Options::default().token(token);
        Bus::open(&format!("leeward://{address}"), options, &self.file.tasks).await.unwrap()
    }
}

impl Subject for Remote {
    fn features(&self) -> Features {
        Features { durable: true }
    }

    async fn open(&self, options: bus::Options) -> Bus {
        let owner = self.file.open(options).await;
        self.client(owner).await
    }

    async fn reopen(&self, _: Bus, options: bus::Options) -> Bus {
        let owner = self.owner.lock().await.take().unwrap();
        let owner = self.file.reopen(owner, options).await;
        self.client(owner).await
    }
}

#[tokio::test]
async fn memory_conforms() {
    conformance::run(&Memory(Tasks::new())).await;
}

#[tokio::test]
async fn sqlite_conforms() {
    conformance::run(&Sqlite::new()).await;
}

#[tokio::test]
async fn leeward_conforms() {
    conformance::run(&Remote { file: Sqlite::new(), owner: tokio::sync::Mutex::new(None) }).await;
}
