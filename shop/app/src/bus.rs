//! Which bus a host uses, and the secret that it shares with those who reach it over HTTP.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use leeward_events::Bus;
use leeward_events::bus::{Options, Token};
use leeward_runtime::Tasks;

use crate::error::Error;

/// Which bus a host uses.
#[derive(Clone, Debug)]
pub enum BusAt {
    /// The file `bus.db` in the data folder; this process owns it and may serve it to others.
    Own,
    /// Another process's bus, `leeward://HOST:PORT`. Without a token the one in the data folder is used.
    Of {
        /// Its URL.
        url: String,
        /// Its token.
        token: Option<String>,
    },
}

/// Opens the bus; gives the token that its other users must show.
pub(crate) async fn open(at: &BusAt, data: &Path, tasks: &Tasks) -> Result<(Bus, Token), Error> {
    let file = data.join("keys").join("bus.token");
    let (url, token) = match at {
        BusAt::Own => (format!("sqlite:{}", data.join("bus.db").display()), own_token(&file)?),
        BusAt::Of { url, token: Some(token) } => (url.clone(), token.clone()),
        BusAt::Of { url, token: None } => (url.clone(), read(&file)?),
    };
    let token = Token::new(token.trim());
    let bus = Bus::open(&url, Options::default().token(token.clone()), tasks).await?;
    Ok((bus, token))
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = PathBuf::from(path);
    move |cause| Error::BusToken { path, cause }
}

fn read(file: &Path) -> Result<String, Error> {
    fs::read_to_string(file).map_err(failed(file))
}

/// The token in `file`, made now if there is none. Only this user may read it.
fn own_token(file: &Path) -> Result<String, Error> {
    if file.exists() {
        return read(file);
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(failed(file))?;
    }
    // 244 random bits: two version 4 UUIDs.
    let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let mut open = fs::OpenOptions::new();
    let mut written = open.write(true).create_new(true).mode(0o600).open(file).map_err(failed(file))?;
    written.write_all(token.as_bytes()).and_then(|()| written.sync_all()).map_err(failed(file))?;
    Ok(token)
}
