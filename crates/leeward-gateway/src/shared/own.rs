//! The policies that a route has for itself in front of its services, as the request path needs them.

use std::sync::Arc;

use leeward_resilience::pipeline::Part;
use leeward_resilience::{ConfigErrors, Observer, Pipeline, PipelineOptions};

use super::make::{Making, places};
use super::{Lasting, RouteState, Service};
use crate::config::{Route, policy_name};

/// The policies in front of a service for the requests of one route, some of which are the service's.
#[derive(Debug)]
pub(crate) struct OwnPolicies {
    /// Of the service, as a place in the snapshot.
    pub(crate) service: usize,
    pub(crate) pipeline: Pipeline,
    /// What the pipeline was given.
    pub(crate) options: PipelineOptions,
    /// What is the service's.
    pub(crate) shared: Vec<Part>,
}

impl Making<'_> {
    /// Those of a route, in front of each of its services. They go on with what they have learnt.
    pub(super) fn own(
        &mut self,
        (route, label): (&Route, &str),
        services: &[Service],
        old: Option<&RouteState>,
    ) -> Result<Box<[OwnPolicies]>, ConfigErrors> {
        let Some(policies) = &route.policies else { return Ok(Box::default()) };
        let one = |at: usize| {
            let service = &services[at];
            let deadline = route.deadline.unwrap_or(self.config.limits.deadline);
            let options = policies.outbound(&self.config.service(&service.name), deadline);
            options.validate()?;
            let shared = policies.shared();
            // Routes beyond the budget of metrics are counted together.
            let name = policy_name(label, &service.name);
            let old = old.and_then(|old| self.old?.own(old, &service.name));
            let old = old.filter(|old| old.pipeline.name() == name);
            let pipeline = match old {
                Some(old) => old.pipeline.clone(),
                None => self.own_pipeline(name, (service, &shared), &options)?,
            };
            let is_other = old.is_some_and(|old| old.options != options || old.shared != shared);
            if is_other || self.is_changed(service) {
                // After the service's: what is shared is taken from there.
                let (later, options, shared) = (pipeline.clone(), options.clone(), shared.clone());
                self.pending.add(move || later.reconfigure_sharing(options, shared).map(drop));
            }
            Ok(OwnPolicies { service: at, pipeline, options, shared })
        };
        places(route, services).map(one).collect()
    }

    /// Whether a service that was there before has other policies from now on.
    fn is_changed(&self, service: &Service) -> bool {
        let old = self.old.and_then(|old| old.service(&service.name));
        old.is_some_and(|old| old.options != service.options)
    }

    fn own_pipeline(
        &self,
        name: String,
        (service, shared): (&Service, &[Part]),
        options: &PipelineOptions,
    ) -> Result<Pipeline, ConfigErrors> {
        let Lasting { metrics, clock, rng, .. } = self.lasting;
        let observer: Arc<dyn Observer> = Arc::new(metrics.policies.clone());
        let builder = Pipeline::builder(name);
        let builder = match &service.faults {
            Some(faults) => builder.faults(faults.clone()),
            None => builder,
        };
        builder
            .options(options.clone())
            .sharing(&service.pipeline, shared.iter().copied())
            .clock(Arc::clone(clock))
            .rng(Arc::clone(rng))
            .observer(observer)
            .build()
    }
}
