//! A service on a host of its own finds the others, also where operators need a token.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leeward_discovery::{Directory, Endpoint};
use leeward_gateway::{Config, Gateway};
use leeward_runtime::{Env, Tasks};
use shop_app::{BusAt, GATEWAY, Host, HostOptions};

const CATALOG: &str = "http://127.0.0.1:4001";
/// A host asks every second; what has not come by then never will.
const SOON: Duration = Duration::from_secs(20);

/// A gateway that asks operators for a token, and a host beside it that knows of nobody else.
async fn gateway_and_host(tasks: &Tasks, known: Directory, folder: &Path) -> (Gateway, Host) {
    let env = Env::from_pairs([("ADMIN_TOKEN", "open-sesame")]);
    let text = "listen: 127.0.0.1:0\nadmin: {listen: \"127.0.0.1:0\", token: \"env:ADMIN_TOKEN\"}\n\
                services: {inventory: {}, catalog: {}}\nroutes: [{path: /, service: catalog}]";
    let config = Config::parse("leeward.yaml", text, &env).unwrap();
    known.set("catalog", [Endpoint::parse(CATALOG).unwrap()]);
    let gateway = Gateway::builder(config).directory(known).start(tasks).await.unwrap();
    let mut options = HostOptions::new(folder, tasks.clone());
    options.bus = BusAt::Of { url: "memory:".to_owned(), token: Some("of this test".to_owned()) };
    options.at = vec![(GATEWAY.to_owned(), Endpoint::from(gateway.admin_addr()))];
    options.follow = true;
    (gateway, Host::open(options).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_finds_the_others_without_the_operators_token() {
    let (folder, tasks, known) = (tempfile::tempdir().unwrap(), Tasks::new(), Directory::new());
    let (_gateway, host) = gateway_and_host(&tasks, known.clone(), folder.path()).await;
    let inventory = host.start("inventory", ([127, 0, 0, 1], 0).into()).await.unwrap();
    // From here on the gateway knows whose key to ask for.
    known.set("inventory", [Endpoint::from(inventory)]);
    let mut changes = host.directory().watch();
    let found = async {
        while host.directory().service("catalog").is_none_or(|one| one.endpoints().is_empty()) {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(SOON, found).await.expect("it is refused for ever");
    let catalog = host.directory().service("catalog").unwrap();
    assert_eq!(catalog.endpoints()[0].endpoint, Endpoint::parse(CATALOG).unwrap());
    tasks.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_refused_says_what_to_do() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(log.clone());
    tracing::subscriber::set_global_default(subscriber.with_ansi(false).finish()).unwrap();
    let (folder, tasks) = (tempfile::tempdir().unwrap(), Tasks::new());
    let (_gateway, host) = gateway_and_host(&tasks, Directory::new(), folder.path()).await;
    let _inventory = host.start("inventory", ([127, 0, 0, 1], 0).into()).await.unwrap();
    let said = async {
        while !log.text().contains("does not say who is where") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, said).await.expect("nobody hears of it");
    let text = log.text();
    let line = text.lines().find(|line| line.contains("does not say who is where")).unwrap();
    assert!(line.contains("WARN") && line.contains("401") && line.contains("--at NAME=URL"), "{line}");
    tasks.shutdown(Duration::from_secs(5)).await;
}

/// What was logged.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
