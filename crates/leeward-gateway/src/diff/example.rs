//! Requests that a route takes, made of what it says.

use std::fmt;

use serde::Serialize;

use crate::config::{Config, Route};
use crate::router::{Condition, Host, On, Test};

/// A request of which both configurations are asked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Example {
    /// Its method.
    pub method: &'static str,
    /// Its path and query.
    pub target: String,
    /// Its headers, each `name: value`, `Host` first.
    pub headers: Vec<String>,
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)?;
        self.headers.iter().try_for_each(|header| write!(f, " -H '{header}'"))
    }
}

/// A host that no route of the two names.
const NOBODYS: &str = "host.invalid";
/// What stands for a parameter, and for what is below a path.
const PART: &str = "1";

/// The requests of a route: for each host and each method that it takes, at its path and, where it takes that, below it.
pub(super) fn of(route: &Route) -> Vec<Example> {
    let conditions: Vec<&Condition> = route.conditions.iter().collect();
    let mut examples = Vec::new();
    for host in hosts(route) {
        for method in route.methods.names() {
            for below in [false, true] {
                if !(below && route.pattern.is_exact()) {
                    examples.push(make(route, &host, method, below, &conditions));
                }
            }
        }
    }
    examples
}

/// One request that a route takes.
pub(super) fn one(route: &Route) -> Option<Example> {
    let conditions: Vec<&Condition> = route.conditions.iter().collect();
    let (host, method) = (hosts(route).into_iter().next()?, route.methods.names().next()?);
    Some(make(route, &host, method, false, &conditions))
}

/// Requests that meet the conditions of two routes of one path, for which it matters which of them is tried first.
pub(super) fn contested(config: &Config) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut groups: std::collections::BTreeMap<String, Vec<&Route>> = std::collections::BTreeMap::new();
    for route in config.routes.iter().filter(|route| !route.conditions.is_empty()) {
        groups.entry(route.pattern.shape()).or_default().push(route);
    }
    // Bounded: a path has at most 64 routes for a host.
    for group in groups.values() {
        for (at, one) in group.iter().enumerate() {
            for other in &group[at + 1..] {
                let conditions: Vec<&Condition> =
                    one.conditions.iter().chain(other.conditions.iter()).collect();
                let method =
                    one.methods.names().find(|name| other.methods.names().any(|known| known == *name));
                let host = hosts(one).into_iter().find(|host| hosts(other).contains(host));
                if let (Some(method), Some(host)) = (method, host) {
                    examples.push(make(one, &host, method, false, &conditions));
                }
            }
        }
    }
    examples
}

fn hosts(route: &Route) -> Vec<String> {
    if route.hosts.is_empty() {
        return vec![NOBODYS.to_owned()];
    }
    let name = |host: &Host| match host {
        Host::Exact(name) => name.to_string(),
        Host::Below(name) => format!("any.{name}"),
    };
    route.hosts.iter().map(name).collect()
}

fn make(route: &Route, host: &str, method: &'static str, below: bool, conditions: &[&Condition]) -> Example {
    let text = route.pattern.text().trim_end_matches('/');
    let part = |part: &str| if part.starts_with('{') { PART.to_owned() } else { part.to_owned() };
    let mut target = text.split('/').map(part).collect::<Vec<_>>().join("/");
    if below || target.is_empty() {
        target.push('/');
    }
    if below {
        target.push_str(PART);
    }
    let (mut headers, mut query, mut cookies) = (vec![format!("Host: {host}")], Vec::new(), Vec::new());
    for condition in conditions {
        let value = match &condition.test {
            Test::Exact(text) | Test::Prefix(text) => text,
            Test::Present => PART,
            Test::Absent => continue,
        };
        let (list, pair) = match &condition.on {
            On::Header(name) => (&mut headers, format!("{}: {value}", name.0)),
            On::Query(name) => (&mut query, format!("{name}={value}")),
            On::Cookie(name) => (&mut cookies, format!("{name}={value}")),
        };
        if !list.contains(&pair) {
            list.push(pair);
        }
    }
    if !cookies.is_empty() {
        headers.push(format!("Cookie: {}", cookies.join("; ")));
    }
    if !query.is_empty() {
        target.push('?');
        target.push_str(&query.join("&"));
    }
    Example { method, target, headers }
}
