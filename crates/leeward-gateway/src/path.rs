//! The one canonical form of a request's path: what is routed, authorised, limited and forwarded.
//!
//! The rule: unreserved characters stand for themselves, every other escape is kept with upper-case digits, empty
//! and dot segments are resolved (RFC 3986, 5.2.4), and whatever two parsers could read in two ways is refused: a
//! climb above the root, a back slash, a control character, an escape of an escape, path parameters (`;`), and,
//! unless the configuration keeps it, an encoded slash. A kept `%2F` is never decoded, and never next to a dot
//! segment, since a server that decodes it would walk.

use std::borrow::Cow;

/// What happens to `%2F` in a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EncodedSlash {
    /// Answered 400: the safe choice, since servers differ on what it means.
    #[default]
    Refuse,
    /// Kept as it is, never decoded: for services whose path segments are data that may contain a slash.
    Keep,
}

/// Why a path has no canonical form. All of them are the caller's mistake: 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The target is neither `/path` nor `http://host/path`.
    #[error("the path must start with a slash")]
    NotAbsolute,
    /// A `%` without two hexadecimal digits.
    #[error("a percent sign must be followed by two hexadecimal digits")]
    BadEscape,
    /// An escaped escape, as in `%252F`.
    #[error("the path is escaped twice")]
    EscapedTwice,
    /// `%2F` where it is refused, or beside a dot segment.
    #[error("an encoded slash is not accepted in a path")]
    EncodedSlash,
    /// A character of UTF-8 in more bytes than it needs, as `%C0%AF` for a slash: old decoders read it.
    #[error("a character is escaped in more bytes than it has")]
    Overlong,
    /// A back slash, plain or encoded.
    #[error("a back slash is not accepted in a path")]
    BackSlash,
    /// A control character, plain or encoded.
    #[error("a control character is not accepted in a path")]
    Control,
    /// More `..` than there are segments.
    #[error("the path climbs above the root")]
    AboveRoot,
    /// `;name=value` inside a segment: servers that know path parameters match a different path.
    #[error("path parameters (;) are not accepted")]
    Parameters,
}

/// The canonical form of `raw`; borrowed when it already is canonical, which is the usual case.
///
/// # Errors
/// Each [`Error`] is a path that two servers could understand differently.
pub fn canonical(raw: &str, slash: EncodedSlash) -> Result<Cow<'_, str>, Error> {
    if !raw.starts_with('/') {
        return Err(Error::NotAbsolute);
    }
    if is_canonical(raw.as_bytes()) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut out: Vec<u8> = Vec::with_capacity(raw.len() + 16);
    let mut segment: Vec<u8> = Vec::with_capacity(64);
    let mut parts = raw.as_bytes()[1..].split(|b| *b == b'/').peekable();
    while let Some(part) = parts.next() {
        segment.clear();
        normalise(part, slash, &mut segment)?;
        let last = parts.peek().is_none();
        match segment.as_slice() {
            b".." => {
                let up = out.iter().rposition(|b| *b == b'/').ok_or(Error::AboveRoot)?;
                out.truncate(up);
                close(&mut out, last);
            }
            b"" | b"." => close(&mut out, last),
            other => {
                out.push(b'/');
                out.extend_from_slice(other);
            }
        }
    }
    refuse_escaped_twice(&out)?;
    refuse_overlong(&out)?;
    // Only ASCII was written: escapes, and bytes that are unreserved or delimiters.
    Ok(Cow::Owned(String::from_utf8_lossy(&out).into_owned()))
}

/// A last segment that vanished leaves its slash, so that `/a/.` is `/a/` and `/a/..` is `/`.
fn close(out: &mut Vec<u8>, last: bool) {
    if last {
        out.push(b'/');
    }
}

/// One pass over the usual path, without an allocation.
fn is_canonical(path: &[u8]) -> bool {
    let mut start = 1;
    for (at, byte) in path.iter().enumerate().skip(1) {
        match byte {
            b'/' => {
                if !plain_segment(&path[start..at]) {
                    return false;
                }
                start = at + 1;
            }
            b if is_literal(*b) => {}
            _ => return false,
        }
    }
    let tail = &path[start..];
    tail.is_empty() || plain_segment(tail)
}

fn plain_segment(segment: &[u8]) -> bool {
    !matches!(segment, b"" | b"." | b"..")
}

/// Unreserved characters and the delimiters that mean nothing in a path. `;` is not among them on purpose.
fn is_literal(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn normalise(part: &[u8], slash: EncodedSlash, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut at = 0;
    let mut has_slash = false;
    while let Some(byte) = part.get(at) {
        at += 1;
        match *byte {
            b'%' => {
                let decoded = escape_at(part, at).ok_or(Error::BadEscape)?;
                at += 2;
                has_slash |= decoded == b'/';
                write_escaped(decoded, slash, out)?;
            }
            b'\\' => return Err(Error::BackSlash),
            b';' => return Err(Error::Parameters),
            b if b < 0x20 || b == 0x7f => return Err(Error::Control),
            b if is_literal(b) => out.push(b),
            b => push_escape(b, out),
        }
    }
    if has_slash && hides_dot_segment(out) { Err(Error::EncodedSlash) } else { Ok(()) }
}

fn write_escaped(decoded: u8, slash: EncodedSlash, out: &mut Vec<u8>) -> Result<(), Error> {
    match decoded {
        b'/' if slash == EncodedSlash::Refuse => return Err(Error::EncodedSlash),
        b'\\' => return Err(Error::BackSlash),
        b if b < 0x20 || b == 0x7f => return Err(Error::Control),
        b if is_unreserved(b) => out.push(b),
        b => push_escape(b, out),
    }
    Ok(())
}

fn escape_at(part: &[u8], at: usize) -> Option<u8> {
    Some(hex(*part.get(at)?)? << 4 | hex(*part.get(at + 1)?)?)
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn push_escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// Whether decoding the kept `%2F` of this segment would produce an empty or dot segment.
fn hides_dot_segment(segment: &[u8]) -> bool {
    let mut start = 0;
    let mut at = 0;
    while at < segment.len() {
        if segment[at..].starts_with(b"%2F") {
            if !plain_segment(&segment[start..at]) {
                return true;
            }
            at += 3;
            start = at;
        } else {
            at += 1;
        }
    }
    !plain_segment(&segment[start..])
}

/// Looked for in the result, so that `%25%32%46`, which normalises to `%252F`, is found too.
fn refuse_escaped_twice(path: &[u8]) -> Result<(), Error> {
    let twice = path.windows(5).any(|w| w.starts_with(b"%25") && hex(w[3]).is_some() && hex(w[4]).is_some());
    if twice { Err(Error::EscapedTwice) } else { Ok(()) }
}

/// Two bytes that begin no character which two decoders agree on.
fn refuse_overlong(path: &[u8]) -> Result<(), Error> {
    let pair = |six: &[u8]| -> Option<(u8, u8)> {
        let byte =
            |three: &[u8]| (three[0] == b'%').then(|| Some(hex(three[1])? << 4 | hex(three[2])?)).flatten();
        Some((byte(&six[..3])?, byte(&six[3..])?))
    };
    let overlong = path
        .windows(6)
        .filter_map(pair)
        .any(|bytes| matches!(bytes, (0xc0 | 0xc1, 0x80..=0xbf) | (0xe0, 0x80..=0x9f) | (0xf0, 0x80..=0x8f)));
    if overlong { Err(Error::Overlong) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_path_has_one_form() {
        for (raw, want) in [
            ("/", "/"),
            ("/api/v1/products", "/api/v1/products"),
            ("/api/v1/products/", "/api/v1/products/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a//b", "/a/b"),
            ("//a", "/a"),
            ("/a/%41%7e", "/a/A~"),
            ("/a/%c3%a9", "/a/%C3%A9"),
            ("/a/\u{e9}", "/a/%C3%A9"),
            ("/a/%c0b", "/a/%C0b"),
            ("/a/%e0%a0%80", "/a/%E0%A0%80"),
            ("/a/100%25", "/a/100%25"),
            ("/a/%3Bb", "/a/%3Bb"),
            ("/a/...", "/a/..."),
            ("/a b\"", "/a%20b%22"),
        ] {
            assert_eq!(canonical(raw, EncodedSlash::Refuse).as_deref(), Ok(want), "{raw}");
        }
    }

    #[test]
    fn what_two_servers_read_differently_is_refused() {
        for (raw, want) in [
            ("", Error::NotAbsolute),
            ("*", Error::NotAbsolute),
            ("/..", Error::AboveRoot),
            ("/a/../../b", Error::AboveRoot),
            ("/a/%2e%2e/%2e%2e/b", Error::AboveRoot),
            ("/a%2Fb", Error::EncodedSlash),
            ("/a%2fb", Error::EncodedSlash),
            ("/a%5Cb", Error::BackSlash),
            ("/a\\b", Error::BackSlash),
            ("/a%00", Error::Control),
            ("/a%0d%0aX", Error::Control),
            ("/a;b=c/d", Error::Parameters),
            ("/a%252Fb", Error::EscapedTwice),
            ("/a%25%32%46b", Error::EscapedTwice),
            ("/a%252e%252e/b", Error::EscapedTwice),
            ("/%c0%ae%c0%ae/a", Error::Overlong),
            ("/a%C0%AFb", Error::Overlong),
            ("/a%e0%80%afb", Error::Overlong),
            ("/a%f0%80%80%af", Error::Overlong),
            ("/a%", Error::BadEscape),
            ("/a%4", Error::BadEscape),
            ("/a%zz", Error::BadEscape),
        ] {
            assert_eq!(canonical(raw, EncodedSlash::Refuse), Err(want), "{raw}");
        }
    }

    #[test]
    fn a_kept_slash_is_never_decoded_and_never_walks() {
        assert_eq!(canonical("/files/a%2fb", EncodedSlash::Keep).as_deref(), Ok("/files/a%2Fb"));
        for raw in ["/files/..%2f..%2fadmin", "/files/a%2F%2e%2e", "/files/%2Fa", "/files/a%2F%2Fb"] {
            assert_eq!(canonical(raw, EncodedSlash::Keep), Err(Error::EncodedSlash), "{raw}");
        }
    }

    #[test]
    fn the_form_is_stable() {
        for raw in ["/a/./b/../c//d/%41/%c3%a9/%20", "/x/%7Euser/..", "/a%2Fb"] {
            let once = canonical(raw, EncodedSlash::Keep).unwrap().into_owned();
            assert!(
                matches!(canonical(&once, EncodedSlash::Keep), Ok(again) if again == once.as_str()),
                "{raw}"
            );
        }
    }

    proptest! {
        /// Whatever comes in, what goes out has one form only, and is no longer than its bytes escaped.
        #[test]
        fn any_text_has_one_form_or_none(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec![
                        "/", "//", ".", "..", "%2e", "%2E%2e", "%2f", "%5c", "%25", "%00", "%c0", "%af", "%", ";", "\\", "a", "?", "\u{e9}", "%e0%80",
                    ]).prop_map(str::to_owned),
                    any::<char>().prop_map(String::from),
                    any::<u8>().prop_map(|byte| format!("%{byte:02x}")),
                ],
                0..24,
            ),
            keep in any::<bool>(),
        ) {
            let raw = format!("/{}", parts.concat());
            let slash = if keep { EncodedSlash::Keep } else { EncodedSlash::Refuse };
            if let Ok(path) = canonical(&raw, slash) {
                let again = canonical(&path, slash);
                prop_assert_eq!(again.as_deref(), Ok(&*path));
                prop_assert!(path.len() <= 3 * raw.len() && path.is_ascii());
                prop_assert!(path.starts_with('/') && !path.contains("//"));
                prop_assert!(!path.split('/').any(|segment| segment == "." || segment == ".."));
                prop_assert!(!path.bytes().any(|byte| byte.is_ascii_control() || b"\\;?#".contains(&byte)));
                prop_assert!(keep || !path.contains("%2F"));
            }
        }
    }
}
