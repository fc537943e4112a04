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
    each: Vec<(Lookup, Name)>,
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
        let lookup = |(service, name): (&Arc<str>, &Name)| {
            let lookup = Lookup::new(Arc::clone(service), &resolver.records(name.clone()), Arc::clone(clock));
            (lookup, name.clone())
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
        let each = self.each.iter().map(|(lookup, name)| {
            let records = self.resolver.records(name.clone());
            lookup.run(records, directory, rng, stop)
        });
        futures_util::future::join_all(each).await;
    }

    /// Whether each was tried once.
    pub(crate) fn were_tried(&self) -> bool {
        self.each.iter().all(|(lookup, _)| lookup.was_tried())
    }

    pub(crate) fn statuses(&self) -> impl Iterator<Item = Status> {
        self.each.iter().map(|(lookup, _)| lookup.status())
    }
}

fn names(config: &Config) -> impl Iterator<Item = (&Arc<str>, &Name)> {
    config.services.iter().filter_map(|(service, policy)| Some((service, policy.dns.as_ref()?)))
}
