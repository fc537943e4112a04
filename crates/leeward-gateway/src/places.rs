//! Where services are by the configuration's word: their `urls`, put into the directory. What is looked up by DNS comes later.

use std::sync::Arc;

use leeward_discovery::{Directory, Endpoint};

use crate::config::Config;
use crate::gateway::Error;

/// The endpoints of each service that has `urls`, all of them readable.
#[derive(Debug)]
pub(crate) struct Places(Vec<(Arc<str>, Vec<Endpoint>)>);

impl Places {
    /// Reads them. A directory of somebody else may hear later of services that have none.
    ///
    /// # Errors
    /// Services that are nowhere, in a directory that nobody else puts anything into; a URL that is none.
    pub(crate) fn read(config: &Config, is_own_directory: bool) -> Result<Self, Error> {
        let nowhere = nowhere(config);
        let somewhere: Vec<_> =
            config.service_names().into_iter().filter(|name| has_urls(config, name)).collect();
        if is_own_directory && !nowhere.is_empty() {
            return Err(Error::Nowhere { services: nowhere });
        }
        let read = |name: Arc<str>| {
            let urls = config.service(&name).urls;
            let endpoints: Result<_, _> = urls.iter().map(|url| Endpoint::parse(&url.to_string())).collect();
            endpoints.map(|endpoints| (name, endpoints))
        };
        Ok(Self(somewhere.into_iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Puts them into the directory.
    pub(crate) fn settle(self, directory: &Directory) {
        for (name, endpoints) in self.0 {
            directory.set(&name, endpoints);
        }
    }
}

/// The services about which the configuration does not say where they are.
pub(crate) fn nowhere(config: &Config) -> Vec<Arc<str>> {
    config.service_names().into_iter().filter(|name| !is_placed(config, name)).collect()
}

/// Takes out of the directory what the old configuration put there and the new one does not: a service that is gone, or the
/// endpoints of one that neither has `urls` nor is looked up any more. Requests on their way to a service that is gone still find it.
pub(crate) fn leave(old: &Config, new: &Config, directory: &Directory) {
    let names = new.service_names();
    for name in old.services.keys().filter(|name| is_placed(old, name)) {
        if names.binary_search(name).is_err() {
            directory.remove(name);
        } else if !is_placed(new, name) {
            directory.clear(name);
        }
    }
}

fn is_placed(config: &Config, name: &str) -> bool {
    has_urls(config, name) || is_looked_up(config, name)
}

fn is_looked_up(config: &Config, name: &str) -> bool {
    config.services.get(name).is_some_and(|policy| policy.dns.is_some())
}

fn has_urls(config: &Config, name: &str) -> bool {
    config.services.get(name).is_some_and(|policy| !policy.urls.is_empty())
}
