//! Which route a request takes: a tree over the segments of the canonical path.
//!
//! The rule: a pattern matches its own path and everything below it, on segment boundaries (`/orders` matches
//! `/orders/7`, never `/orders-old`); an exact pattern matches only itself. At each segment a literal goes before a
//! `{parameter}`, and the longest pattern decides. Its methods then allow the request or answer 405: a request is
//! never handed on to a shorter pattern, because that one may have a weaker access rule.

use std::collections::HashMap;
use std::fmt;

use http::Method;

/// A set of request methods. `HEAD` is in it wherever `GET` is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Methods(u16);

const NAMED: [(&str, u16); 7] =
    [("GET", 1), ("HEAD", 2), ("POST", 4), ("PUT", 8), ("PATCH", 16), ("DELETE", 32), ("OPTIONS", 64)];
const OTHER: u16 = 1 << 15;

impl Methods {
    /// Every method, also those that HTTP does not name, but `TRACE`: whoever answers that shows its caller the headers by which the
    /// gateway speaks to services.
    pub const ANY: Self = Self(u16::MAX);
    /// No method.
    pub const NONE: Self = Self(0);
    /// The names that a configuration may give.
    pub const NAMES: [&'static str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

    /// With the method of this name; `None` when HTTP does not know it.
    #[must_use]
    pub fn with(self, name: &str) -> Option<Self> {
        let bit = NAMED.iter().find(|(known, _)| *known == name)?.1;
        let head = if name == "GET" { 2 } else { 0 };
        Some(Self(self.0 | bit | head))
    }

    /// Whether the set has this method.
    #[must_use]
    pub fn contains(self, method: &Method) -> bool {
        self.0 & bit(method) != 0
    }

    /// Whether two sets share a method.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set is everything.
    #[must_use]
    pub fn is_any(self) -> bool {
        self == Self::ANY
    }

    fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names in the set, as the `Allow` header lists them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMED.iter().filter(move |(_, bit)| self.0 & bit != 0).map(|(name, _)| *name)
    }
}

fn bit(method: &Method) -> u16 {
    match *method {
        Method::GET => 1,
        Method::HEAD => 2,
        Method::POST => 4,
        Method::PUT => 8,
        Method::PATCH => 16,
        Method::DELETE => 32,
        Method::OPTIONS => 64,
        Method::TRACE => 0,
        _ => OTHER,
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.names().enumerate() {
            write!(f, "{}{name}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() { f.write_str("any") } else { fmt::Display::fmt(self, f) }
    }
}

/// One segment of a pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Segment {
    Literal(Box<str>),
    Parameter,
}

/// A path pattern: literals and `{parameters}`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Pattern {
    text: Box<str>,
    segments: Vec<Segment>,
    exact: bool,
}

/// Why a pattern is not one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatternError {
    /// It does not start with a slash.
    #[error("does not start with a slash")]
    NotAbsolute,
    /// An empty segment, a stray brace, a dot segment or an escape: it would never match a canonical path.
    #[error("has the segment `{0}`, which can never match")]
    Segment(String),
}

impl Pattern {
    /// Parses `/orders/{id}/lines`. A final slash means nothing.
    ///
    /// # Errors
    /// A pattern that no canonical path can match.
    pub fn parse(text: &str, exact: bool) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let segments = if rest.is_empty() {
            Vec::new()
        } else {
            rest.split('/').map(Self::segment).collect::<Result<_, _>>()?
        };
        Ok(Self { text: text.into(), segments, exact })
    }

    fn segment(part: &str) -> Result<Segment, PatternError> {
        if let Some(name) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}'))
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            return Ok(Segment::Parameter);
        }
        let plain = part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&b));
        if plain && !matches!(part, "" | "." | "..") {
            Ok(Segment::Literal(part.into()))
        } else {
            Err(PatternError::Segment(part.to_owned()))
        }
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether paths below it do not match.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// Whether every path of the other lies below this one, and is not its own.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let is_within = |(own, other): (&Segment, &Segment)| *own == Segment::Parameter || own == other;
        !self.exact
            && self.segments.len() < other.segments.len()
            && self.segments.iter().zip(&other.segments).all(is_within)
    }

    /// Whether both match the same paths, names of parameters aside.
    #[must_use]
    pub fn same_paths(&self, other: &Self) -> bool {
        self.exact == other.exact && self.segments == other.segments
    }
}

/// What the router says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    /// The route of this index.
    Route(usize),
    /// The path is known, the method is not: 405 with these in `Allow`.
    Method(Methods),
    /// No pattern matches: 404.
    None,
}

#[derive(Default, Debug)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    parameter: Option<Box<Node>>,
    exact: Vec<(Methods, usize)>,
    below: Vec<(Methods, usize)>,
}

/// The tree. Immutable once built; a new configuration builds a new one.
#[derive(Default, Debug)]
pub struct Router {
    root: Node,
}

impl Router {
    /// Over patterns with their methods; a route's index is its place in the list.
    #[must_use]
    pub fn new<'a>(routes: impl IntoIterator<Item = (&'a Pattern, Methods)>) -> Self {
        let mut root = Node::default();
        for (index, (pattern, methods)) in routes.into_iter().enumerate() {
            let mut node = &mut root;
            for segment in &pattern.segments {
                node = match segment {
                    Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                    Segment::Parameter => node.parameter.get_or_insert_default(),
                };
            }
            if pattern.exact { &mut node.exact } else { &mut node.below }.push((methods, index));
        }
        Self { root }
    }

    /// The route of a canonical path.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Match {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        find(&self.root, (!path.is_empty()).then_some(path), method)
    }
}

/// Literal first, then the parameter, then what stands at this node for everything below it. The depth is that of
/// the patterns, so a long path does not recurse further than the configuration does.
fn find(node: &Node, rest: Option<&str>, method: &Method) -> Match {
    let Some(rest) = rest else {
        return match pick(&node.exact, method) {
            Match::None => pick(&node.below, method),
            found => found,
        };
    };
    let (segment, rest) = match rest.split_once('/') {
        Some((segment, rest)) => (segment, Some(rest)),
        None => (rest, None),
    };
    if let Some(child) = node.literals.get(segment) {
        match find(child, rest, method) {
            Match::None => {}
            found => return found,
        }
    }
    if let Some(child) = &node.parameter {
        match find(child, rest, method) {
            Match::None => {}
            found => return found,
        }
    }
    pick(&node.below, method)
}

fn pick(routes: &[(Methods, usize)], method: &Method) -> Match {
    // A route that names the method goes before one that takes any.
    let named = routes.iter().find(|(methods, _)| !methods.is_any() && methods.contains(method));
    let found = named.or_else(|| routes.iter().find(|(methods, _)| methods.contains(method)));
    match found {
        Some((_, index)) => Match::Route(*index),
        None if routes.is_empty() => Match::None,
        None => Match::Method(routes.iter().fold(Methods::NONE, |all, (methods, _)| all.union(*methods))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn router(routes: &[(&str, &[&str], bool)]) -> Router {
        let parsed: Vec<(Pattern, Methods)> = routes
            .iter()
            .map(|(path, methods, exact)| {
                let set = methods.iter().fold(Methods::NONE, |set, name| set.with(name).unwrap());
                let set = if methods.is_empty() { Methods::ANY } else { set };
                (Pattern::parse(path, *exact).unwrap(), set)
            })
            .collect();
        Router::new(parsed.iter().map(|(pattern, methods)| (pattern, *methods)))
    }

    #[test]
    fn the_longest_pattern_on_segment_boundaries_decides() {
        let router = router(&[
            ("/api", &[], false),
            ("/api/orders", &[], false),
            ("/api/orders/{id}/lines", &[], false),
            ("/api/orders/mine", &[], true),
            ("/tracking/{code}", &["GET"], false),
        ]);
        for (path, want) in [
            ("/api", Match::Route(0)),
            ("/api/orders-old", Match::Route(0)),
            ("/api/orders", Match::Route(1)),
            ("/api/orders/", Match::Route(1)),
            ("/api/orders/7", Match::Route(1)),
            ("/api/orders/7/lines/2", Match::Route(2)),
            ("/api/orders/mine", Match::Route(3)),
            ("/api/orders/mine/lines", Match::Route(2)),
            ("/tracking/AB12", Match::Route(4)),
            ("/tracking", Match::None),
            ("/", Match::None),
            ("/ap", Match::None),
        ] {
            assert_eq!(router.find(&Method::GET, path), want, "{path}");
        }
    }

    #[test]
    fn a_method_never_falls_through_to_a_shorter_pattern() {
        let router =
            router(&[("/", &[], false), ("/products", &["GET"], false), ("/products", &["POST"], false)]);
        assert_eq!(router.find(&Method::GET, "/products/1"), Match::Route(1));
        assert_eq!(router.find(&Method::HEAD, "/products/1"), Match::Route(1));
        assert_eq!(router.find(&Method::POST, "/products"), Match::Route(2));
        let Match::Method(allow) = router.find(&Method::DELETE, "/products/1") else { panic!("405") };
        assert_eq!(allow.to_string(), "GET, HEAD, POST");
        assert_eq!(router.find(&Method::DELETE, "/other"), Match::Route(0));
        assert_eq!(
            router.find(&Method::TRACE, "/other"),
            Match::Method(Methods::ANY),
            "never, also where any method goes"
        );
    }

    #[test]
    fn a_named_method_goes_before_any() {
        let router = router(&[("/a", &[], false), ("/a", &["POST"], false)]);
        assert_eq!(router.find(&Method::POST, "/a"), Match::Route(1));
        assert_eq!(router.find(&Method::GET, "/a"), Match::Route(0));
    }

    #[test]
    fn patterns_that_cannot_match_are_refused() {
        assert_eq!(Pattern::parse("orders", false), Err(PatternError::NotAbsolute));
        for bad in ["/a//b", "/a/../b", "/a/{", "/a/{}", "/a/b%20c", "/a/b c"] {
            assert!(matches!(Pattern::parse(bad, false), Err(PatternError::Segment(_))), "{bad}");
        }
    }
}
