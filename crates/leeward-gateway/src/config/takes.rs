//! Reading which requests a route takes, and finding routes that take the same ones.

use std::collections::HashMap;

use http::Method;
use http::header::HeaderName;
use leeward_runtime::config::Node;

use super::Route;
use crate::headers::may_come_from_clients;
use crate::life::OWN_PATHS;
use crate::router::{Condition, Conditions, Host, Methods, Name, On, Pattern, TWINS_MAX, Test};

/// Most hosts of a route: each has a tree of its own.
const HOSTS_MAX: usize = 64;
/// Most conditions of a route.
const CONDITIONS_MAX: usize = 16;

/// What a route takes.
pub(super) struct Takes {
    pub(super) hosts: Vec<Host>,
    /// `None`: a mistake, which is recorded.
    pub(super) pattern: Option<Pattern>,
    pub(super) methods: Methods,
    pub(super) conditions: Conditions,
}

pub(super) fn read(node: &Node<'_>) -> Takes {
    let exact = node.get("exact").bool().unwrap_or(false);
    let path = node.get("path").required();
    let pattern = path.text().and_then(|text| {
        Pattern::parse(&text, exact)
            .map_err(|error| path.reject(error, "a path as /orders or /orders/{id}/lines"))
            .ok()
    });
    let (hosts, methods) = (hosts(&node.get("hosts")), methods(&node.get("methods")));
    let conditions = conditions(&node.get("match"));
    if let Some(pattern) =
        pattern.as_ref().filter(|_| exact && methods.is_within(&[Method::GET, Method::HEAD]))
    {
        let own = OWN_PATHS.iter().find(|own| pattern.text().trim_end_matches('/') == **own);
        if let Some(own) = own {
            let message = format_args!("never matches: the gateway answers {own} itself");
            path.reject(message, "another path, or other methods");
        }
    }
    Takes { hosts, pattern, methods, conditions }
}

fn hosts(node: &Node<'_>) -> Vec<Host> {
    let given = node.texts();
    if node.is_given() && !(1..=HOSTS_MAX).contains(&given.len()) {
        node.reject(
            "has no hosts, or too many",
            format_args!("1 to {HOSTS_MAX} hosts, or no `hosts` for all"),
        );
    }
    let read = |text: &String| {
        Host::parse(text)
            .map_err(|error| {
                let allowed =
                    "names and addresses without a port, as shop.example.org, *.example.org or 192.0.2.1";
                node.reject(format_args!("has `{text}`, which {error}"), allowed);
            })
            .ok()
    };
    let mut hosts: Vec<Host> = given.iter().filter_map(read).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

fn methods(node: &Node<'_>) -> Methods {
    if !node.is_given() {
        return Methods::ANY;
    }
    let given = node.texts();
    if given.is_empty() {
        node.reject("is empty: the route would never match", Methods::NAMES.join(", "));
    }
    let mut methods = Methods::NONE;
    for name in given {
        match methods.with(&name) {
            Some(with) if Methods::NAMES.contains(&name.as_str()) => methods = with,
            _ => node.reject(format_args!("has `{name}`, which is not a method"), Methods::NAMES.join(", ")),
        }
    }
    methods
}

pub(super) fn conditions(node: &Node<'_>) -> Conditions {
    if !node.is_given() {
        return Conditions::default();
    }
    let mut all = Vec::new();
    for (name, node) in entries(node, "headers") {
        let Some(on) = header(name, &node) else { continue };
        all.extend(test(&node).map(|test| Condition { on, test }));
    }
    for (name, node) in entries(node, "query") {
        all.extend(test(&node).map(|test| Condition { on: On::Query(name.into()), test }));
    }
    for (name, node) in entries(node, "cookies") {
        let is_name = HeaderName::from_bytes(name.as_bytes()).is_ok();
        if !is_name {
            node.reject(
                format_args!("is for `{name}`, which is not the name of a cookie"),
                "letters, digits, `-`, `_` and the like",
            );
        }
        all.extend(test(&node).map(|test| Condition { on: On::Cookie(name.into()), test }));
    }
    if all.len() > CONDITIONS_MAX {
        node.reject("has too many conditions", format_args!("at most {CONDITIONS_MAX}"));
    }
    Conditions::new(all)
}

fn entries<'d>(node: &Node<'d>, key: &str) -> Vec<(&'d str, Node<'d>)> {
    let node = node.get(key);
    let entries = node.entries();
    if node.is_given() && entries.is_empty() {
        node.reject("has no conditions", "NAME: VALUE lines, or nothing");
    }
    entries
}

/// A header that a request can have when its route is looked for.
fn header(name: &str, node: &Node<'_>) -> Option<On> {
    let lower = name.to_ascii_lowercase();
    let better = match &*lower {
        "host" => Some("`hosts` of the route"),
        "cookie" => Some("`cookies` beside `headers`"),
        _ if !may_come_from_clients(&lower) => {
            Some("a header that clients may send: this one is dropped before routes are looked for")
        }
        _ => None,
    };
    if let Some(better) = better {
        node.reject(format_args!("is for `{name}`, which no condition can be on"), better);
        return None;
    }
    match HeaderName::from_bytes(lower.as_bytes()) {
        Ok(name) => Some(On::Header(Name(name))),
        Err(_) => {
            node.reject(
                format_args!("is for `{name}`, which is not the name of a header"),
                "letters, digits, `-` and `_`",
            );
            None
        }
    }
}

fn test(node: &Node<'_>) -> Option<Test> {
    const ALLOWED: &str = "a text, {prefix: TEXT}, {present: true} or {present: false}";
    if node.is_scalar() {
        return node.clone().required().text().map(|text| Test::Exact(text.into()));
    }
    let (prefix, present) = (node.get("prefix"), node.get("present"));
    match (prefix.is_given(), present.is_given()) {
        (true, false) => prefix.text().map(|text| Test::Prefix(text.into())),
        (false, true) => present.bool().map(|is_there| if is_there { Test::Present } else { Test::Absent }),
        _ => {
            node.reject("is not one condition", ALLOWED);
            None
        }
    }
}

/// The routes of each host and path, so that each new one is compared with those few alone.
#[derive(Default)]
pub(super) struct Taken {
    twins: HashMap<(Option<Host>, String), Vec<usize>>,
}

impl Taken {
    /// Adds the route that comes after `routes`, and reports one that takes the same requests.
    pub(super) fn add(&mut self, node: &Node<'_>, routes: &[Route], route: &Route) {
        let shape = route.pattern.shape();
        let hosts = route.hosts.iter().cloned().map(Some);
        let hosts = hosts.chain(route.hosts.is_empty().then_some(None));
        for host in hosts {
            let twins = self.twins.entry((host, shape.clone())).or_default();
            let same = twins.iter().map(|at| &routes[*at]).find(|other| is_same(other, route));
            if let Some(same) = same {
                let message = format_args!("takes the same requests as the route at {}", same.origin);
                node.get("path").reject(message, "each path once for the same hosts, methods and conditions");
            }
            if twins.len() == TWINS_MAX {
                let message = format_args!("has more than {TWINS_MAX} routes");
                node.get("path").reject(message, "fewer: they are tried one after the other");
            }
            twins.push(routes.len());
        }
    }
}

fn is_same(one: &Route, other: &Route) -> bool {
    one.methods.overlaps(other.methods)
        && one.methods.is_any() == other.methods.is_any()
        && one.conditions == other.conditions
}
