//! `leeward demo`: the whole shop in one process.

use std::net::SocketAddr;
use std::path::Path;

use futures_util::future::try_join_all;
use indicatif::{ProgressBar, ProgressStyle};
use leeward_gateway::config::Limits;
use leeward_gateway::reload::{BoxError, Source};
use leeward_gateway::{Config, Gateway};
use leeward_resilience::{Clock, TokioClock};
use leeward_runtime::units::show_duration;
use leeward_runtime::{DataDir, Env, Tasks};
use leeward_telemetry::Registry;
use shop_app::{GATEWAY, Host, HostOptions, PROVIDER, Parts, SERVICES};

use crate::cli::Demo;
use crate::process::{DRAIN_MAX, Edge};
use crate::{Error, fresh, process, session};

/// The gateway's configuration of the shop.
const CONFIG: &str = include_str!("../../../leeward.yaml");

/// Starts everything and runs until it is stopped.
pub(crate) fn run(demo: &Demo, parts: Parts) -> Result<(), Error> {
    let _logs = process::log(&demo.logs)?;
    let data = DataDir::open(&demo.data)?;
    let _lock = data.lock("demo")?;
    if demo.fresh {
        fresh::clear(data.path())?;
    }
    process::runtime()?.block_on(serve(demo, parts))
}

async fn serve(demo: &Demo, parts: Parts) -> Result<(), Error> {
    let (clock, env) = (TokioClock, Env::process());
    let from = clock.now();
    // The gateway has tasks of its own, so that it can stop before what it calls.
    let (tasks, edge) = (Tasks::new(), Tasks::new());
    process::export_spans(&env, &tasks)?;
    let source = source(demo, &env);
    let config: Config = match &source {
        Some(source) => source.read().map_err(|error| -> Error { error })?,
        None => config(demo, &env).map_err(|error| -> Error { error })?,
    };

    let mut options = HostOptions::new(&demo.data, tasks.clone());
    options.at = demo.at.iter().map(|at| shop_app::parse_at(at)).collect::<Result<_, _>>()?;
    options.allow_faults = true;
    options.parts = parts;
    let host = Host::open(options).await?;
    start_services(&host).await?;
    let registry = Registry::new();
    host.bus().measure(&registry);
    let mut builder = Gateway::builder(config)
        .registry(registry)
        .directory(host.directory().clone())
        .bus(host.bus().clone())
        .identity(host.kit(GATEWAY).await?.identity)
        .admin_routes(host.bus_router());
    let reloads = source.is_some();
    if let Some(source) = source {
        builder = builder.source(source);
    }
    let gateway = builder.start(&edge).await?;
    if reloads {
        process::reload_on_hangup(&gateway, &tasks)?;
    }
    // A service that is elsewhere may start later; one that is here is ready now.
    let is_whole = demo.at.is_empty();
    while is_whole && !gateway.is_ready() {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }

    let took = clock.now().saturating_duration_since(from);
    announce(&host, &gateway, &demo.data, took);
    process::until_stopped(tasks, Some(Edge { tasks: edge, gateway, upgrades: None })).await
}

/// The configuration file given, now and whenever it is read again. The shop's own is a part of the program.
fn source(demo: &Demo, env: &Env) -> Option<Source> {
    let path = demo.config.clone()?;
    let (demo, env) = (demo.clone(), env.clone());
    Some(Source::new(path, move || config(&demo, &env)))
}

/// The configuration file given, or the shop's own, with what the command line says in its place.
fn config(demo: &Demo, env: &Env) -> Result<Config, BoxError> {
    let mut config = match &demo.config {
        Some(path) => Config::load(path, env)?,
        None => Config::parse("leeward.yaml", CONFIG, env)?,
    };
    if let (Some(port), Some(first)) = (demo.port, config.listen.first_mut()) {
        first.address.set_port(port);
    }
    if let Some(port) = demo.admin_port {
        config.admin.listen.set_port(port);
    }
    if let Some(revocation) = &mut config.revocation {
        revocation.database = format!("sqlite:{}", demo.data.join("gateway.db").display());
    }
    if let Some(shortened) = shorten_drain(&mut config.limits) {
        eprintln!("leeward: {shortened}");
    }
    Ok(config)
}

/// Keeps the promise to be down within five seconds, and says so where the configuration asks for more.
fn shorten_drain(limits: &mut Limits) -> Option<String> {
    if limits.drain <= DRAIN_MAX {
        return None;
    }
    let asked = std::mem::replace(&mut limits.drain, DRAIN_MAX);
    let (asked, kept) = (show_duration(asked), show_duration(DRAIN_MAX));
    Some(format!("limits.drain is {asked}, but the demo is down within 5 s and drains for {kept} only"))
}

async fn start_services(host: &Host) -> Result<(), Error> {
    let here: Vec<&str> =
        [PROVIDER].into_iter().chain(SERVICES).filter(|name| !host.is_elsewhere(name)).collect();
    let progress = ProgressBar::new(here.len() as u64)
        .with_style(ProgressStyle::with_template("{spinner} starting {pos}/{len} {msg}")?);
    try_join_all(here.into_iter().map(async |name| {
        let started = host.start(name, SocketAddr::from(([127, 0, 0, 1], 0))).await;
        progress.set_message(name.to_owned());
        progress.inc(1);
        started
    }))
    .await?;
    progress.finish_and_clear();
    Ok(())
}

fn announce(host: &Host, gateway: &Gateway, data: &Path, took: std::time::Duration) {
    let api = format!("http://{}/api/v1", gateway.addr());
    println!("The shop is open after {} ms. Everything runs in this process.\n", took.as_millis());
    println!("  gateway        http://{}", gateway.addr());
    println!("  admin          http://{}", gateway.admin_addr());
    for upstream in host.directory().services() {
        if let Some(status) = upstream.endpoints().first().filter(|_| &**upstream.name() != GATEWAY) {
            println!("  {:<14} http://{}", upstream.name(), status.endpoint.authority());
        }
    }
    println!("  data           {}", data.display());
    println!("\nA first order, to paste into another terminal:\n\n{}", session::text(&api));
    println!("Ctrl-C stops it; the data stays for the next start.\n");
    println!("ready");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn read(args: &[&str], file: &str, env: &Env) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.yaml");
        std::fs::write(&path, file).unwrap();
        let path = path.display().to_string();
        let args = ["leeward", "demo", "--config", &path].into_iter().chain(args.iter().copied());
        let Some(Command::Demo(demo)) = Cli::try_parse_from(args).unwrap().command else { unreachable!() };
        config(&demo, env).unwrap()
    }

    const FILE: &str = "listen: 127.0.0.1:7001\nadmin: {listen: \"127.0.0.1:7002\"}\nroutes: [{path: /, service: \"http://a:1\"}]";

    #[test]
    fn a_port_is_the_configurations_unless_a_flag_gives_another() {
        let ports = |config: Config| (config.listen[0].address.port(), config.admin.listen.port());
        let (none, set) = (Env::default(), Env::from_pairs([("LEEWARD_LISTEN", "127.0.0.1:7003")]));
        assert_eq!(ports(read(&[], FILE, &none)), (7001, 7002));
        assert_eq!(ports(read(&[], FILE, &set)), (7003, 7002));
        assert_eq!(ports(read(&["--port", "0", "--admin-port", "7004"], FILE, &set)), (0, 7004));
    }

    #[test]
    fn a_drain_that_the_promise_has_no_room_for_is_cut_aloud() {
        let mut limits = Limits { drain: Duration::from_secs(30), ..Limits::default() };
        let said = shorten_drain(&mut limits).unwrap();
        assert!(said.contains("30s") && said.contains("3s only"), "{said}");
        assert_eq!(limits.drain, DRAIN_MAX);
        assert_eq!(shorten_drain(&mut limits), None);
        let mut own = Config::parse("leeward.yaml", CONFIG, &Env::default()).unwrap().limits;
        assert_eq!(shorten_drain(&mut own), None, "the shop's own configuration keeps the promise");
    }
}
