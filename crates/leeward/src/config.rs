//! `leeward gateway`, `check` and `explain`: the gateway by its configuration file alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::Uri;
use leeward_discovery::Endpoint;
use leeward_events::{Bus, bus};
use leeward_gateway::reload::{BoxError, Source};
use leeward_gateway::{Config, Gateway};
use leeward_runtime::{DataDir, Env, Tasks};
use leeward_service::Identity;

use crate::cli::{self, ConfigFile};
use crate::process::Edge;
use crate::upgrade::{Before, Inherited, Upgrades};
use crate::{Error, process, upgrade};

/// The folder of the keys when none is given.
const DATA: &str = "leeward-data";

/// Reads the file and says that it is right, or everything that is wrong with it.
pub(crate) fn check(file: &ConfigFile) -> Result<(), Error> {
    let config = Config::load(&file.config, &Env::process())?;
    let services = config.service_names().len();
    let s = if services == 1 { "" } else { "s" };
    println!("{}: {services} service{s}, no mistakes", file.config.display());
    Ok(())
}

/// Prints the configuration with all values in force, or what would become of a request.
pub(crate) fn explain(wanted: &cli::Explain) -> Result<(), Error> {
    const FILE: &str = "leeward.yaml";
    let named = wanted.config.as_deref();
    match &wanted.what[..] {
        [method, target] => {
            let config = Config::load(named.unwrap_or(Path::new(FILE)), &Env::process())?;
            print!("{}", leeward_gateway::explain::explain(&config, method, target, &wanted.headers)?);
        }
        what => {
            if !wanted.headers.is_empty() {
                return Err(
                    "a header belongs to a request: write `leeward explain METHOD URL -H 'NAME: VALUE'`"
                        .into(),
                );
            }
            let given = what.first().map(Path::new);
            if let (Some(given), Some(named)) = (given, named) {
                let (given, named) = (given.display(), named.display());
                return Err(format!(
                    "two files: {given} and --config {named}; or a URL is missing after {given}"
                )
                .into());
            }
            print!(
                "{}",
                Config::load(given.or(named).unwrap_or(Path::new(FILE)), &Env::process())?.to_yaml()
            );
        }
    }
    Ok(())
}

/// Runs the gateway until it is stopped.
pub(crate) fn run(gateway: &cli::Gateway) -> Result<(), Error> {
    let inherited = Inherited::take()?;
    let _logs = process::log(&gateway.logs)?;
    let env = Env::process();
    let source = source(gateway, &env);
    let config: Config = source.read().map_err(|error| -> Error { error })?;
    let data = DataDir::open(gateway.data.as_deref().unwrap_or(Path::new(DATA)))?;
    process::runtime()?.block_on(serve(gateway, source, config, (&data, &env), inherited))
}

/// The file, now and whenever it is read again.
fn source(gateway: &cli::Gateway, env: &Env) -> Source {
    let (path, gateway, env) = (gateway.config.clone(), gateway.clone(), env.clone());
    Source::new(path, move || config(&gateway, &env))
}

/// The file, with what the command line says in its place.
fn config(gateway: &cli::Gateway, env: &Env) -> Result<Config, BoxError> {
    let mut config = Config::load(&gateway.config, env)?;
    if let (Some(data), Some(revocation)) = (&gateway.data, &mut config.revocation) {
        revocation.database = format!("sqlite:{}", data.join("gateway.db").display());
    }
    let known = config.service_names();
    let mut places = BTreeMap::<Arc<str>, Vec<Uri>>::new();
    for at in &gateway.at {
        let (name, url) = at
            .split_once('=')
            .ok_or_else(|| format!("--at {at}: write NAME=URL, as orders=http://127.0.0.1:4004"))?;
        let name = known.iter().find(|known| &***known == name);
        let name = name.ok_or_else(|| {
            format!("--at {at}: the configuration has no such service; it has {}", known.join(", "))
        })?;
        let endpoint = Endpoint::parse(url).map_err(|error| format!("--at {at}: {error}"))?;
        places.entry(Arc::clone(name)).or_default().push(endpoint.url().clone());
    }
    for (name, urls) in places {
        config.services.entry(name).or_default().urls = urls;
    }
    Ok(config)
}

async fn serve(
    gateway: &cli::Gateway,
    source: Source,
    config: Config,
    (data, env): (&DataDir, &Env),
    inherited: Inherited,
) -> Result<(), Error> {
    let Inherited { sockets, before } = inherited;
    // From here on such a signal is kept until somebody listens.
    let upgrades = Some(Upgrades::listen()?);
    // The gateway has tasks of its own, so that what it was doing can be told after it has stopped.
    let (tasks, edge) = (Tasks::new(), Tasks::new());
    process::export_spans(env, &tasks)?;
    let identity = Identity::open(&data.file("keys"), "gateway")?;
    let follows = config.revocation.is_some();
    let mut builder = Gateway::builder(config).source(source).identity(identity).sockets(sockets);
    builder = builder.deliveries(data.file("deliveries.json"));
    if follows {
        let url = gateway.bus.as_deref().ok_or(
            "`revocation` in the configuration needs the bus that it comes over: say where by --bus leeward://HOST:PORT",
        )?;
        builder = builder.bus(Bus::open(url, bus_options(data, env)?, &tasks).await?);
    }
    if let Some(before) = before {
        let before = Before::introduce(before).await.map_err(|error| -> Error { error })?;
        builder = builder.begin_after(before.begin());
    }
    let running = builder.start(&edge).await.map_err(|error| match error {
        nowhere @ leeward_gateway::Error::Nowhere { .. } => {
            format!("{nowhere}, or say where by --at NAME=URL").into()
        }
        other => Error::from(other),
    })?;
    process::reload_on_hangup(&running, &tasks)?;
    println!(
        "  gateway        http://{}\n  admin          http://{}\nready",
        running.addr(),
        running.admin_addr()
    );
    upgrade::tell_supervisor();
    process::until_stopped(tasks, Some(Edge { tasks: edge, gateway: running, upgrades })).await
}

/// The secret that the owner of the bus asks for: from the environment, or from the data folder where the two share one.
fn bus_options(data: &DataDir, env: &Env) -> Result<bus::Options, Error> {
    let token = match env.get("LEEWARD_BUS_TOKEN") {
        Some(token) => token.to_owned(),
        None => {
            let file = data.file("keys").join("bus.token");
            std::fs::read_to_string(&file).map_err(|cause| {
                let file = file.display();
                format!("the bus token {file}: {cause}; give the owner's token in LEEWARD_BUS_TOKEN, or make the file readable")
            })?
        }
    };
    Ok(bus::Options::default().token(bus::Token::new(token.trim())))
}
