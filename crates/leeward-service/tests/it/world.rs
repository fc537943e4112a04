//! Real services on port 0, with a folder of their own and one directory.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leeward_discovery::{Directory, Endpoint};
use leeward_events::{Bus, bus};
use leeward_runtime::Tasks;
use leeward_service::identity::{ASSERTION_HEADER, Identity};
use leeward_service::{Kit, KitOptions, Minter, Principal, Service, User};
use leeward_telemetry::logs::{Format, LogOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) directory: Directory,
    pub(crate) tasks: Tasks,
    pub(crate) bus: Bus,
}

/// A whole answer as a test looks at it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        let tasks = Tasks::new();
        let bus = Bus::open("memory:", bus::Options::default(), &tasks).await.unwrap();
        Self { folder: tempfile::tempdir().unwrap(), directory: Directory::new(), tasks, bus }
    }

    pub(crate) fn options(&self, name: &str) -> KitOptions {
        let mut options = KitOptions::new(name, self.folder.path(), self.directory.clone(), self.bus.clone());
        options.tasks = self.tasks.clone();
        options.allow_faults = true;
        options
    }

    pub(crate) async fn kit(&self, name: &str) -> Kit {
        Kit::new(self.options(name)).await.unwrap()
    }

    /// Serves and enters it into the directory.
    pub(crate) async fn serve(&self, service: Service) -> SocketAddr {
        let name = service.name().clone();
        let address = service.serve(listener().await).await.unwrap();
        self.directory.set(&name, [Endpoint::from(address)]);
        address
    }

    /// A service that does nothing but publish its keys, to sign as.
    pub(crate) async fn issuer(&self, name: &str) -> Minter {
        let kit = self.kit(name).await;
        let minter = kit.minter().clone();
        self.serve(Service::builder(kit).build().unwrap()).await;
        minter
    }

    pub(crate) async fn stop(&self) {
        let report = self.tasks.shutdown(Duration::from_secs(10)).await;
        assert!(report.is_clean(), "{report}");
    }
}

pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub(crate) fn stranger(name: &str) -> Minter {
    Minter::new(Identity::ephemeral(name).unwrap())
}

pub(crate) fn anna() -> Principal {
    Principal::User(User::new("u-anna"))
}

/// The header line of an assertion.
pub(crate) fn asserts(minter: &Minter, principal: &Principal, audience: &str) -> String {
    use leeward_resilience::Clock;
    let token = minter.mint(principal, audience, leeward_resilience::TokioClock.unix_ms()).unwrap();
    format!("{ASSERTION_HEADER}: {}\r\n", token.to_str().unwrap())
}

pub(crate) async fn get(address: SocketAddr, path: &str, headers: &str) -> Answer {
    send(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n"))
        .await
        .unwrap()
}

pub(crate) async fn post(address: SocketAddr, path: &str, headers: &str, body: &str) -> Option<Answer> {
    let length = body.len();
    send(
        address,
        &format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             {headers}connection: close\r\n\r\n{body}"
        ),
    )
    .await
}

/// One request, byte for byte; `None` when the connection ends without an answer.
pub(crate) async fn send(address: SocketAddr, request: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let _cut_or_not = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// What was logged by the thread of this test, which is that of its services as well.
#[derive(Clone, Default)]
pub(crate) struct Paper(Arc<Mutex<Vec<u8>>>);

/// Has everything from here on logged as JSON, while the guard lives.
pub(crate) fn logs() -> (Paper, tracing::subscriber::DefaultGuard) {
    let (paper, options) = (Paper::default(), LogOptions { format: Format::Json, ..LogOptions::default() });
    let writer = paper.clone();
    let subscriber = leeward_telemetry::logs::subscriber(&options, move || writer.clone()).unwrap();
    (paper, tracing::subscriber::set_default(subscriber))
}

impl Paper {
    /// The one line that contains `needle`.
    pub(crate) fn line_with(&self, needle: &str) -> serde_json::Value {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let mut found = text.lines().filter(|line| line.contains(needle));
        let line = found.next().unwrap_or_else(|| panic!("no line with {needle:?} in {text}"));
        assert!(found.next().is_none(), "more than one line with {needle:?} in {text}");
        serde_json::from_str(line).unwrap()
    }
}

impl std::io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}
