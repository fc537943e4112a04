//! `leeward demo`: the whole shop in one process.

use std::net::SocketAddr;
use std::path::Path;

use futures_util::future::try_join_all;
use indicatif::{ProgressBar, ProgressStyle};
use leeward_gateway::{Config, Gateway};
use leeward_resilience::{Clock, TokioClock};
use leeward_runtime::{DataDir, Env, Tasks};
use shop_app::{GATEWAY, Host, HostOptions, PROVIDER, Parts, SERVICES};

use crate::cli::Demo;
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
    let config = config(demo, &env)?;

    let mut options = HostOptions::new(&demo.data, tasks.clone());
    options.at = demo.at.iter().map(|at| shop_app::parse_at(at)).collect::<Result<_, _>>()?;
    options.allow_faults = true;
    options.parts = parts;
    let host = Host::open(options).await?;
    start_services(&host).await?;
    let gateway = Gateway::builder(config)
        .directory(host.directory().clone())
        .bus(host.bus().clone())
        .identity(host.kit(GATEWAY).await?.identity)
        .admin_routes(host.bus_router())
        .start(&edge)
        .await?;
    // A service that is elsewhere may start later; one that is here is ready now.
    let is_whole = demo.at.is_empty();
    while is_whole && !gateway.is_ready() {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }

    let took = clock.now().saturating_duration_since(from);
    announce(&host, &gateway, &demo.data, took);
    process::until_stopped(tasks, Some(edge)).await
}

/// The configuration file given, or the shop's own, on the ports of the command line.
fn config(demo: &Demo, env: &Env) -> Result<Config, Error> {
    let mut config = match &demo.config {
        Some(path) => Config::load(path, env)?,
        None => Config::parse("leeward.yaml", CONFIG, env)?,
    };
    config.listen = SocketAddr::new(config.listen.ip(), demo.port);
    config.admin.listen = SocketAddr::new(config.admin.listen.ip(), demo.admin_port);
    if let Some(revocation) = &mut config.revocation {
        revocation.database = format!("sqlite:{}", demo.data.join("gateway.db").display());
    }
    Ok(config)
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
