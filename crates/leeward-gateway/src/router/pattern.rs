//! Path patterns: literals and `{parameters}`.

use std::cmp::Ordering;

/// One segment of a pattern.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Segment {
    Literal(Box<str>),
    /// The name does not count when patterns are compared: both match the same paths.
    Parameter,
}

/// A path pattern: literals and `{parameters}`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Pattern {
    text: Box<str>,
    pub(super) segments: Vec<Segment>,
    /// The parameters' names and which segment each is, in the order of the path.
    parameters: Vec<(Box<str>, usize)>,
    pub(super) exact: bool,
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
    /// One name for two segments.
    #[error("has the parameter `{0}` twice")]
    Twice(String),
}

impl Pattern {
    /// Parses `/orders/{id}/lines`. A final slash means nothing.
    ///
    /// # Errors
    /// A pattern that no canonical path can match, or one with two parameters of the same name.
    pub fn parse(text: &str, exact: bool) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut pattern = Self { text: text.into(), segments: Vec::new(), parameters: Vec::new(), exact };
        let parts = rest.split('/').filter(|_| !rest.is_empty());
        for (at, part) in parts.enumerate() {
            let Some(name) = parameter(part) else {
                pattern.segments.push(literal(part)?);
                continue;
            };
            if pattern.parameter(name).is_some() {
                return Err(PatternError::Twice(name.to_owned()));
            }
            pattern.parameters.push((name.into(), at));
            pattern.segments.push(Segment::Parameter);
        }
        Ok(pattern)
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

    /// Whether both match the same paths, names of parameters aside.
    #[must_use]
    pub fn same_paths(&self, other: &Self) -> bool {
        self.exact == other.exact && self.segments == other.segments
    }

    /// Whether every path of the other lies below this one, and is not its own.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let is_within = |(own, other): (&Segment, &Segment)| *own == Segment::Parameter || own == other;
        !self.exact
            && self.segments.len() < other.segments.len()
            && self.segments.iter().zip(&other.segments).all(is_within)
    }

    /// How many segments of a path it names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether it names none: `/`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Which segment of a path, from 0, the parameter of this name is.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<usize> {
        self.parameters.iter().find(|(known, _)| **known == *name).map(|(_, at)| *at)
    }

    /// The names of its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|(name, _)| &**name)
    }

    /// The same text for patterns that match the same paths, and for no others.
    #[must_use]
    pub fn shape(&self) -> String {
        let mut shape = String::with_capacity(self.text.len() + 2);
        for segment in &self.segments {
            shape.push('/');
            shape.push_str(match segment {
                Segment::Literal(text) => text,
                Segment::Parameter => "{}",
            });
        }
        // No literal has a brace, so that nothing else ends like this.
        shape.push_str(if self.exact { "{exact}" } else { "" });
        shape
    }

    /// Whether a canonical path matches.
    pub(super) fn matches(&self, path: &str) -> bool {
        let mut parts = segments(path);
        let named = self.segments.iter().all(|segment| match (segment, parts.next()) {
            (_, None) => false,
            (Segment::Parameter, Some(_)) => true,
            (Segment::Literal(text), Some(part)) => **text == *part,
        });
        named && (!self.exact || parts.next().is_none())
    }

    /// Of two patterns that match the same path, the one that is `Less` goes before the other.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let kinds = |pattern: &Self| {
            let end = if pattern.exact { Kind::ExactEnd } else { Kind::End };
            let kind = |segment: &Segment| match segment {
                Segment::Literal(_) => Kind::Literal,
                Segment::Parameter => Kind::Parameter,
            };
            pattern.segments.iter().map(kind).chain([end]).collect::<Vec<_>>()
        };
        kinds(self).cmp(&kinds(other))
    }
}

/// What a pattern has at one place, in the order in which the router tries it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Literal,
    Parameter,
    ExactEnd,
    End,
}

/// The segments of a canonical path; a final slash opens none.
pub fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').filter(move |_| !path.is_empty())
}

/// The name in `{name}`.
pub(crate) fn parameter(part: &str) -> Option<&str> {
    let name = part.strip_prefix('{')?.strip_suffix('}')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then_some(name)
}

fn literal(part: &str) -> Result<Segment, PatternError> {
    let plain = part.bytes().all(is_plain);
    if plain && !matches!(part, "" | "." | "..") {
        Ok(Segment::Literal(part.into()))
    } else {
        Err(PatternError::Segment(part.to_owned()))
    }
}

/// What a canonical path has unescaped.
pub(crate) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn patterns_that_cannot_match_are_refused() {
        assert_eq!(Pattern::parse("orders", false), Err(PatternError::NotAbsolute));
        for bad in ["/a//b", "/a/../b", "/a/{", "/a/{}", "/a/b%20c", "/a/b c", "/a/x{b}"] {
            assert!(matches!(Pattern::parse(bad, false), Err(PatternError::Segment(_))), "{bad}");
        }
        assert_eq!(Pattern::parse("/{a}/{a}", false), Err(PatternError::Twice("a".to_owned())));
    }

    #[test]
    fn the_shape_tells_patterns_of_the_same_paths_from_others() {
        let shape = |text, exact| Pattern::parse(text, exact).unwrap().shape();
        assert_eq!(shape("/a/{b}/c", false), shape("/a/{x}/c/", false));
        assert_ne!(shape("/a", false), shape("/a", true));
        assert_ne!(shape("/a/b", false), shape("/a/{b}", false));
    }

    #[test]
    fn parameters_are_known_by_their_segment() {
        let pattern = Pattern::parse("/a/{b}/c/{d}", true).unwrap();
        assert_eq!(
            (pattern.parameter("b"), pattern.parameter("d"), pattern.parameter("a")),
            (Some(1), Some(3), None)
        );
        assert_eq!(segments("/a/%20/c/").collect::<Vec<_>>(), ["a", "%20", "c"]);
        assert_eq!(segments("/").count(), 0);
    }
}
