//! `--fresh`: the end of an earlier run's data, and of nothing else.

use std::fs;
use std::path::Path;

use leeward_runtime::DataDir;
use shop_app::{PROVIDER, SERVICES};

use crate::Error;

/// What a database consists of, beside its lock.
const PARTS: [&str; 4] = ["db", "db-wal", "db-shm", "db-journal"];

/// Deletes the databases of the shop in `data`, unless a process has one of them open.
pub(crate) fn clear(data: &Path) -> Result<(), Error> {
    let folder = DataDir::open(data)?;
    let names = || SERVICES.into_iter().chain([PROVIDER, "bus", "gateway"]);
    // All locks before the first deletion: half a shop is worse than an old one.
    let _locks = names().map(|name| folder.lock(&format!("{name}.db"))).collect::<Result<Vec<_>, _>>()?;
    for name in names() {
        for part in PARTS {
            match fs::remove_file(data.join(format!("{name}.{part}"))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(())
}
