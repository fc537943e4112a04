use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::env::Env;

/// The largest secret: a private key in PEM with its chain is about 10 KiB.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;

pub(super) const ALLOWED: &str = "a reference, `env:NAME` or `file:PATH`";

/// A value that is never shown: its `Debug` is a placeholder and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a reference yields no secret. None of the texts holds the reference, since it may be the secret
/// itself, put in the wrong place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither `env:` nor `file:`.
    #[error("is not a reference; a secret does not stand in a configuration itself")]
    NotAReference,
    /// The variable is not set, or empty.
    #[error("names the environment variable {0}, which is not set")]
    NotSet(String),
    /// The file cannot be read as text.
    #[error("names the file {0}, which cannot be read: {1}")]
    Unreadable(PathBuf, #[source] io::Error),
    /// The file has nothing in it.
    #[error("names the file {0}, which is empty")]
    Empty(PathBuf),
    /// The file exceeds its bound, [`SECRET_BYTES_MAX`] for a secret.
    #[error("names the file {0}, which is larger than {1} bytes")]
    TooLarge(PathBuf, u64),
}

impl Secret {
    /// A secret that is known already.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, at the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Follows `env:NAME` or `file:PATH`. White space at a file's end is not part of the secret; a relative
    /// path starts at `folder`.
    ///
    /// # Errors
    /// Why there is no secret there.
    pub fn resolve(reference: &str, folder: &Path, env: &Env) -> Result<Self, Error> {
        if let Some(name) = reference.strip_prefix("env:") {
            return env.get(name).map(Self::new).ok_or_else(|| Error::NotSet(name.to_owned()));
        }
        let path = folder.join(reference.strip_prefix("file:").ok_or(Error::NotAReference)?);
        let mut text = read(&path, SECRET_BYTES_MAX)?;
        text.truncate(text.trim_end().len());
        if text.is_empty() { Err(Error::Empty(path)) } else { Ok(Self(text)) }
    }
}

/// The text of a file of at most `bytes_max` bytes.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<String, Error> {
    let mut text = String::new();
    let bytes = File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_string(&mut text))
        .map_err(|error| Error::Unreadable(path.to_owned(), error))?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes > bytes_max) {
        return Err(Error::TooLarge(path.to_owned(), bytes_max));
    }
    Ok(text)
}

/// The text with `...` for whatever stands in front of the host of a URL, which may be a name and a password, and for its query, which
/// may have a key in it.
pub(super) fn without_credentials(text: &str) -> String {
    const START: &str = "://";
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(START) {
        let (before, url) = rest.split_at(at + START.len());
        let url_end = url.find(|c: char| c.is_whitespace() || "`\"'<>,".contains(c)).unwrap_or(url.len());
        shown.push_str(before);
        // A slash ends nothing here: people put them into passwords, too.
        let host = url[..url_end].rfind('@').inspect(|_| shown.push_str("...")).unwrap_or(0);
        let seen = &url[host..url_end];
        match seen.split_once('?') {
            Some((place, query)) => {
                shown.push_str(place);
                shown.push_str(if query.is_empty() { "?" } else { "?..." });
            }
            None => shown.push_str(seen),
        }
        rest = &url[url_end..];
    }
    shown.push_str(rest);
    shown
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_front_of_a_host_is_not_shown() {
        for (text, shown) in [
            ("http://a:b@c:1/d", "http://...@c:1/d"),
            ("http://a:b/c@d", "http://...@d"),
            ("http://a@b@c", "http://...@c"),
            ("http://c/d?token=e f", "http://c/d?... f"),
            ("`http://a:b@c?d=e`, http://g?", "`http://...@c?...`, http://g?"),
            ("what? http://c", "what? http://c"),
            (
                "has `https://a:b@c`, not `https://d:e@f` or http://g",
                "has `https://...@c`, not `https://...@f` or http://g",
            ),
            ("http://@c", "http://...@c"),
            ("http://h/a b@c", "http://h/a b@c"),
            ("a:b@c", "a:b@c"),
            ("://", "://"),
            ("", ""),
        ] {
            assert_eq!(without_credentials(text), shown, "{text}");
        }
    }
}
