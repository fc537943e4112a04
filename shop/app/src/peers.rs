//! Where the other services are.

use std::time::Duration;

use leeward_discovery::{Directory, Endpoint};
use leeward_runtime::Stop;
use leeward_service::{Client, Kit};
use serde::Deserialize;

use crate::error::Error;

/// How often the admin API is asked who is where: a service that moved is found within this time.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Reads `NAME=URL`.
///
/// # Errors
/// [`Error::At`].
pub fn parse_at(text: &str) -> Result<(String, Endpoint), Error> {
    let wrong = |why: String| Error::At { given: text.to_owned(), why };
    let (name, url) = text.split_once('=').ok_or_else(|| wrong("it has no `=`".into()))?;
    let known = crate::SERVICES.iter().chain(&[crate::PROVIDER, crate::GATEWAY]).any(|known| *known == name);
    if !known {
        return Err(wrong(format!("there is no service `{name}`")));
    }
    let endpoint = Endpoint::parse(url).map_err(|error| wrong(error.to_string()))?;
    Ok((name.to_owned(), endpoint))
}

/// What the admin API says of where a service is.
#[derive(Debug, Deserialize)]
struct Whereabout {
    name: String,
    endpoints: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    url: String,
}

/// Keeps the directory as the admin API has it, but for the services in `fixed`. While the admin API does not answer, the
/// last that it said stands.
pub async fn follow(kit: Kit, directory: Directory, fixed: Vec<String>, stop: Stop) {
    let admin = kit.client(crate::GATEWAY);
    let mut known: Vec<(String, Vec<String>)> = Vec::new();
    loop {
        match ask(&admin).await {
            Ok(said) => {
                for (name, urls) in
                    said.iter().filter(|entry| !fixed.contains(&entry.0) && !known.contains(entry))
                {
                    directory.set(name, urls.iter().filter_map(|url| Endpoint::parse(url).ok()));
                }
                known = said;
            }
            Err(error) => tracing::debug!(%error, "the admin API did not say who is where"),
        }
        if stop.or(tokio::time::sleep(ASK_EVERY)).await.is_none() {
            return;
        }
    }
}

async fn ask(admin: &Client) -> Result<Vec<(String, Vec<String>)>, leeward_service::CallError> {
    let said: Vec<Whereabout> = admin.get("/v1/services").send().await?;
    let urls = |listed: Vec<Listed>| listed.into_iter().map(|endpoint| endpoint.url).collect();
    Ok(said.into_iter().map(|service| (service.name, urls(service.endpoints))).collect())
}
