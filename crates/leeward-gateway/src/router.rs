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
//! A lookup is a hash of the host and one of each segment, and takes no memory. What the patterns have in common is worked out when
//! the table is made: where a path might go by a literal or by a parameter, one node stands for both, so that no segment is
//! looked at twice. Where that would make the table of a host larger than its patterns warrant, some nodes keep their parts, and these
//! are tried one after the other.

mod condition;
mod host;
mod methods;
mod pattern;
mod scan;
mod tree;

use http::{HeaderMap, Method};

pub(crate) use self::condition::cookies;
pub use self::condition::{Condition, Conditions, Name, On, Test};
pub use self::host::{Host, HostError, without_port};
pub use self::methods::Methods;
pub use self::pattern::{Pattern, PatternError, segments};
pub(crate) use self::pattern::{is_plain, parameter};
pub(crate) use self::scan::{Verdict, scan};

use self::host::Folded;
use self::tree::{Map, Tree, WAYS_A_NODE};

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

/// A tree of segments for each host. Immutable once built; a new configuration builds a new one.
#[derive(Default, Debug)]
pub struct Router {
    exact: Map<Box<str>, Tree>,
    /// By what is behind the wildcard.
    below: Map<Box<str>, Tree>,
    /// Labels of the longest wildcard: what has more is not looked for.
    labels_max: usize,
    any: Tree,
}

impl Router {
    /// Over routes; a route's index is its place in the list.
    #[must_use]
    pub fn new<'a>(routes: impl IntoIterator<Item = Entry<'a>>) -> Self {
        Self::within(routes, WAYS_A_NODE)
    }

    /// The same with another bound for what is made of a tree.
    fn within<'a>(routes: impl IntoIterator<Item = Entry<'a>>, ways_a_node: usize) -> Self {
        let mut router = Self::default();
        for (index, entry) in routes.into_iter().enumerate() {
            if entry.hosts.is_empty() {
                router.any.insert(&entry, index);
            }
            for host in entry.hosts {
                let tree = match host {
                    Host::Exact(name) => router.exact.entry(name.clone()).or_default(),
                    Host::Below(name) => {
                        router.labels_max = router.labels_max.max(labels(name));
                        router.below.entry(name.clone()).or_default()
                    }
                };
                tree.insert(&entry, index);
            }
        }
        router.trees().for_each(|tree| tree.merge(ways_a_node));
        router
    }

    fn trees(&mut self) -> impl Iterator<Item = &mut Tree> {
        self.exact.values_mut().chain(self.below.values_mut()).chain([&mut self.any])
    }

    /// Whether any route names a host, so that a request's own matters.
    #[must_use]
    pub fn looks_at_hosts(&self) -> bool {
        !(self.exact.is_empty() && self.below.is_empty())
    }

    /// The route of a request.
    #[must_use]
    pub fn find(&self, ask: &Ask<'_>) -> Match {
        let path = ask.path.strip_prefix('/').unwrap_or(ask.path);
        let path = path.strip_suffix('/').unwrap_or(path);
        self.tree(ask.host).find((!path.is_empty()).then_some(path), ask)
    }

    fn tree(&self, host: Option<&str>) -> &Tree {
        if !self.looks_at_hosts() {
            return &self.any;
        }
        let Some(host) = host.and_then(Folded::new) else { return &self.any };
        if let Some(tree) = self.exact.get(host.as_str()) {
            return tree;
        }
        if self.below.is_empty() {
            return &self.any;
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

#[cfg(test)]
mod tests;
