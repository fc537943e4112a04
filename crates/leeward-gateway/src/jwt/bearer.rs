//! The token of a request, as it stands in `Authorization`.

use http::HeaderMap;
use http::header::{self, HeaderValue};

/// Why there is something in `Authorization` that cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Error {
    /// More than one header: servers differ on which one counts.
    Several,
    /// Not `Bearer`, one space or more, and one token.
    Malformed,
    /// Longer than the limit.
    TooLong,
}

/// The bearer token; `None` when there is no `Authorization`, or one of another scheme, which is not the gateway's
/// business.
pub(crate) fn token(headers: &HeaderMap, bytes_max: usize) -> Result<Option<&str>, Error> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::Several);
    }
    let bytes = value.as_bytes();
    let (scheme, rest) = bytes.split_at(memchr::memchr(b' ', bytes).unwrap_or(bytes.len()));
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return text(value).map(|_| None);
    }
    // Of blanks it is spaces alone that may stand there.
    let token = &rest[rest.iter().take_while(|byte| **byte == b' ').count()..];
    if token.len() > bytes_max {
        return Err(Error::TooLong);
    }
    if token.is_empty() || !is_token68(token) {
        return Err(Error::Malformed);
    }
    std::str::from_utf8(token).map(Some).map_err(|_| Error::Malformed)
}

/// Whether these are characters of `token68` and nothing else (RFC 9110, 11.2). All are looked at, since then several are at a time.
fn is_token68(token: &[u8]) -> bool {
    let is_one = |byte: u8| {
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        // `-./` and the digits stand in a row.
        let is_digit = byte.wrapping_sub(b'-') < 13;
        is_letter | is_digit | (byte == b'_') | (byte == b'~') | (byte == b'+') | (byte == b'=')
    };
    token.iter().fold(true, |all, byte| all & is_one(*byte))
}

fn text(value: &HeaderValue) -> Result<&str, Error> {
    value.to_str().map_err(|_| Error::Malformed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn check(values: &[&str]) -> Result<Option<String>, Error> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("authorization", value.parse().unwrap());
        }
        token(&headers, 20).map(|found| found.map(str::to_owned))
    }

    #[test]
    fn a_token_has_the_characters_of_token68() {
        for byte in 0..=u8::MAX {
            let is_one = byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
            assert_eq!(is_token68(&[b'a', byte, b'z']), is_one, "{byte}");
        }
    }

    #[test]
    fn exactly_one_token_of_the_one_scheme() {
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&["Basic YTpi"]), Ok(None));
        assert_eq!(check(&["Bearer a.b.c"]), Ok(Some("a.b.c".into())));
        assert_eq!(check(&["bEARER   a.b.c"]), Ok(Some("a.b.c".into())));
        assert_eq!(check(&["Bearer"]), Err(Error::Malformed));
        assert_eq!(check(&["Bearer a b"]), Err(Error::Malformed));
        assert_eq!(check(&["Bearer \ta.b.c"]), Err(Error::Malformed));
        assert_eq!(check(&["Bearer a,b"]), Err(Error::Malformed));
        assert_eq!(check(&["Bearer a.b.c", "Bearer d"]), Err(Error::Several));
        assert_eq!(check(&["Bearer aaaaaaaaaaaaaaaaaaaaa"]), Err(Error::TooLong));
    }
}
