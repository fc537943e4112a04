//! What stands in for a route's service, as the request path needs it.

use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::{ConfigErrors, FallbackPolicy, Observer};

use super::Service;
use super::make::Making;
use crate::config::{Route, Substitute};

/// What answers when a route's service fails.
#[derive(Debug)]
pub(crate) struct Standby {
    /// When it does, and for how long it may take.
    pub(crate) policy: FallbackPolicy,
    /// The service that is asked, as its place in the snapshot; `None` where the answer is a fixed one.
    pub(crate) service: Option<usize>,
}

impl Standby {
    /// For how long a request may go on when its deadline is over.
    pub(crate) fn beyond_deadline(&self) -> Duration {
        self.service.map_or(Duration::ZERO, |_| self.policy.within())
    }
}

impl Making<'_> {
    /// The policy goes on under the same name, with other options if there are any.
    pub(super) fn standby(
        &mut self,
        (route, label): (&Route, &str),
        services: &[Service],
        old: Option<&Standby>,
    ) -> Result<Option<Standby>, ConfigErrors> {
        let Some(fallback) = &route.fallback else { return Ok(None) };
        let service = match &fallback.substitute {
            Substitute::Respond(_) => None,
            Substitute::Service(name) => services.binary_search_by(|service| service.name.cmp(name)).ok(),
        };
        // Routes beyond the budget of metrics are counted together.
        let name = format!("route {label}");
        let options = fallback.options.clone();
        let Some(old) = old.map(|old| &old.policy).filter(|old| old.name() == name) else {
            let observer: Arc<dyn Observer> = Arc::new(self.lasting.metrics.policies.clone());
            let policy = FallbackPolicy::new(name, options, Some(observer))?;
            return Ok(Some(Standby { policy, service }));
        };
        if old.config() != options {
            options.validate()?;
            let policy = old.clone();
            self.pending.add(move || policy.reconfigure(options));
        }
        Ok(Some(Standby { policy: old.clone(), service }))
    }
}
