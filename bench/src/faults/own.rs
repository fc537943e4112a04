//! More than the gateway itself can do: each request brings a token that it has never seen, or a connection that it has to shake hands on.
//!
//! The gateway has one core for itself, load and service have the other. Its capacity is found first, by clients of which each asks again
//! once it is answered; then so many times that comes in an open loop. What was offered is what was begun, by the clients' clock: a run that offers less
//! than it says proves nothing, and fails.

mod handshakes;
mod tokens;

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use self::tokens::Tokens;
use super::load::{Client, Clients, Fate, Seen};
use super::upstream::{Mode, Shape};
use super::verdict::{Check, Row};
use super::world::{Gateway, Upstream};
use crate::gateway::process::{Unpinned, pin};
use crate::http::Http;
use crate::metrics::sum;

const S: Duration = Duration::from_secs(1);

/// A client leaves after a second and does not come back.
const CLIENT: Client = Client { patience: S, retries: 0 };

/// Clients that find out the capacity: enough to keep a core at work, too few for a queue that counts as one.
const CLIENTS: usize = 48;
/// How long it is looked for, and what of that counts.
const FIND: Duration = Duration::from_secs(6);
const FOUND_IN: Duration = Duration::from_secs(4);
/// How long the gateway has to find out that it is too much, and how long is looked at then.
const SETTLE: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(6);
/// How much more is asked for than what must be offered: arrivals are random, and the driver has other things to do.
const MARGIN: f64 = 1.02;
/// How often the health is asked meanwhile.
const ASK_HEALTH_EVERY: Duration = Duration::from_millis(20);

/// What to overload it with.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Of own-*: how many times the gateway's own capacity is offered.
    #[arg(long, default_value_t = 3.0)]
    own_load: f64,
    /// Of own-*: what the gateway's configuration says beside the rest, as `shed: off`.
    #[arg(long, default_value = "")]
    own_config: String,
    /// Of own-tokens: how many tokens there are.
    #[arg(long, default_value_t = 80_000)]
    own_tokens: usize,
    /// Of own-*: bits of the RSA keys of tokens and of the certificate.
    #[arg(long, default_value_t = 2_048)]
    own_bits: u32,
    /// The gateway's core.
    #[arg(long, default_value_t = 0)]
    own_core: usize,
    /// The core of load and service.
    #[arg(long, default_value_t = 1)]
    own_driver_core: usize,
}

/// What costs the gateway so much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Case {
    /// A token with each request.
    Tokens,
    /// A connection over TLS for each request.
    Handshakes,
}

impl Case {
    pub(super) const ALL: [Self; 2] = [Self::Tokens, Self::Handshakes];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tokens => "own-tokens",
            Self::Handshakes => "own-handshakes",
        }
    }
}

/// Clients and what they say.
struct World {
    gateway: Gateway,
    clients: Clients,
    /// One after the other, and then from the beginning.
    messages: Vec<Rc<[u8]>>,
    next: Cell<usize>,
    _upstream: Upstream,
}

impl World {
    async fn new(binary: &Path, case: Case, arguments: &Arguments) -> Result<Self, String> {
        // Made before anything has a core of its own.
        let tokens = match case {
            Case::Tokens => Some(Tokens::new(arguments.own_tokens, arguments.own_bits)?),
            Case::Handshakes => None,
        };
        let own = match case {
            Case::Tokens => None,
            Case::Handshakes => Some(handshakes::Own::new(arguments.own_bits)?),
        };
        pin(arguments.own_driver_core)?;
        let at_once = Shape { workers: 10_000, service: Duration::ZERO, backlog: 10_000, mode: Mode::Works };
        let upstream = Upstream::start(at_once).await?;
        let more = &arguments.own_config;
        let access = if tokens.is_some() { ", access: user" } else { "" };
        let rest = format!(
            "cores: 1\n{more}\nservices:\n  one: {{urls: [\"http://{}\"]}}\nroutes:\n  - {{path: /, service: one{access}}}\n",
            upstream.address
        );
        let jwt = tokens.as_ref().map(Tokens::config).unwrap_or_default();
        let tls = own.as_ref().map(handshakes::Own::config).unwrap_or_default();
        let config = |address| format!("listen: [{{address: \"{address}\"{tls}}}]\n{jwt}{rest}");
        pin(arguments.own_core)?;
        let gateway = Gateway::start_at(binary, config).await;
        pin(arguments.own_driver_core)?;
        let gateway = gateway?;
        let messages = match &tokens {
            Some(tokens) => tokens.messages(gateway.address),
            None => vec![super::overload::get(&gateway)],
        };
        let clients = match &own {
            Some(own) => Clients::encrypted(gateway.address, CLIENT, own.connector()?),
            None => Clients::new(gateway.address, CLIENT),
        };
        Ok(Self { gateway, clients, messages, next: Cell::new(0), _upstream: upstream })
    }

    fn message(&self) -> Rc<[u8]> {
        let at = self.next.get();
        self.next.set((at + 1) % self.messages.len());
        Rc::clone(&self.messages[at])
    }

    /// Good answers a second when nobody asks more than the gateway answers, and how much of a core it had for them.
    async fn capacity(&self) -> Result<(f64, f64), String> {
        let (began, before) = (self.clients.now(), self.gateway.cpu()?);
        self.clients.closed(CLIENTS, FIND, || self.message()).await;
        let share = self.gateway.cpu()?.since(before).server.div_duration_f64(FIND);
        let (from, until) = (began + FIND - FOUND_IN, began + FIND);
        let ended = Seen::ended(&self.clients.take(), from, until);
        let bad = 1.0 - ended.share(Fate::Good);
        if bad > 0.001 {
            return Err(format!("{bad:.4} of what should show the capacity failed"));
        }
        #[allow(clippy::cast_precision_loss, reason = "some ten thousands")]
        Ok((ended.len() as f64 / FOUND_IN.as_secs_f64(), share))
    }
}

pub(super) async fn run(binary: &Path, case: Case, arguments: &Arguments) -> Result<Row, String> {
    let _anywhere_again = Unpinned::after()?;
    let world = World::new(binary, case, arguments).await?;
    let World { gateway, clients, .. } = &world;
    let (capacity, had) = world.capacity().await?;
    let began = clients.now();
    let public = Health::new(gateway.address, case == Case::Tokens)?;
    let admin = Health::new(gateway.admin, true)?;
    let rate = arguments.own_load * MARGIN * capacity;
    let load = clients.load(rate, SETTLE + WINDOW, |_| world.message());
    let used = async {
        tokio::time::sleep(SETTLE).await;
        let before = gateway.cpu()?;
        tokio::time::sleep(WINDOW).await;
        Ok::<_, String>(gateway.cpu()?.since(before))
    };
    let time = SETTLE + WINDOW;
    let (loaded, public, admin, used) = tokio::join!(load, public.ask(time), admin.ask(time), used);
    loaded?;
    let used = used?;
    let metrics = Http::new(gateway.admin)?.get("/metrics").await?.text();
    let memory = gateway.memory()?;
    let requests = clients.take();
    let (from, until) = (began + SETTLE, began + SETTLE + WINDOW);
    let (sent, ended) = (Seen::sent(&requests, from, until), Seen::ended(&requests, from, until));
    #[allow(clippy::cast_precision_loss, reason = "some hundred thousands, and KiB")]
    let a_second = |count: usize| count as f64 / WINDOW.as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "some hundred thousand KiB")]
    let peak_mib = memory.peak_kib as f64 / 1024.0;
    let (offered, good) = (a_second(sent.len()), a_second(ended.count(Fate::Good)));
    println!(
        "{}: capacity {capacity:.0}/s, offered {offered:.0}/s, good {good:.0}/s, refused {:.0}/s; of a core the gateway used {had:.2} before and {:.2} now, \
         the driver {:.2}; the gateway says that it refused {} requests and {} connections",
        case.name(),
        a_second(ended.count(Fate::Refused)),
        used.server.div_duration_f64(WINDOW),
        used.driver.div_duration_f64(WINDOW),
        sum(&metrics, &["leeward_gateway_shed_requests_total"]),
        sum(&metrics, &["leeward_gateway_shed_connections_total"]),
    );
    let mut checks = vec![
        Check::at_least("goodput", good / capacity, 0.7),
        // Else it is not the overload that it says.
        Check::at_least("offered", offered / capacity, arguments.own_load),
        Check::at_most("accepted_p99_ms", ended.p99_ms(Fate::Good), 500.0),
        Check::at_most("failed", ended.share(Fate::Failed), 0.001),
        Check::at_most("late", ended.share(Fate::Late), 0.01),
        Check::at_most("peak_mib", peak_mib, 200.0),
        Check::at_most("admin_health_p99_ms", admin.p99_ms, 500.0),
        Check::at_most("admin_health_failed", admin.failed, 0.0),
    ];
    if case == Case::Tokens {
        checks.push(Check::at_most("health_p99_ms", public.p99_ms, 500.0));
        checks.push(Check::at_most("health_failed", public.failed, 0.0));
        // What was verified since a token was there last: more than are remembered, or some were not new.
        #[allow(clippy::cast_precision_loss, reason = "some ten thousands")]
        let turn = ended.share(Fate::Good) * world.messages.len() as f64;
        checks.push(Check::at_least("verified_between", turn, tokens::REMEMBERED));
    }
    Ok(Row::new(case.name(), checks))
}

/// Somebody who asks how the gateway is.
struct Health {
    http: Option<Http>,
}

/// What they heard.
struct Heard {
    p99_ms: f64,
    failed: f64,
}

impl Health {
    fn new(address: std::net::SocketAddr, asks: bool) -> Result<Self, String> {
        Ok(Self { http: if asks { Some(Http::new(address)?) } else { None } })
    }

    /// Asks again and again for `time`.
    async fn ask(self, time: Duration) -> Heard {
        let Some(http) = self.http else { return Heard { p99_ms: 0.0, failed: 0.0 } };
        let (until, mut times, mut failed) = (Instant::now() + time, Vec::new(), 0.0);
        while Instant::now() < until {
            let asked = Instant::now();
            match tokio::time::timeout(S, http.get("/health/ready")).await {
                Ok(Ok(answer)) if answer.status == 200 => times.push(asked.elapsed()),
                _ => failed += 1.0,
            }
            tokio::time::sleep(ASK_HEALTH_EVERY).await;
        }
        times.sort_unstable();
        let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or(S);
        Heard { p99_ms: p99.as_secs_f64() * 1e3, failed }
    }
}
