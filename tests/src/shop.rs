//! The shop as processes: one for everything, or one for each service.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::Method;
use leeward_events::{Bus, bus};
use leeward_runtime::Tasks;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Answer, Http};
use crate::ports::Port;
use crate::process::{self, Process};

/// The services of the shop.
pub use shop_app::SERVICES;

/// The process that holds gateway and bus, and every service that is not elsewhere.
pub const GATEWAY: &str = "gateway";
/// The outside payment provider. It is always a process of its own, so that its ledger is outside what is tested.
pub const PROVIDER: &str = "provider";

/// Everything answers by then, or it never will.
const OPEN_WITHIN: Duration = Duration::from_secs(60);
/// How long a stop may take, from the signal to the end of the process.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How often something that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// How the shop is cut into processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One process holds all, the payment provider apart.
    One,
    /// Gateway and bus in one process, each service in its own.
    Seven,
}

/// What a shop is started with.
#[derive(Clone, Debug)]
pub struct Options {
    topology: Topology,
    program: PathBuf,
    env: Vec<(String, String)>,
}

impl Options {
    /// The shipped binary.
    #[must_use]
    pub fn new(topology: Topology) -> Self {
        // Whatever the person at the terminal has set must not reach the processes under test.
        let quiet = [("LEEWARD_LOG", "warn"), ("LEEWARD_LOG_FORMAT", "human"), ("OTEL_SDK_DISABLED", "true")];
        let env = quiet.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Self { topology, program: process::leeward().to_owned(), env }
    }

    /// Another composition of the shop.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// The same with an environment key; the last value counts.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts it on an empty folder, and waits until all of it is open.
    pub async fn open(self) -> Shop {
        let mut shop = Shop::closed(self);
        shop.start_process(PROVIDER);
        shop.start_process(GATEWAY);
        let elsewhere: Vec<&'static str> = shop.elsewhere.iter().copied().collect();
        shop.start_processes(&elsewhere);
        shop.wait_until_open().await;
        shop
    }
}

/// A running shop. Its data lives as long as it does.
#[derive(Debug)]
pub struct Shop {
    data: TempDir,
    options: Options,
    ports: BTreeMap<&'static str, Port>,
    elsewhere: BTreeSet<&'static str>,
    processes: BTreeMap<&'static str, Process>,
}

impl Shop {
    /// The shipped binary on an empty folder, open for customers.
    pub async fn open(topology: Topology) -> Self {
        Options::new(topology).open().await
    }

    fn closed(options: Options) -> Self {
        let names = [GATEWAY, "admin", PROVIDER].into_iter().chain(SERVICES);
        let elsewhere = if options.topology == Topology::Seven { &SERVICES[..] } else { &[] };
        Self {
            data: tempfile::Builder::new().prefix("leeward-test").tempdir().unwrap(),
            ports: names.map(|name| (name, Port::any())).collect(),
            elsewhere: elsewhere.iter().copied().collect(),
            options,
            processes: BTreeMap::new(),
        }
    }

    /// Which topology this is.
    #[must_use]
    pub fn topology(&self) -> Topology {
        self.options.topology
    }

    /// The processes that may be killed: every one but the outside provider.
    #[must_use]
    pub fn killable(&self) -> Vec<&'static str> {
        self.processes.keys().copied().filter(|name| *name != PROVIDER).collect()
    }

    /// Starts the process `name`, on its own ports and data.
    pub fn start_process(&mut self, name: &'static str) {
        self.start_processes(&[name]);
    }

    /// Starts processes side by side.
    fn start_processes(&mut self, names: &[&'static str]) {
        let started: Vec<(&'static str, Result<Process, String>)> = std::thread::scope(|scope| {
            let shop = &*self;
            let start = |name| {
                move || {
                    (name, Process::start(&shop.options.program, &shop.arguments(name), &shop.options.env))
                }
            };
            let handles: Vec<_> = names.iter().map(|name| scope.spawn(start(*name))).collect();
            handles.into_iter().map(|handle| handle.join().unwrap()).collect()
        });
        for (name, process) in started {
            self.processes.insert(name, process.unwrap_or_else(|error| panic!("{name}: {error}")));
        }
    }

    /// The command line of the process `name`.
    #[must_use]
    pub fn arguments(&self, name: &str) -> Vec<String> {
        let data = self.data.path().display().to_string();
        let port = |name: &str| self.ports[name].number().to_string();
        let mut args: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| args.extend(words.iter().map(|word| (*word).to_owned()));
        if name == GATEWAY {
            add(&["demo", "--data", &data, "--port", &port(GATEWAY), "--admin-port", &port("admin")]);
            for other in self.elsewhere.iter().chain(&[PROVIDER]) {
                add(&["--at", &format!("{other}={}", self.ports[other].url())]);
            }
        } else {
            let listen = format!("127.0.0.1:{}", port(name));
            let bus = format!("leeward://127.0.0.1:{}", port("admin"));
            add(&["shop", name, "--data", &data, "--listen", &listen, "--allow-faults"]);
            add(&["--bus", &bus, "--admin", &self.ports["admin"].url()]);
        }
        args
    }

    /// Waits until the gateway tells users apart and sees every service. One whose circuit breaker still probes will do: it
    /// closes by what is asked of the service next.
    pub async fn wait_until_open(&self) {
        let admin = self.admin();
        let seen = poll(OPEN_WITHIN, async || {
            let ready = admin.send(Method::GET, "/health/ready", &[], None).await;
            let health = admin.send(Method::GET, "/v1/health", &[], None).await;
            let (Ok(ready), Ok(health)) = (ready, health) else { return Err("no answer".to_owned()) };
            let health = health.json();
            let services =
                health["services"].as_object().map(|all| all.values().all(|one| one["status"] != "down"));
            if ready.status == 200 && services == Some(true) { Ok(()) } else { Err(health.to_string()) }
        });
        seen.await.unwrap_or_else(|last| panic!("the shop does not open: {last}"));
    }

    /// The process `name`.
    pub fn process(&mut self, name: &str) -> &mut Process {
        self.processes.get_mut(name).unwrap_or_else(|| panic!("no process {name}"))
    }

    /// Whether the process `name` is there.
    #[must_use]
    pub fn runs_alone(&self, name: &str) -> bool {
        self.processes.contains_key(name)
    }

    /// All lines that all processes printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.processes.values().map(Process::log).collect::<Vec<_>>().join("\n")
    }

    /// Kills the process `name`, if it lives.
    pub fn kill(&mut self, name: &str) {
        if let Some(mut process) = self.processes.remove(name) {
            process.kill();
        }
    }

    /// Stops the process `name` as Ctrl-C does; gives what it said. Panics unless it ends well and in time.
    pub fn stop(&mut self, name: &str) -> String {
        let mut process = self.processes.remove(name).unwrap_or_else(|| panic!("no process {name}"));
        let (code, _took) = process.terminate(STOP_WITHIN);
        assert_eq!(code, Some(0), "{name}: {}", process.log());
        process.log()
    }

    /// Takes a service out of the big process: it goes on in one of its own, on the same data.
    pub fn move_out(&mut self, service: &'static str) {
        self.stop(GATEWAY);
        self.elsewhere.insert(service);
        self.start_process(GATEWAY);
        self.start_process(service);
    }

    /// Takes a service back into the big process.
    pub fn move_back(&mut self, service: &'static str) {
        self.stop(service);
        self.stop(GATEWAY);
        self.elsewhere.remove(service);
        self.start_process(GATEWAY);
    }

    /// Makes a service unreachable: its process is killed, or, where it shares one, it cuts every connection.
    pub async fn take_down(&mut self, service: &'static str) {
        if self.runs_alone(service) {
            self.kill(service);
        } else {
            self.fault(service, &json!({ "inbound": { "refuse_percent": 100 } })).await;
        }
    }

    /// Ends [`take_down`](Self::take_down).
    pub async fn bring_back(&mut self, service: &'static str) {
        if self.elsewhere.contains(service) {
            self.start_process(service);
        } else {
            self.fault(service, &json!({})).await;
        }
    }

    /// Puts faults of a service in force, in place of those that were.
    pub async fn fault(&self, service: &str, faults: &Value) {
        let _set =
            self.admin().put(&format!("/v1/services/{service}/_leeward/faults"), faults).await.expect(200);
    }

    /// Puts faults of the provider in force, in place of those that were.
    pub async fn fault_provider(&self, faults: &Value) {
        let _set = self.provider().put("/faults", faults).await.expect(200);
    }

    /// A client of the public API.
    #[must_use]
    pub fn api(&self) -> Http {
        Http::new(&format!("{}/api/v1", self.ports[GATEWAY].url()))
    }

    /// A client of the gateway without the API's prefix.
    #[must_use]
    pub fn edge(&self) -> Http {
        Http::new(&self.ports[GATEWAY].url())
    }

    /// The gateway's port, for those who speak something that is not quite HTTP.
    #[must_use]
    pub fn edge_port(&self) -> u16 {
        self.ports[GATEWAY].number()
    }

    /// A client of the admin API.
    #[must_use]
    pub fn admin(&self) -> Http {
        Http::new(&self.ports["admin"].url())
    }

    /// A client of the provider's own API.
    #[must_use]
    pub fn provider(&self) -> Http {
        Http::new(&self.ports[PROVIDER].url())
    }

    /// A client of a service, past the gateway.
    pub async fn service(&self, name: &str) -> Http {
        let services = self.admin().get("/v1/services").await.expect(200).json();
        let found = services.as_array().unwrap().iter().find(|service| service["name"] == name);
        let url = found.and_then(|service| service["endpoints"][0]["url"].as_str());
        Http::new(url.unwrap_or_else(|| panic!("{name} is nowhere: {services}")))
    }

    /// The bus, as any process reaches it that may read its token.
    pub async fn bus(&self) -> Bus {
        let token = std::fs::read_to_string(self.data().join("keys").join("bus.token")).unwrap();
        let options = bus::Options::default().token(bus::Token::new(token.trim()));
        let url = format!("leeward://127.0.0.1:{}", self.ports["admin"].number());
        Bus::open(&url, options, &Tasks::new()).await.unwrap()
    }

    /// The folder of the databases.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Runs the binary's command line against this shop's admin API; gives exit code and output.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> (Option<i32>, String) {
        let admin = self.ports["admin"].url();
        let args: Vec<&str> = args.iter().copied().chain(["--admin", &admin]).collect();
        process::run(process::leeward(), &args)
    }

    /// Asks the admin API for `path` of every service.
    ///
    /// # Errors
    /// When it gives no answer.
    pub async fn ask_all(&self, path: &str) -> Result<Value, String> {
        let path = format!("/v1/all/_leeward/{path}");
        let answer: Answer = self.admin().send(Method::GET, &path, &[], None).await?;
        Ok(answer.json())
    }
}

/// Looks until `look` is content, or `within` has passed; then gives what was wrong last.
///
/// # Errors
/// The last complaint.
pub async fn poll<T>(within: Duration, look: impl AsyncFn() -> Result<T, String>) -> Result<T, String> {
    let from = Instant::now();
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(wrong) if from.elapsed() >= within => return Err(wrong),
            Err(_yet) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
