//! Sets of request methods.

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

    /// Whether the set has no method but these.
    pub(crate) fn is_within(self, methods: &[Method]) -> bool {
        self.0 & !methods.iter().fold(0, |all, method| all | bit(method)) == 0
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names, or that it is every one.
    #[must_use]
    pub fn shown(self) -> String {
        if self.is_any() { "any method".to_owned() } else { self.to_string() }
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
