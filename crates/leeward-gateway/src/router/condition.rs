//! Conditions on headers, query parameters and cookies, by which routes of one path are told apart.
//!
//! A comparison costs a scan of the header, the query or the cookies, and nothing else: there are no regular expressions here,
//! since those of a library that is bounded in time share their memory between cores under a lock.
//!
//! A value that a request gives twice satisfies no comparison: of two headers, parameters or cookies of one name, the service
//! may believe another one than the gateway does. Names and values of the query are compared unescaped, so that another spelling
//! is not another value.

use std::fmt;

use http::header::{self, HeaderMap, HeaderName};

use super::Ask;
use crate::path::hex;

/// What is looked at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum On {
    /// A header.
    Header(Name),
    /// A parameter of the query.
    Query(Box<str>),
    /// A cookie.
    Cookie(Box<str>),
}

/// A header's name, ordered by its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name(pub HeaderName);

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

/// What is asked of it. The order is that in which routes go before each other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Test {
    /// It is there once, and this.
    Exact(Box<str>),
    /// It is there once, and begins with this.
    Prefix(Box<str>),
    /// It is there.
    Present,
    /// It is not.
    Absent,
}

/// One condition.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Condition {
    /// What is looked at.
    pub on: On,
    /// What is asked of it.
    pub test: Test,
}

/// All conditions of a route; every one must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Conditions(Box<[Condition]>);

impl Conditions {
    /// In an order of their own, so that the same conditions are equal.
    #[must_use]
    pub fn new(mut conditions: Vec<Condition>) -> Self {
        conditions.sort_unstable();
        Self(conditions.into())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Condition> {
        self.0.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first one that does not hold.
    pub(super) fn unmet(&self, ask: &Ask<'_>) -> Option<&Condition> {
        self.0.iter().find(|condition| !condition.holds(ask.query, ask.headers))
    }

    /// Whether all of them hold.
    pub(crate) fn hold(&self, query: Option<&str>, headers: &HeaderMap) -> bool {
        self.0.iter().all(|condition| condition.holds(query, headers))
    }

    /// The lower, the earlier it is tried: more conditions first, then stricter ones.
    pub(super) fn rank(&self) -> (std::cmp::Reverse<usize>, usize) {
        let looseness = |condition: &Condition| match condition.test {
            Test::Exact(_) => 0,
            Test::Prefix(_) => 1,
            Test::Present | Test::Absent => 2,
        };
        (std::cmp::Reverse(self.0.len()), self.0.iter().map(looseness).sum())
    }
}

impl Condition {
    fn holds(&self, query: Option<&str>, map: &HeaderMap) -> bool {
        match &self.on {
            On::Header(name) => self.test.holds(headers(map, &name.0)),
            On::Query(name) => self.test.holds(parameters(query, name)),
            On::Cookie(name) => self.test.holds(cookies(map, name)),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.on {
            On::Header(name) => write!(f, "header {}", name.0)?,
            On::Query(name) => write!(f, "query {name}")?,
            On::Cookie(name) => write!(f, "cookie {name}")?,
        }
        match &self.test {
            Test::Exact(text) => write!(f, " = {text}"),
            Test::Prefix(text) => write!(f, " = {text}..."),
            Test::Present => f.write_str(" is there"),
            Test::Absent => f.write_str(" is absent"),
        }
    }
}

impl Test {
    fn holds<'a>(&self, mut values: impl Iterator<Item = Value<'a>>) -> bool {
        let first = values.next();
        match (self, first) {
            (Self::Absent, first) => first.is_none(),
            (Self::Present, first) => first.is_some(),
            (_, None) => false,
            (Self::Exact(text), Some(value)) => value.bytes().eq(text.bytes()) && values.next().is_none(),
            (Self::Prefix(text), Some(value)) => {
                let mut bytes = value.bytes();
                text.bytes().all(|byte| bytes.next() == Some(byte)) && values.next().is_none()
            }
        }
    }
}

/// A value as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Plain(&'a [u8]),
    Escaped(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Its bytes, as they came.
    pub(crate) fn raw(self) -> &'a [u8] {
        match self {
            Self::Plain(raw) | Self::Escaped(raw) => raw,
        }
    }

    /// Its bytes, unescaped.
    pub(crate) fn bytes(self) -> impl Iterator<Item = u8> + use<'a> {
        match self {
            Self::Plain(raw) => Bytes { raw, is_escaped: false },
            Self::Escaped(raw) => Bytes { raw, is_escaped: true },
        }
    }
}

struct Bytes<'a> {
    raw: &'a [u8],
    is_escaped: bool,
}

impl Iterator for Bytes<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.raw.split_first()?;
        self.raw = rest;
        match (byte, rest) {
            (b'+', _) if self.is_escaped => Some(b' '),
            (b'%', [high, low, rest @ ..]) if self.is_escaped => {
                let Some(byte) = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low) else {
                    return Some(b'%');
                };
                self.raw = rest;
                Some(byte)
            }
            _ => Some(byte),
        }
    }
}

/// The lines of a header.
pub(crate) fn headers<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Value<'a>> {
    headers.get_all(name).iter().map(|value| Value::Plain(value.as_bytes()))
}

/// The values of a parameter.
pub(crate) fn parameters<'a>(query: Option<&'a str>, name: &str) -> impl Iterator<Item = Value<'a>> {
    let pairs = query.unwrap_or_default().split('&');
    pairs.filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_it = Value::Escaped(key.as_bytes()).bytes().eq(name.bytes());
        (is_it && !pair.is_empty()).then_some(Value::Escaped(value.as_bytes()))
    })
}

/// The values of a cookie (RFC 6265, 5.4; HTTP/2 may send the header in several lines).
pub(crate) fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = Value<'a>> {
    let pairs =
        headers.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        (key == name.as_bytes()).then_some(Value::Plain(value))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn texts<'a>(values: impl Iterator<Item = Value<'a>>) -> Vec<String> {
        values.map(|value| String::from_utf8(value.bytes().collect()).unwrap()).collect()
    }

    #[test]
    fn a_parameter_is_the_same_in_every_spelling() {
        for (query, values) in [
            ("v=2", vec!["2"]),
            ("a=1&v=2&b", vec!["2"]),
            ("%76=%32", vec!["2"]),
            ("v", vec![""]),
            ("v=a+b%20c%", vec!["a b c%"]),
            ("v=1&v=2", vec!["1", "2"]),
            ("vv=1&&V=2", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(texts(parameters(Some(query), "v")), values, "{query}");
        }
        assert!(texts(parameters(None, "v")).is_empty());
    }

    #[test]
    fn cookies_are_found_in_every_line() {
        let mut map = HeaderMap::new();
        map.append(header::COOKIE, "a=1; side=green;b".parse().unwrap());
        map.append(header::COOKIE, "aside=x;side = blue ".parse().unwrap());
        assert_eq!(texts(cookies(&map, "side")), ["green", "blue"]);
        assert_eq!(texts(cookies(&map, "b")), [""; 0]);
    }

    #[test]
    fn what_is_given_twice_compares_with_nothing() {
        let of = |values: &[&'static str]| {
            let values: Vec<_> = values.iter().map(|text| Value::Plain(text.as_bytes())).collect();
            [Test::Exact("ab".into()), Test::Prefix("a".into()), Test::Present, Test::Absent]
                .map(|test| test.holds(values.iter().copied()))
        };
        assert_eq!(of(&["ab"]), [true, true, true, false]);
        assert_eq!(of(&["abc"]), [false, true, true, false]);
        assert_eq!(of(&["b"]), [false, false, true, false]);
        assert_eq!(of(&["ab", "ab"]), [false, false, true, false]);
        assert_eq!(of(&[]), [false, false, false, true]);
    }
}
