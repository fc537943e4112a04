//! The paths of one host: a tree of their segments, made so that a path is read once, from its front to its end.
//!
//! Where a node has both a literal and a parameter, a path that goes by the literal may have to go by the parameter in the end. So
//! the two are laid over each other when the tree is made: behind the literal stands a node that has what is below both, the
//! literal's first. Each segment then leads to one node, whatever comes behind it. What can never be asked is left out: where
//! the literal's node takes everything below itself, nothing of the parameter's is.
//!
//! Patterns may be such that this multiplies: a dozen, each with its literal at another place, have thousands of ways in which a path may
//! agree with some of them. What is made of a tree is therefore bounded by its size. Beyond the bound a node keeps its parts, and they are
//! tried one after the other.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::pattern::Segment;
use super::{Ask, Conditions, Entry, Match, Methods};

/// Only the configuration puts keys in, so that no client can make them collide.
pub(super) type Map<K, V> = HashMap<K, V, FixedState>;

/// The node of `/`, which every tree has.
const ROOT: usize = 0;
/// The group without routes.
const NOBODY: usize = 0;
/// Ways that are looked at to lay nodes over others, for each node of the tree. It bounds how long that takes and how large the tree
/// becomes. Sixteen are enough for six segments of which each may be a literal or a parameter, in all 64 ways.
pub(super) const WAYS_A_NODE: usize = 16;

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

#[derive(Default, Debug)]
struct Node {
    literals: Map<Arc<str>, usize>,
    /// For every other segment.
    parameter: Option<usize>,
    /// The routes for a path that ends here, if it is not those for everything below.
    exact: usize,
    /// The routes for a path that ends here or goes on.
    below: usize,
    /// Nodes that are tried one after the other in the place of this one.
    parts: Box<[usize]>,
}

/// The routes of one host. Immutable once [merged](Tree::merge).
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    groups: Vec<Vec<Twin>>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], groups: vec![Vec::new()] }
    }
}

impl Tree {
    /// Adds a route. Not after the tree was [merged](Self::merge).
    pub(super) fn insert(&mut self, entry: &Entry<'_>, index: usize) {
        let mut at = ROOT;
        for segment in &entry.pattern.segments {
            let new = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match segment {
                Segment::Literal(text) => match node.literals.get(&**text) {
                    Some(child) => *child,
                    None => *node.literals.entry((&**text).into()).or_insert(new),
                },
                Segment::Parameter => *node.parameter.get_or_insert(new),
            };
            if at == new {
                self.nodes.push(Node::default());
            }
        }
        let node = &mut self.nodes[at];
        let group = if entry.pattern.exact { &mut node.exact } else { &mut node.below };
        if *group == NOBODY {
            *group = self.groups.len();
            self.groups.push(Vec::new());
        }
        let twins = &mut self.groups[*group];
        let twin = Twin { methods: entry.methods, conditions: entry.conditions.clone(), index };
        let at = twins.partition_point(|other| other.rank() < twin.rank());
        twins.insert(at, twin);
    }

    /// Lays parameters under literals, looking at no more than so many ways for each node that there is.
    pub(super) fn merge(&mut self, ways_a_node: usize) {
        let ways_left = self.nodes.len() * ways_a_node;
        let made = Merger::new(&self.nodes, ways_left).run();
        for (at, literals) in made.literals {
            self.nodes[at].literals = literals;
        }
        self.nodes.extend(made.nodes);
    }

    /// The route for a path without the slashes at its ends; `None` is `/`.
    pub(super) fn find(&self, path: Option<&str>, ask: &Ask<'_>) -> Match {
        self.find_from(ROOT, path, ask)
    }

    /// The depth of the calls is that of the patterns, so a long path does not recurse further than the configuration does.
    fn find_from(&self, at: usize, mut rest: Option<&str>, ask: &Ask<'_>) -> Match {
        let mut node = &self.nodes[at];
        // The last on the way goes before those above it, since what a node cannot go before is not below it.
        let mut below = NOBODY;
        loop {
            below = if node.below == NOBODY { below } else { node.below };
            let Some(path) = rest else { break };
            let (segment, behind) = match memchr::memchr(b'/', path.as_bytes()) {
                Some(end) => (&path[..end], Some(&path[end + 1..])),
                None => (path, None),
            };
            let Some(next) = node.literals.get(segment).copied().or(node.parameter) else {
                return pick(&self.groups[below], ask);
            };
            (node, rest) = (&self.nodes[next], behind);
            if !node.parts.is_empty() {
                let mut found = node.parts.iter().map(|part| self.find_from(*part, rest, ask));
                let found = found.find(|found| *found != Match::None);
                return found.unwrap_or_else(|| pick(&self.groups[below], ask));
            }
        }
        let group = if node.exact == NOBODY { below } else { node.exact };
        pick(&self.groups[group], ask)
    }

    /// How many nodes there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Nodes whose parts are tried one after the other.
    #[cfg(test)]
    pub(super) fn parted(&self) -> usize {
        self.nodes.iter().filter(|node| !node.parts.is_empty()).count()
    }
}

/// What is different in a tree whose parameters lie under its literals.
#[derive(Default)]
struct Made {
    /// Other literals of nodes that are there.
    literals: Vec<(usize, Map<Arc<str>, usize>)>,
    /// Nodes behind those that are there.
    nodes: Vec<Node>,
}

/// Makes nodes that stand for several. Such a set is in the order in which its nodes are asked, which is that of the patterns.
struct Merger<'t> {
    nodes: &'t [Node],
    ways_left: usize,
    made: Made,
    /// The node of each set.
    known: Map<Box<[usize]>, usize>,
    /// Whether a node can be come to alone.
    is_reached: Vec<bool>,
    /// Nodes that can be come to, and sets whose nodes are still to be made.
    alone: Vec<usize>,
    open: VecDeque<(usize, Box<[usize]>)>,
}

impl<'t> Merger<'t> {
    fn new(nodes: &'t [Node], ways_left: usize) -> Self {
        let is_reached = vec![false; nodes.len()];
        let (made, known, open) = (Made::default(), Map::default(), VecDeque::new());
        Self { nodes, ways_left, made, known, is_reached, alone: Vec::new(), open }
    }

    fn run(mut self) -> Made {
        self.reach(ROOT);
        loop {
            if let Some(at) = self.alone.pop() {
                self.go_on_from(at);
            } else if let Some((at, set)) = self.open.pop_front() {
                let made = self.node(&set);
                self.made.nodes[at] = made;
            } else {
                return self.made;
            }
        }
    }

    fn reach(&mut self, at: usize) {
        if !std::mem::replace(&mut self.is_reached[at], true) {
            self.alone.push(at);
        }
    }

    fn go_on_from(&mut self, at: usize) {
        let node = &self.nodes[at];
        if let Some(parameter) = node.parameter {
            self.reach(parameter);
            if !node.literals.is_empty() {
                let literals = self.literals(&[at]);
                self.made.literals.push((at, literals));
            }
        } else {
            node.literals.values().for_each(|child| self.reach(*child));
        }
    }

    fn node(&mut self, set: &[usize]) -> Node {
        let mut ends = set.iter().flat_map(|part| [self.nodes[*part].exact, self.nodes[*part].below]);
        Node {
            exact: ends.find(|group| *group != NOBODY).unwrap_or(NOBODY),
            // A set ends with the first that has any.
            below: set.last().map_or(NOBODY, |last| self.nodes[*last].below),
            literals: self.literals(set),
            parameter: self.next(set, None),
            parts: Box::default(),
        }
    }

    /// The ways on from a set by literals.
    fn literals(&mut self, set: &[usize]) -> Map<Arc<str>, usize> {
        let mut ways = Map::default();
        for part in set {
            for name in self.nodes[*part].literals.keys() {
                if !ways.contains_key(name)
                    && let Some(next) = self.next(set, Some(name))
                {
                    ways.insert(Arc::clone(name), next);
                }
            }
        }
        ways
    }

    /// Where a segment leads from a set: a known literal, or any other one.
    fn next(&mut self, set: &[usize], segment: Option<&str>) -> Option<usize> {
        let mut next = Vec::new();
        for part in set {
            let node = &self.nodes[*part];
            let literal = segment.and_then(|text| node.literals.get(text).copied());
            for child in literal.into_iter().chain(node.parameter) {
                next.push(child);
                if self.nodes[child].below != NOBODY {
                    return Some(self.node_of(next));
                }
            }
        }
        (!next.is_empty()).then(|| self.node_of(next))
    }

    fn node_of(&mut self, set: Vec<usize>) -> usize {
        if let [one] = set[..] {
            self.reach(one);
            return one;
        }
        let set = set.into_boxed_slice();
        if let Some(known) = self.known.get(&set) {
            return *known;
        }
        let ways = set.iter().map(|part| self.nodes[*part].literals.len() + 1).sum();
        let made = self.made.nodes.len();
        let at = self.nodes.len() + made;
        self.known.insert(set.clone(), at);
        if let Some(left) = self.ways_left.checked_sub(ways) {
            self.ways_left = left;
            self.made.nodes.push(Node::default());
            self.open.push_back((made, set));
        } else {
            set.iter().for_each(|part| self.reach(*part));
            self.made.nodes.push(Node { parts: set, ..Node::default() });
        }
        at
    }
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
