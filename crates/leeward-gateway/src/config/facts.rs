//! What is known beside what is configured: who calls whom behind the gateway, and what services bear. No request is handled by it;
//! `leeward lint` reckons with it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use leeward_runtime::config::Node;
use leeward_runtime::units::show_duration;

use super::parse::{HOUR, MOMENT, set};

/// Most retries of a call: as many as a policy takes.
const RETRIES_MAX: u32 = 10;

/// What is known beside what is configured.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Facts {
    /// How many gateways run with this configuration, each with limits of its own. Default: not known.
    pub replicas: Option<NonZeroU32>,
    /// What is known of services.
    pub services: BTreeMap<Arc<str>, Known>,
    /// Services that the gateway itself does not reach, and others call.
    pub behind: BTreeMap<Arc<str>, Known>,
}

/// What is known of a service.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Known {
    /// How long it keeps an idle connection open.
    pub keep_alive: Option<Duration>,
    /// The time that 99 of 100 calls of it stay below.
    pub latency_p99: Option<Duration>,
    /// How many requests at a time all of its instances bear together.
    pub concurrency: Option<NonZeroU32>,
    /// The services that it calls while it handles a request.
    pub calls: BTreeMap<Arc<str>, Calls>,
}

/// How one service calls another.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Calls {
    /// How often it repeats a call that failed. Default 0.
    pub retries: u32,
    /// How long it waits for one attempt. Default: not known.
    pub attempt_timeout: Option<Duration>,
    /// How long it waits for all attempts. Default: not known.
    pub deadline: Option<Duration>,
    /// Whether the call may be executed twice without harm. Default: not known.
    pub idempotent: Option<bool>,
}

impl Facts {
    /// What is known of a service, reached by the gateway or not.
    #[must_use]
    pub fn of(&self, service: &str) -> Option<&Known> {
        self.services.get(service).or_else(|| self.behind.get(service))
    }

    /// Reads what stands at the root; what stands at the services comes from [`known`].
    pub(super) fn read(root: &Node<'_>) -> Self {
        let facts = root.get("facts");
        let replicas = facts.get("replicas").int(1..=10_000_u32).and_then(NonZeroU32::new);
        let behind = root.get("behind").entries();
        let behind = behind.into_iter().map(|(name, node)| (Arc::from(name), known(&node))).collect();
        Self { replicas, behind, services: BTreeMap::new() }
    }

    /// Records calls of services that are none.
    pub(super) fn check(&self, root: &Node<'_>) {
        let all: BTreeSet<&str> =
            self.services.keys().chain(self.behind.keys()).map(|name| &**name).collect();
        for (section, services) in [("services", &self.services), ("behind", &self.behind)] {
            for (caller, known) in services {
                for callee in known.calls.keys().filter(|callee| self.of(callee).is_none()) {
                    let calls = root.get(section).get(caller).get("calls");
                    calls.get(callee).reject_key(
                        callee,
                        "is no service of `services` or `behind`",
                        all.iter().copied().filter(|name| *name != &**caller),
                    );
                }
            }
        }
        for (name, _) in root.get("behind").entries() {
            if self.services.contains_key(name) {
                let node = root.get("behind").get(name);
                node.reject("is a service of `services` as well", "each service once");
            }
        }
    }
}

/// What a service's own part of the configuration says is known of it.
pub(super) fn known(node: &Node<'_>) -> Known {
    let facts = node.get("facts");
    let calls = node.get("calls").entries();
    Known {
        keep_alive: facts.get("keep_alive").duration(MOMENT..=24 * HOUR),
        latency_p99: facts.get("latency_p99").duration(Duration::from_micros(1)..=HOUR),
        concurrency: facts.get("concurrency").int(1..=1_000_000_u32).and_then(NonZeroU32::new),
        calls: calls.into_iter().map(|(name, node)| (Arc::from(name), call(&node))).collect(),
    }
}

fn call(node: &Node<'_>) -> Calls {
    let mut calls = Calls::default();
    set(&mut calls.retries, node.get("retries").int(0..=RETRIES_MAX));
    calls.attempt_timeout = node.get("attempt_timeout").duration(MOMENT..=HOUR);
    calls.deadline = node.get("deadline").duration(MOMENT..=HOUR);
    calls.idempotent = node.get("idempotent").bool();
    calls
}

impl Known {
    /// What is known, as lines of a configuration, each with how deep it stands.
    pub(super) fn lines(&self) -> Vec<(usize, String)> {
        let mut lines = Vec::new();
        let facts = [
            ("keep_alive", self.keep_alive.map(show_duration)),
            ("latency_p99", self.latency_p99.map(show_duration)),
            ("concurrency", self.concurrency.map(|count| count.to_string())),
        ];
        if facts.iter().any(|(_, value)| value.is_some()) {
            lines.push((0, "facts:".to_owned()));
        }
        for (name, value) in facts {
            lines.extend(value.map(|value| (1, format!("{name}: {value}"))));
        }
        if !self.calls.is_empty() {
            lines.push((0, "calls:".to_owned()));
        }
        for (name, calls) in &self.calls {
            lines.push((1, format!("{}:", serde_json::Value::from(&**name))));
            lines.push((2, format!("retries: {}", calls.retries)));
            for (name, time) in [("attempt_timeout", calls.attempt_timeout), ("deadline", calls.deadline)] {
                lines.extend(time.map(|time| (2, format!("{name}: {}", show_duration(time)))));
            }
            lines.extend(calls.idempotent.map(|idempotent| (2, format!("idempotent: {idempotent}"))));
        }
        lines
    }
}
