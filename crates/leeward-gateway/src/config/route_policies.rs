//! What a route says of the policies in front of its service, in place of what the service says.

use std::time::Duration;

use leeward_resilience::config::{Fields, Options};
use leeward_resilience::pipeline::{Part, PolicyNames};
use leeward_resilience::{PipelineOptions, Timeout};
use leeward_runtime::config::Node;

use super::ServicePolicy;
use super::policy::{self, POLICY_NAMES};

/// As those of a service, but for the rate limit: that of a route bounds who calls, and not the service.
const NAMES: PolicyNames = PolicyNames { rate_limit: None, ..POLICY_NAMES };
pub(crate) const ATTEMPT_TIMEOUT: &str = "attempt_timeout";
/// What may be said, and the part of the policies that it is.
const KEYS: [(&str, Option<Part>); 7] = [
    ("retry", Some(Part::Retries)),
    ("hedge", Some(Part::Retries)),
    ("throttle", Some(Part::Throttle)),
    (NAMES.breaker, Some(Part::Breaker)),
    ("adaptive", Some(Part::Adaptive)),
    (NAMES.concurrency, Some(Part::Concurrency)),
    (ATTEMPT_TIMEOUT, None),
];

/// The policies that a route has for itself. Each of them is whole: what it leaves out is the default and not the service's. They keep windows,
/// budgets and permits of their own, so that neither this route's requests count for those of others nor the reverse; the policies that are not
/// here are the service's, and shared with all that ask it.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutePolicies {
    /// The keys that are given, in the order of the policies, at least one.
    given: Vec<&'static str>,
    /// Their options; of the others the defaults.
    options: PipelineOptions,
}

/// What the policies are called that a route has for itself in front of a service: in metrics, and where they are explained.
pub(crate) fn policy_name(route: &str, service: &str) -> String {
    format!("route {route} to {service}")
}

impl RoutePolicies {
    /// Those of a route, if it has any.
    pub(super) fn read(node: &Node<'_>) -> Option<Box<Self>> {
        let given = KEYS.iter().filter(|(key, _)| node.get(key).is_given());
        let given: Vec<_> = given.map(|(key, _)| *key).collect();
        if given.is_empty() {
            return None;
        }
        let mut policies = Self { given, ..Self::base() };
        node.policy(&mut policies);
        Some(Box::new(policies))
    }

    /// Whether the route says something of a policy, by its key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.given.contains(&key)
    }

    /// The keys that are given, in the order of the policies.
    #[must_use]
    pub fn keys(&self) -> &[&'static str] {
        &self.given
    }

    /// The time of an attempt as it is given, however short the deadline is.
    pub(crate) fn attempt_timeout(&self) -> Option<Timeout> {
        self.options.attempt_timeout.filter(|_| self.has(ATTEMPT_TIMEOUT))
    }

    /// What stays the service's, state and all.
    pub(crate) fn shared(&self) -> Vec<Part> {
        let is_own = |part: &Part| KEYS.iter().any(|(key, of)| *of == Some(*part) && self.has(key));
        Part::ALL.into_iter().filter(|part| !is_own(part)).collect()
    }

    /// The policies in front of a service for this route's requests, under its deadline, of which an attempt takes no more.
    #[must_use]
    pub fn outbound(&self, service: &ServicePolicy, deadline: Duration) -> PipelineOptions {
        let mut options = PipelineOptions { deadline, ..service.policies.clone() };
        let own = &self.options;
        for key in &self.given {
            match *key {
                "retry" => options.retry.clone_from(&own.retry),
                "hedge" => options.hedge.clone_from(&own.hedge),
                "throttle" => options.throttle.clone_from(&own.throttle),
                ATTEMPT_TIMEOUT => options.attempt_timeout = own.attempt_timeout,
                "adaptive" => options.adaptive.clone_from(&own.adaptive),
                key if key == NAMES.breaker => options.breaker.clone_from(&own.breaker),
                _ => options.concurrency.clone_from(&own.concurrency),
            }
        }
        policy::within_deadline(options)
    }
}

impl Options for RoutePolicies {
    const NAME: &'static str = "route";

    fn base() -> Self {
        Self { given: Vec::new(), options: ServicePolicy::default().policies }
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        self.options.visit_policies_as(fields, &NAMES);
    }
}
