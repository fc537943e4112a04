//! Paths with places for what a route's path captured.

use std::borrow::Cow;
use std::fmt;

use crate::path::{self, EncodedSlash};
use crate::router::{Pattern, is_plain, parameter, segments};

/// A path as `/v2/items/{id}.json`, which stands in the place of the segments that a pattern names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    text: Box<str>,
    parts: Vec<Part>,
    /// How many segments of the request's path it stands for.
    replaced: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(Box<str>),
    /// The segment of the request's path at this place, from 0.
    Segment(usize),
}

/// Why a template is not one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TemplateError {
    /// It does not start with a slash.
    #[error("does not start with a slash")]
    NotAbsolute,
    /// A brace without its other half, or a name that is none.
    #[error("has a brace that belongs to no `{{parameter}}`")]
    Brace,
    /// The route's path has no such parameter.
    #[error("has `{{{0}}}`, which the route's path does not name")]
    Unknown(String),
    /// A character that a canonical path has escaped, or a segment that it has not.
    #[error("would never be a canonical path")]
    NotCanonical,
    /// Neither http nor https.
    #[error("has a scheme that is neither http nor https")]
    Scheme,
    /// A host that is none.
    #[error("has a host that is neither a name nor an address, nor `{{host}}`")]
    Host,
}

impl Template {
    /// Parses one for the routes of this pattern. A final slash means nothing.
    ///
    /// # Errors
    /// What could never be a canonical path, and parameters that the pattern does not have.
    pub fn parse(text: &str, pattern: &Pattern) -> Result<Self, TemplateError> {
        if !text.starts_with('/') {
            return Err(TemplateError::NotAbsolute);
        }
        let (mut parts, mut rest) = (Vec::new(), text.trim_end_matches('/'));
        while !rest.is_empty() {
            let open = rest.find('{').unwrap_or(rest.len());
            let (literal, behind) = rest.split_at(open);
            if literal.contains('}') {
                return Err(TemplateError::Brace);
            }
            if !literal.bytes().all(|byte| byte == b'/' || is_plain(byte)) {
                return Err(TemplateError::NotCanonical);
            }
            if !literal.is_empty() {
                parts.push(Part::Text(literal.into()));
            }
            let Some(end) = behind.find('}').map(|at| at + 1) else {
                if behind.is_empty() {
                    break;
                }
                return Err(TemplateError::Brace);
            };
            let name = parameter(&behind[..end]).ok_or(TemplateError::Brace)?;
            let at = pattern.parameter(name).ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
            parts.push(Part::Segment(at));
            rest = &behind[end..];
        }
        let template = Self { text: text.into(), parts, replaced: pattern.len() };
        // With a letter in each place it must be a path that stays as it is.
        let tried = template.filled(&"/x".repeat(pattern.len()));
        match path::canonical(&tried, EncodedSlash::Refuse) {
            Ok(same) if *same == *tried => Ok(template),
            _ => Err(TemplateError::NotCanonical),
        }
    }

    /// What becomes of a canonical path that the pattern matches.
    ///
    /// # Errors
    /// What would not be canonical, such as a `%25` that came before digits of the template.
    pub(crate) fn rewritten(&self, path: &str, slash: EncodedSlash) -> Result<String, path::Error> {
        let new = self.filled(path);
        match path::canonical(&new, slash)? {
            Cow::Owned(other) if other != new => Err(path::Error::EscapedTwice),
            _ => Ok(new),
        }
    }

    fn filled(&self, path: &str) -> String {
        let mut new = String::with_capacity(self.text.len() + path.len());
        for part in &self.parts {
            new.push_str(match part {
                Part::Text(text) => text,
                Part::Segment(at) => segments(path).nth(*at).unwrap_or_default(),
            });
        }
        new.push_str(below(path, self.replaced));
        if new.is_empty() {
            new.push('/');
        }
        new
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is left of a path behind so many segments, with the slash before it.
fn below(path: &str, segments: usize) -> &str {
    let mut slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at);
    slashes.nth(segments).map_or("", |at| &path[at..])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn template(pattern: &str, text: &str) -> Result<Template, TemplateError> {
        Template::parse(text, &Pattern::parse(pattern, false).unwrap())
    }

    #[test]
    fn what_the_path_names_is_replaced_and_what_is_below_stays() {
        for (pattern, text, path, new) in [
            ("/a", "/b", "/a", "/b"),
            ("/a", "/b/", "/a/c/d", "/b/c/d"),
            ("/a", "/", "/a", "/"),
            ("/a", "/", "/a/", "/"),
            ("/a", "/", "/a/c", "/c"),
            ("/", "/b", "/", "/b/"),
            ("/", "/b", "/c/", "/b/c/"),
            ("/a/{x}/{y}", "/{y}/v-{x}.json", "/a/1/2/3", "/2/v-1.json/3"),
            ("/a/{x}", "/b/{x}{x}", "/a/%C3%A9", "/b/%C3%A9%C3%A9"),
        ] {
            let template = template(pattern, text).unwrap();
            assert_eq!(
                template.rewritten(path, EncodedSlash::Refuse).as_deref(),
                Ok(new),
                "{pattern} {text} {path}"
            );
        }
    }

    #[test]
    fn what_could_not_be_sent_is_refused() {
        for (text, why) in [
            ("b", TemplateError::NotAbsolute),
            ("/b//c", TemplateError::NotCanonical),
            ("/b/../c", TemplateError::NotCanonical),
            ("/b/%41", TemplateError::NotCanonical),
            ("/b?c", TemplateError::NotCanonical),
            ("/b;c", TemplateError::NotCanonical),
            ("/{y}", TemplateError::Unknown("y".to_owned())),
            ("/{x", TemplateError::Brace),
            ("/x}", TemplateError::Brace),
            ("/{}", TemplateError::Brace),
        ] {
            assert_eq!(template("/a/{x}", text), Err(why), "{text}");
        }
        // Neither half is wrong by itself.
        let joined = template("/a/{x}", "/b/{x}2F").unwrap();
        assert_eq!(joined.rewritten("/a/%25", EncodedSlash::Keep), Err(path::Error::EscapedTwice));
        assert!(joined.rewritten("/a/1", EncodedSlash::Keep).is_ok());
    }

    proptest! {
        /// What is sent has one form, whatever was captured.
        #[test]
        fn a_rewritten_path_is_canonical(
            parts in prop::collection::vec(prop::sample::select(vec!["a", ".b", "..c", "%25", "%2F", "%C3%A9", "2e", "~", "...", "%2e"]), 1..5),
            text in prop::sample::select(vec!["/{x}2F", "/.{x}", "/a/{x}.", "/{x}{x}", "/", "/v2"]),
        ) {
            let raw = format!("/{}", parts.join("/"));
            let Ok(path) = path::canonical(&raw, EncodedSlash::Keep) else { return Ok(()) };
            if let Ok(new) = template("/{x}", text).unwrap().rewritten(&path, EncodedSlash::Keep) {
                let again = path::canonical(&new, EncodedSlash::Keep);
                prop_assert_eq!(again.as_deref(), Ok(new.as_str()));
            }
        }
    }
}
