//! Where the other services are.

use std::time::Duration;

use leeward_discovery::{Directory, Endpoint};
use leeward_runtime::Stop;
use leeward_service::{CallError, Client, Kit};
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
/// last that it said stands. It knows this service by its assertion; a refusal is logged once, with what to do.
pub async fn follow(kit: Kit, directory: Directory, fixed: Vec<String>, stop: Stop) {
    let admin = kit.client(crate::GATEWAY);
    let mut known: Vec<(String, Vec<String>)> = Vec::new();
    let mut refused = None;
    loop {
        match ask(&admin).await {
            Ok(said) => {
                for (name, urls) in
                    said.iter().filter(|entry| !fixed.contains(&entry.0) && !known.contains(entry))
                {
                    directory.set(name, urls.iter().filter_map(|url| Endpoint::parse(url).ok()));
                }
                known = said;
                refused = None;
            }
            Err(error) => match advice(&error) {
                Some(advice) if refused != error.status() => {
                    refused = error.status();
                    tracing::warn!(%error, service = %kit.name, "the admin API does not say who is where: {advice}");
                }
                _ => tracing::debug!(%error, "the admin API did not say who is where"),
            },
        }
        if stop.or(tokio::time::sleep(ASK_EVERY)).await.is_none() {
            return;
        }
    }
}

/// What a person does about a refusal; `None` when it passes by itself.
fn advice(error: &CallError) -> Option<&'static str> {
    (error.status() == Some(401) || error.status() == Some(403)).then_some(
        "the process there has to know where this service is, since it fetches this service's key to believe it: start that \
         one with --at NAME=URL; or tell this one by --at where all the others are",
    )
}

async fn ask(admin: &Client) -> Result<Vec<(String, Vec<String>)>, CallError> {
    let said: Vec<Whereabout> = admin.get("/v1/services").send().await?;
    let urls = |listed: Vec<Listed>| listed.into_iter().map(|endpoint| endpoint.url).collect();
    Ok(said.into_iter().map(|service| (service.name, urls(service.endpoints))).collect())
}
