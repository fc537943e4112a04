//! The process under test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::http::Http;
use crate::process::{self, Memory};

/// The public API.
pub(super) const API: &str = "/api/v1";

/// The services, each of which must be ready.
pub(super) const SERVICES: [&str; 7] =
    ["users", "catalog", "inventory", "orders", "payments", "shipping", "notifications"];

/// A shop that takes longer than this to start never will.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The demo promises 5 s.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How often a start is asked whether it is done: small beside what is measured.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// Products of a page of the catalog.
const PAGE: usize = 100;

/// A running shop.
#[derive(Debug)]
pub(super) struct Shop {
    child: Child,
    data: PathBuf,
    gateway: Http,
    admin: Http,
    /// The servers of the process by name, the services among them.
    servers: BTreeMap<String, Http>,
    /// When it was started.
    pub(super) from: Instant,
    /// From there to the moment at which all of it was ready.
    pub(super) ready: Duration,
}

impl Shop {
    /// Starts `binary` on the empty folder `data` and waits until it says that it is ready and every service does.
    pub(super) async fn start(binary: &Path, data: &Path, config: Option<&Path>) -> Result<Self, String> {
        let mut command = Command::new(binary);
        command.args(["demo", "--port", "0", "--admin-port", "0", "--data"]).arg(data);
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let from = Instant::now();
        let child = command.spawn().map_err(|error| {
            format!("{}: {error}; build it with `cargo build --release -p leeward`", binary.display())
        })?;
        let mut child = Guard(Some(child));
        let said = said(child.get(), from).await?;
        let server = |name: &str| {
            let address = said.get(name).and_then(|url| url.strip_prefix("http://")).unwrap_or_default();
            let address: SocketAddr =
                address.parse().map_err(|_| format!("the shop does not say where {name} is"))?;
            Http::new(address)
        };
        let (gateway, admin) = (server("gateway")?, server("admin")?);
        let names =
            said.iter().filter(|(_, value)| value.starts_with("http://")).map(|(name, _)| name.as_str());
        let others = names.filter(|name| !matches!(*name, "gateway" | "admin"));
        let servers =
            others.map(|name| Ok((name.to_owned(), server(name)?))).collect::<Result<_, String>>()?;
        let child = child.0.take().ok_or("the shop is gone")?;
        let mut shop =
            Self { child, data: data.to_owned(), gateway, admin, servers, from, ready: Duration::ZERO };
        shop.wait_until_ready().await?;
        shop.ready = from.elapsed();
        Ok(shop)
    }

    /// The line `ready` is the process's word; this is each service's.
    async fn wait_until_ready(&self) -> Result<(), String> {
        let services =
            SERVICES.iter().map(|name| self.servers.get(*name).ok_or(format!("there is no {name}")));
        let services = services.collect::<Result<Vec<_>, _>>()?;
        for (server, path) in services
            .into_iter()
            .map(|server| (server, "/health/ready"))
            .chain([(&self.gateway, "/health/ready")])
        {
            while server.get(path).await?.status != 200 {
                if self.from.elapsed() > READY_WITHIN {
                    return Err("the shop is not ready".to_owned());
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
        }
        let health = self.gateway.get("/health").await?;
        if health.status == 200 { Ok(()) } else { Err(format!("/health: {}", health.text())) }
    }

    pub(super) fn gateway(&self) -> &Http {
        &self.gateway
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn memory(&self) -> Result<Memory, String> {
        process::memory(self.pid())
    }

    /// Every server of the process that may have metrics: the gateway's admin side, and all behind it.
    pub(super) fn servers(&self) -> impl Iterator<Item = (&str, &Http)> {
        let behind = self.servers.iter().map(|(name, server)| (name.as_str(), server));
        [("gateway", &self.admin)].into_iter().chain(behind)
    }

    /// The ids of all products.
    pub(super) async fn products(&self) -> Result<Vec<String>, String> {
        let (mut ids, mut path) = (Vec::new(), format!("{API}/products?limit={PAGE}"));
        loop {
            let page = self.gateway.get(&path).await?.json(200)?;
            let items = page["items"].as_array().map_or(&[][..], Vec::as_slice);
            ids.extend(items.iter().filter_map(|item| item["product_id"].as_str()).map(str::to_owned));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("{API}/products?limit={PAGE}&after={next}");
        }
        if ids.len() < 2 { Err(format!("the catalog has {} products", ids.len())) } else { Ok(ids) }
    }

    /// What each service reads back of its database's settings.
    pub(super) async fn settings(&self) -> Result<Value, String> {
        self.admin.get("/v1/all/_leeward/config").await?.json(200)
    }

    /// How far every service's groups are behind, and what waits in its outbox. It stands still when all is done: the
    /// counts include events that a group does not take, so they need not be zero.
    pub(super) async fn lag(&self) -> Result<Value, String> {
        self.admin.get("/v1/all/_leeward/events/lag").await?.json(200)
    }

    /// Whether an outbox still holds something, by an answer of [`lag`](Self::lag).
    pub(super) fn is_relayed(lag: &Value) -> bool {
        SERVICES.iter().all(|name| lag[*name]["body"]["outbox_pending_bytes"] == 0)
    }

    /// SIGTERM, and the end.
    pub(super) fn stop(mut self) -> Result<(), String> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(|error| error.to_string())?;
        let from = Instant::now();
        while from.elapsed() < STOP_WITHIN {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return if status.success() { Ok(()) } else { Err(format!("the shop ended with {status}")) };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("the shop did not end within {STOP_WITHIN:?}"))
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A child that dies with the attempt to start it.
struct Guard(Option<Child>);

impl Guard {
    fn get(&mut self) -> Option<&mut Child> {
        self.0.as_mut()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

fn end(child: &mut Child) {
    let _gone_already = child.kill();
    let _status = child.wait();
}

/// What the process prints before its line `ready`: `  name  value`.
async fn said(child: Option<&mut Child>, from: Instant) -> Result<BTreeMap<String, String>, String> {
    let out = child.and_then(|child| child.stdout.take()).ok_or("the shop has no output")?;
    let (sender, mut lines) = mpsc::channel(64);
    // The thread reads on until the end, so that the process never waits for us.
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _nobody_waits = sender.try_send(line);
        }
    });
    let mut said = BTreeMap::new();
    loop {
        let left = READY_WITHIN.saturating_sub(from.elapsed());
        let line =
            tokio::time::timeout(left, lines.recv()).await.map_err(|_| "the shop is not ready in time")?;
        let line = line.ok_or("the shop ended before it was ready")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["ready"] => return Ok(said),
            [name, value] if line.starts_with("  ") => drop(said.insert(name.to_owned(), value.to_owned())),
            _ => {}
        }
    }
}
