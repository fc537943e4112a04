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
    let text = text(value)?;
    let Some((scheme, rest)) = text.split_once(' ') else {
        return if text.eq_ignore_ascii_case("bearer") { Err(Error::Malformed) } else { Ok(None) };
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let token = rest.trim_start_matches(' ');
    if token.len() > bytes_max {
        return Err(Error::TooLong);
    }
    let is_token68 = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if token.is_empty() || !token.bytes().all(is_token68) { Err(Error::Malformed) } else { Ok(Some(token)) }
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
    fn exactly_one_token_of_the_one_scheme() {
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&["Basic YTpi"]), Ok(None));
        assert_eq!(check(&["Bearer a.b.c"]), Ok(Some("a.b.c".into())));
        assert_eq!(check(&["bEARER   a.b.c"]), Ok(Some("a.b.c".into())));
        assert_eq!(check(&["Bearer"]), Err(Error::Malformed));
        assert_eq!(check(&["Bearer a b"]), Err(Error::Malformed));
        assert_eq!(check(&["Bearer a,b"]), Err(Error::Malformed));
        assert_eq!(check(&["Bearer a.b.c", "Bearer d"]), Err(Error::Several));
        assert_eq!(check(&["Bearer aaaaaaaaaaaaaaaaaaaaa"]), Err(Error::TooLong));
    }
}
