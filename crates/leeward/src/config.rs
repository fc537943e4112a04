//! `leeward gateway`, `check` and `explain`: the gateway by its configuration file alone.

use leeward_discovery::Directory;
use leeward_gateway::{Config, Gateway};
use leeward_runtime::{DataDir, Env, Tasks};
use leeward_service::Identity;

use crate::cli::{self, ConfigFile};
use crate::{Error, process};

/// Reads the file and says that it is right, or everything that is wrong with it.
pub(crate) fn check(file: &ConfigFile) -> Result<(), Error> {
    let config = Config::load(&file.config, &Env::process())?;
    println!("{}: {} services, no mistakes", file.config.display(), config.service_names().len());
    Ok(())
}

/// Prints the configuration with all values in force.
pub(crate) fn explain(file: &ConfigFile) -> Result<(), Error> {
    print!("{}", Config::load(&file.config, &Env::process())?.to_yaml());
    Ok(())
}

/// Runs the gateway until it is stopped.
pub(crate) fn run(gateway: &cli::Gateway) -> Result<(), Error> {
    let _logs = process::log(&gateway.logs)?;
    let env = Env::process();
    let config = Config::load(&gateway.config, &env)?;
    let data = DataDir::open(&gateway.data)?;
    process::runtime()?.block_on(async {
        let tasks = Tasks::new();
        process::export_spans(&env, &tasks)?;
        let identity = Identity::open(&data.file("keys"), "gateway")?;
        let builder = Gateway::builder(config).directory(Directory::new()).identity(identity);
        let running = builder.start(&tasks).await?;
        println!(
            "  gateway        http://{}\n  admin          http://{}\nready",
            running.addr(),
            running.admin_addr()
        );
        process::until_stopped(tasks, None).await
    })
}
