//! The services whose endpoints are looked up, and how that goes.

use std::sync::Arc;

use leeward_discovery::dns::{Name, Resolver};
use leeward_discovery::registry::{Status, Unavailable};
use leeward_discovery::{Directory, Lookup};
use leeward_resilience::{Clock, Rng};
use leeward_runtime::Stop;

use crate::config::Config;

/// The lookups of one configuration.
#[derive(Debug)]
pub(crate) struct Lookups {
    resolver: Resolver,
    pub(crate) each: Vec<(Lookup, Name, bool)>,
}

impl Lookups {
    /// `None` where nothing is looked up.
    ///
    /// # Errors
    /// There is nobody to ask.
    pub(crate) fn new(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<Arc<Self>>, Unavailable> {
        let names: Vec<_> = names(config).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let resolver = Resolver::new(config.dns.clone())?;
        let lookup = |(service, name, is_encrypted): (&Arc<str>, &Name, bool)| {
            let lookup = Lookup::new(Arc::clone(service), &resolver.records(name.clone()), Arc::clone(clock));
            (lookup, name.clone(), is_encrypted)
        };
        let each = names.into_iter().map(lookup).collect();
        Ok(Some(Arc::new(Self { resolver, each })))
    }

    /// Those of another configuration: the same ones, if it looks the same up in the same way.
    ///
    /// # Errors
    /// There is nobody to ask.
    pub(crate) fn after(
        old: &Config,
        lookups: Option<&Arc<Self>>,
        new: &Config,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<Arc<Self>>, Unavailable> {
        if old.dns == new.dns && names(old).eq(names(new)) {
            return Ok(lookups.cloned());
        }
        Self::new(new, clock)
    }

    /// Follows all of them until the stop.
    pub(crate) async fn run(&self, directory: &Directory, rng: &dyn Rng, stop: &Stop) {
        let each = self.each.iter().map(|(lookup, name, is_encrypted)| {
            let records = self.resolver.records(name.clone()).encrypted(*is_encrypted);
            lookup.run(records, directory, rng, stop)
        });
        futures_util::future::join_all(each).await;
    }

    /// Nothing that they find from here on gets into the directory.
    pub(crate) fn end(&self) {
        self.each.iter().for_each(|(lookup, ..)| lookup.end());
    }

    /// Whether each was tried once.
    pub(crate) fn were_tried(&self) -> bool {
        self.each.iter().all(|(lookup, ..)| lookup.was_tried())
    }

    pub(crate) fn statuses(&self) -> impl Iterator<Item = Status> {
        self.each.iter().map(|(lookup, ..)| lookup.status())
    }
}

/// The services, each with its name and whether what is found speaks TLS.
fn names(config: &Config) -> impl Iterator<Item = (&Arc<str>, &Name, bool)> {
    config
        .services
        .iter()
        .filter_map(|(service, policy)| Some((service, policy.dns.as_ref()?, policy.tls.is_some())))
}
