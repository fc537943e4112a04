//! Which route a request takes.
//!
//! The order, said here and nowhere else. Each step keeps some routes for the next one:
//!
//! 1. **Host.** The most specific pattern that matches the request's host owns the request: the name itself, then the
//!    longest wildcard, then the routes without `hosts`. Routes of other hosts, and those without, take no part.
//! 2. **Path.** A pattern matches its own path and everything below it, on segment boundaries (`/orders` matches
//!    `/orders/7`, never `/orders-old`); an exact pattern matches only itself. From the front, a literal segment goes
//!    before a `{parameter}`, a parameter before the end of a pattern, and an exact end before one with more below it.
//! 3. **Method.** A route that names the method goes before one that takes any. When none takes it the answer is 405.
//! 4. **Conditions** on headers, query and cookies. The route with the most of them goes first, of as many the one with the
//!    stricter ones (exact before prefix before present or absent), of equal ones the one that stands first in the file.
//!    The first one whose conditions all hold takes the request. When there is none the answer is 404.
//!
//! No step goes back to an earlier one. A request that a route refuses for its method or its conditions may go to another
//! route of the same hosts and the same path, never to a shorter path or to another host's routes, since those may have a
//! weaker access rule: leaving out a header would be enough to get past a stronger one. For the same reason a route with
//! conditions protects nothing by itself: its twin without them takes whoever does not meet them.
//!
//! A preflight is about a request whose headers are still to come, so that the conditions do not count for it.
//!
//! A lookup is a hash of the host and one of each segment, and takes no memory. At a node with both a literal and a parameter
//! the second is tried when nothing below the first matches, so that the worst case is as many nodes as the patterns
//! have such pairs above each other.

mod condition;
mod host;
mod methods;
mod pattern;
mod scan;

use std::collections::HashMap;

use foldhash::fast::FixedState;
use http::{HeaderMap, Method};

pub(crate) use self::condition::cookies;
pub use self::condition::{Condition, Conditions, Name, On, Test};
pub use self::host::{Host, HostError, without_port};
pub use self::methods::Methods;
pub use self::pattern::{Pattern, PatternError, segments};
pub(crate) use self::pattern::{is_plain, parameter};
pub(crate) use self::scan::{Verdict, scan};

use self::host::Folded;

/// Most routes that one path of one host may have. They are tried one after the other, so that this bounds what a lookup costs.
pub const TWINS_MAX: usize = 64;

/// What of a request its route depends on.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The method; of a preflight the one that it announces.
    pub method: &'a Method,
    /// The host, without its port; `None` where HTTP/1.0 names none.
    pub host: Option<&'a str>,
    /// The canonical path.
    pub path: &'a str,
    /// The query, as it came.
    pub query: Option<&'a str>,
    /// The headers, without those that a client may not send.
    pub headers: &'a HeaderMap,
    /// Whether this is a preflight.
    pub is_preflight: bool,
}

/// What a route takes.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its hosts; none is every host that no other route names.
    pub hosts: &'a [Host],
    /// Its paths.
    pub pattern: &'a Pattern,
    /// Its methods.
    pub methods: Methods,
    /// Its conditions.
    pub conditions: &'a Conditions,
}

/// What the router says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    /// The route of this index.
    Route(usize),
    /// The path is known, the method is not: 405 with these in `Allow`.
    Method(Methods),
    /// The path and the method are known, and no route's conditions hold: 404.
    Unmet,
    /// No pattern matches: 404.
    None,
}

/// Only the configuration puts keys in, so that no client can make them collide.
type Map<V> = HashMap<Box<str>, V, FixedState>;

#[derive(Default, Debug)]
struct Node {
    literals: Map<Node>,
    parameter: Option<Box<Node>>,
    exact: Vec<Twin>,
    below: Vec<Twin>,
}

/// One of the routes of a path, which stand in the order in which they are tried.
#[derive(Debug)]
struct Twin {
    methods: Methods,
    conditions: Conditions,
    index: usize,
}

impl Twin {
    fn rank(&self) -> impl Ord + use<> {
        (self.methods.is_any(), self.conditions.rank(), self.index)
    }
}

/// A tree of segments for each host. Immutable once built; a new configuration builds a new one.
#[derive(Default, Debug)]
pub struct Router {
    exact: Map<Node>,
    /// By what is behind the wildcard.
    below: Map<Node>,
    /// Labels of the longest wildcard: what has more is not looked for.
    labels_max: usize,
    any: Node,
}

impl Router {
    /// Over routes; a route's index is its place in the list.
    #[must_use]
    pub fn new<'a>(routes: impl IntoIterator<Item = Entry<'a>>) -> Self {
        let mut router = Self::default();
        for (index, entry) in routes.into_iter().enumerate() {
            if entry.hosts.is_empty() {
                insert(&mut router.any, &entry, index);
            }
            for host in entry.hosts {
                let tree = match host {
                    Host::Exact(name) => router.exact.entry(name.clone()).or_default(),
                    Host::Below(name) => {
                        router.labels_max = router.labels_max.max(labels(name));
                        router.below.entry(name.clone()).or_default()
                    }
                };
                insert(tree, &entry, index);
            }
        }
        router
    }

    /// The route of a request.
    #[must_use]
    pub fn find(&self, ask: &Ask<'_>) -> Match {
        let path = ask.path.strip_prefix('/').unwrap_or(ask.path);
        let path = path.strip_suffix('/').unwrap_or(path);
        find(self.tree(ask.host), (!path.is_empty()).then_some(path), ask)
    }

    fn tree(&self, host: Option<&str>) -> &Node {
        if self.exact.is_empty() && self.below.is_empty() {
            return &self.any;
        }
        let Some(host) = host.and_then(Folded::new) else { return &self.any };
        if let Some(tree) = self.exact.get(host.as_str()) {
            return tree;
        }
        let mut rest = host.as_str();
        let mut left = labels(rest);
        while let Some((first, behind)) = rest.split_once('.') {
            (rest, left) = (behind, left - 1);
            if left <= self.labels_max
                && !first.is_empty()
                && let Some(tree) = self.below.get(rest)
            {
                return tree;
            }
        }
        &self.any
    }
}

fn labels(host: &str) -> usize {
    1 + host.bytes().filter(|byte| *byte == b'.').count()
}

fn insert(mut node: &mut Node, entry: &Entry<'_>, index: usize) {
    use self::pattern::Segment;
    for segment in &entry.pattern.segments {
        node = match segment {
            Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
            Segment::Parameter => node.parameter.get_or_insert_default(),
        };
    }
    let twins = if entry.pattern.exact { &mut node.exact } else { &mut node.below };
    let twin = Twin { methods: entry.methods, conditions: entry.conditions.clone(), index };
    let at = twins.partition_point(|other| other.rank() < twin.rank());
    twins.insert(at, twin);
}

/// Literal first, then the parameter, then what stands at this node for everything below it. The depth is that of
/// the patterns, so a long path does not recurse further than the configuration does.
fn find(node: &Node, rest: Option<&str>, ask: &Ask<'_>) -> Match {
    let Some(rest) = rest else {
        return match pick(&node.exact, ask) {
            Match::None => pick(&node.below, ask),
            found => found,
        };
    };
    let (segment, rest) = match memchr::memchr(b'/', rest.as_bytes()) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    if let Some(child) = node.literals.get(segment) {
        match find(child, rest, ask) {
            Match::None => {}
            found => return found,
        }
    }
    if let Some(child) = &node.parameter {
        match find(child, rest, ask) {
            Match::None => {}
            found => return found,
        }
    }
    pick(&node.below, ask)
}

fn pick(twins: &[Twin], ask: &Ask<'_>) -> Match {
    let mut takes_the_method = false;
    for twin in twins.iter().filter(|twin| twin.methods.contains(ask.method)) {
        if ask.is_preflight || twin.conditions.unmet(ask).is_none() {
            return Match::Route(twin.index);
        }
        takes_the_method = true;
    }
    match twins {
        [] => Match::None,
        _ if takes_the_method => Match::Unmet,
        twins => Match::Method(twins.iter().fold(Methods::NONE, |all, twin| all.union(twin.methods))),
    }
}

#[cfg(test)]
mod tests;
