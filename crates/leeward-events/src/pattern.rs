//! Which kinds of event somebody wants: exact names and wildcards.

use std::fmt;
use std::sync::Arc;

/// Most patterns in one subscription: each is compared with each event that passes.
pub const PATTERNS_MAX: usize = 64;

/// Longest kind or pattern in bytes: it travels in URLs and stands in index rows.
pub const KIND_BYTES_MAX: usize = 200;

/// A kind is dot-separated segments of letters, digits, `_` and `-`: `order.placed`, `command.inventory.reserve_stock`.
///
/// In a pattern a segment `*` stands for exactly one segment, and `**`, which may only come last, for one or more: `order.*` takes
/// `order.placed` but not `order.line.added`, `order.**` takes both, `**` takes everything.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Arc<str>,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    /// No wildcard: a comparison of bytes.
    Exact,
    /// `**` alone.
    All,
    /// Wildcards among the segments.
    Segments,
}

/// Why a pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The pattern is no dot-separated list of segments.
    #[error(
        "`{pattern}` is no pattern: {reason}; write segments joined by dots, such as `order.placed`, `order.*` or `order.**`"
    )]
    Syntax {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More patterns than [`PATTERNS_MAX`].
    #[error("{given} patterns in one subscription, at most {PATTERNS_MAX} are taken: use wildcards")]
    TooMany {
        /// How many were given.
        given: usize,
    },
    /// A subscription without any pattern would never deliver anything.
    #[error("a subscription needs at least one pattern; `**` takes every event")]
    None,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`Error::Syntax`]: an empty segment, a character outside letters, digits, `_` and `-`, `**` before the end, or more than
    /// [`KIND_BYTES_MAX`] bytes.
    pub fn new(text: &str) -> Result<Self, Error> {
        let refuse =
            |reason| Err(Error::Syntax { pattern: text.chars().take(KIND_BYTES_MAX).collect(), reason });
        if text.len() > KIND_BYTES_MAX {
            return refuse("it is longer than 200 bytes");
        }
        let mut wild = false;
        let mut ended = false;
        for segment in text.split('.') {
            if ended {
                return refuse("`**` may only come last");
            }
            match segment {
                "*" => wild = true,
                "**" => (wild, ended) = (true, true),
                plain if is_segment(plain) => {}
                "" => return refuse("it has an empty segment"),
                _ => return refuse("a segment has characters other than letters, digits, `_` and `-`"),
            }
        }
        let form = match (wild, text) {
            (false, _) => Form::Exact,
            (true, "**") => Form::All,
            (true, _) => Form::Segments,
        };
        Ok(Self { text: text.into(), form })
    }

    /// Whether an event of this kind is wanted.
    #[must_use]
    pub fn matches(&self, kind: &str) -> bool {
        match self.form {
            Form::Exact => *self.text == *kind,
            Form::All => true,
            Form::Segments => segments_match(&self.text, kind),
        }
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it names one kind and no other.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.form == Form::Exact
    }
}

fn segments_match(pattern: &str, kind: &str) -> bool {
    let mut given = kind.split('.');
    for wanted in pattern.split('.') {
        let Some(segment) = given.next() else { return false };
        match wanted {
            "**" => return true,
            "*" => {}
            plain if plain == segment => {}
            _ => return false,
        }
    }
    given.next().is_none()
}

/// Whether `kind` can be the kind of an event: dot-separated segments, no wildcard, at most [`KIND_BYTES_MAX`] bytes.
#[must_use]
pub fn is_kind(kind: &str) -> bool {
    kind.len() <= KIND_BYTES_MAX && kind.split('.').all(is_segment)
}

fn is_segment(segment: &str) -> bool {
    !segment.is_empty()
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The patterns of one subscription: between one and [`PATTERNS_MAX`]. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns(Arc<[Pattern]>);

impl Patterns {
    /// Reads a list of patterns; a repeated one is taken once.
    ///
    /// # Errors
    /// As [`Pattern::new`] for each; [`Error::None`] for an empty list, [`Error::TooMany`] past [`PATTERNS_MAX`].
    pub fn new<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        let mut list: Vec<Pattern> = Vec::new();
        for text in texts {
            let pattern = Pattern::new(text.as_ref())?;
            if !list.contains(&pattern) {
                list.push(pattern);
            }
        }
        match list.len() {
            0 => Err(Error::None),
            given if given > PATTERNS_MAX => Err(Error::TooMany { given }),
            _ => Ok(Self(list.into())),
        }
    }

    /// Every event.
    #[must_use]
    pub fn all() -> Self {
        Self(Arc::new([Pattern { text: "**".into(), form: Form::All }]))
    }

    /// Whether any of the patterns takes the kind.
    #[must_use]
    pub fn matches(&self, kind: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(kind))
    }

    /// The patterns in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter()
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pattern) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(&pattern.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_pattern_takes() {
        for (pattern, kind, taken) in [
            ("order.placed", "order.placed", true),
            ("order.placed", "order.placed.twice", false),
            ("order.*", "order.placed", true),
            ("order.*", "order", false),
            ("order.*", "order.line.added", false),
            ("order.*", "orders.placed", false),
            ("order.**", "order.line.added", true),
            ("order.**", "order", false),
            ("*.placed", "order.placed", true),
            ("*.placed", "order.line.placed", false),
            ("command.inventory.*", "command.inventory.reserve_stock", true),
            ("command.inventory.*", "command.shipping.reserve_stock", false),
            ("command.*.create-it", "command.shipping.create-it", true),
            ("**", "anything", true),
            ("*", "order.placed", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(kind), taken, "{pattern} on {kind}");
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for text in ["", ".", "a..b", "a.", "order.pla*", "**.placed", "a b", "a/b", &"x".repeat(201)] {
            assert!(matches!(Pattern::new(text), Err(Error::Syntax { .. })), "{text}");
        }
        assert_eq!(Patterns::new(Vec::<String>::new()), Err(Error::None));
        assert_eq!(Patterns::new((0..65).map(|n| format!("k{n}"))), Err(Error::TooMany { given: 65 }));
        assert_eq!(Patterns::new(["a.*", "a.*"]).unwrap().iter().count(), 1);
    }

    /// The rule of the type's documentation, segment lists taken one by one.
    fn naive(pattern: &[&str], kind: &[&str]) -> bool {
        match (pattern, kind) {
            ([], []) => true,
            (["**"], [_, ..]) => true,
            (["*", pattern @ ..], [_, kind @ ..]) => naive(pattern, kind),
            ([wanted, pattern @ ..], [given, kind @ ..]) => wanted == given && naive(pattern, kind),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_rule(
            pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*"]), 1..4),
            tail in any::<bool>(),
            kind in prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..5),
        ) {
            let mut pattern = pattern;
            if tail {
                pattern.push("**");
            }
            let taken = Pattern::new(&pattern.join(".")).unwrap().matches(&kind.join("."));
            prop_assert_eq!(taken, naive(&pattern, &kind));
        }
    }
}
