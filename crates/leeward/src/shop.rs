//! `leeward shop NAME`: one service as a process of its own.

use std::net::SocketAddr;

use leeward_discovery::Endpoint;
use leeward_runtime::{DataDir, Env, Tasks};
use shop_app::{BusAt, GATEWAY, Host, HostOptions, Parts};

use crate::cli::Shop;
use crate::{Error, process};

/// Starts the service and runs until it is stopped.
pub(crate) fn run(shop: &Shop, parts: Parts) -> Result<(), Error> {
    let port =
        shop_app::own_port(&shop.name).ok_or_else(|| shop_app::Error::UnknownService(shop.name.clone()))?;
    let _logs = process::log(&shop.logs)?;
    let _data = DataDir::open(&shop.data)?;
    process::runtime()?.block_on(serve(shop, port, parts))
}

async fn serve(shop: &Shop, port: u16, parts: Parts) -> Result<(), Error> {
    let (tasks, env) = (Tasks::new(), Env::process());
    process::export_spans(&env, &tasks)?;
    let mut options = HostOptions::new(&shop.data, tasks.clone());
    options.at = shop.at.iter().map(|at| shop_app::parse_at(at)).collect::<Result<_, _>>()?;
    options.at.push((GATEWAY.into(), Endpoint::parse(&shop.admin)?));
    options.allow_faults = shop.allow_faults;
    options.follow = true;
    options.parts = parts;
    if shop.name == shop_app::PROVIDER {
        // An outside party: it has no bus and knows nobody.
        let (url, token) = ("memory:".to_owned(), Some(String::new()));
        (options.bus, options.follow) = (BusAt::Of { url, token }, false);
    } else {
        let token = env.get("LEEWARD_BUS_TOKEN").map(str::to_owned);
        options.bus = BusAt::Of { url: shop.bus.clone(), token };
    }

    let host = Host::open(options).await?;
    let listen = shop.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)));
    let address = host.start(&shop.name, listen).await?;
    println!("  {:<14} http://{address}\nready", shop.name);
    process::until_stopped(tasks, None).await
}
