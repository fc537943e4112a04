//! What a request says about who calls: at most one thing.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::is_api_key;
use crate::config::Config;
use crate::refusal::code;
use crate::{headers, jwt};

/// What a gateway listens to.
#[derive(Clone, Default, Debug)]
pub(crate) struct Accepted {
    /// Tokens, and the longest of them.
    pub(crate) token_bytes_max: Option<usize>,
    /// API keys, and their header.
    pub(crate) key_header: Option<HeaderName>,
    /// Names with passwords, and what they are for.
    pub(crate) realm: Option<Arc<str>>,
}

/// What a request presents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presented<'h> {
    Nothing,
    Token(&'h str),
    Key(&'h str),
    /// What stands behind `Basic`.
    Password(&'h str),
}

/// Why nothing can be made of what a request presents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unreadable {
    /// Two speakers: the gateway would hear one, and the service might have meant the other.
    Both,
    /// The token.
    Token(jwt::BearerError),
    /// No key is like that.
    Key,
    /// No name and password are like that, or they are not known.
    Password,
}

impl Accepted {
    /// What a configuration has its gateway listen to.
    pub(crate) fn by(config: &Config) -> Self {
        Self {
            token_bytes_max: config.jwt.iter().map(|jwt| jwt.token_bytes).max(),
            key_header: config.api_keys.as_ref().map(|keys| keys.header.clone()),
            realm: config.basic.as_ref().map(|basic| Arc::clone(&basic.realm)),
        }
    }

    /// How a request can say who it is for.
    pub(crate) fn ways(&self) -> String {
        let token = self.token_bytes_max.map(|_| "`Authorization: Bearer TOKEN`".to_owned());
        let key = self.key_header.as_ref().map(|name| format!("`{name}: KEY`"));
        let password =
            self.realm.as_ref().map(|_| "a name and a password (`Authorization: Basic`)".to_owned());
        token.into_iter().chain(key).chain(password).collect::<Vec<_>>().join(" or ")
    }

    /// What a refused client is asked for (RFC 9110, 11.6.1), a challenge for each way.
    pub(crate) fn challenges(&self, code: &str) -> Vec<HeaderValue> {
        // RFC 6750: no error code when there was no token.
        let is_token = [code::TOKEN_INVALID, code::TOKEN_EXPIRED, code::TOKEN_REVOKED].contains(&code);
        let bearer = if is_token { "Bearer error=\"invalid_token\"" } else { "Bearer" };
        let token = self.token_bytes_max.map(|_| bearer);
        let key = self.key_header.as_ref().map(|_| "ApiKey");
        // A realm holds nothing that would end its quotes.
        let basic = self.realm.as_ref().map(|realm| format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
        let challenges = token.into_iter().chain(key).map(HeaderValue::from_static);
        challenges.chain(basic.and_then(|basic| basic.try_into().ok())).collect()
    }

    /// Whether it listens at all.
    pub(crate) const fn is_any(&self) -> bool {
        self.token_bytes_max.is_some() || self.key_header.is_some() || self.realm.is_some()
    }
}

const API_KEY: &str = "apikey";

const BASIC: &str = "basic";

/// Reads it. An `Authorization` of a scheme that is not accepted is not the gateway's business.
pub(crate) fn presented<'h>(
    headers: &'h HeaderMap,
    accepted: &Accepted,
) -> Result<Presented<'h>, Unreadable> {
    let mut keys = accepted.key_header.as_ref().map(|name| headers.get_all(name).iter());
    let Some(key) = keys.as_mut().and_then(Iterator::next) else { return authorization(headers, accepted) };
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(Unreadable::Both);
    }
    if keys.is_some_and(|mut more| more.next().is_some()) {
        return Err(Unreadable::Key);
    }
    only_key(key.to_str().map_err(|_| Unreadable::Key)?).map(Presented::Key)
}

fn authorization<'h>(headers: &'h HeaderMap, accepted: &Accepted) -> Result<Presented<'h>, Unreadable> {
    if accepted.key_header.is_some()
        && let Some(key) = of_scheme(headers, API_KEY)
    {
        return only_key(key).map(Presented::Key);
    }
    if accepted.realm.is_some()
        && let Some(login) = of_scheme(headers, BASIC)
    {
        return Ok(Presented::Password(login));
    }
    let Some(bytes_max) = accepted.token_bytes_max else { return Ok(Presented::Nothing) };
    let token = jwt::token(headers, bytes_max).map_err(Unreadable::Token)?;
    Ok(token.map_or(Presented::Nothing, Presented::Token))
}

fn only_key(text: &str) -> Result<&str, Unreadable> {
    if is_api_key(text) { Ok(text) } else { Err(Unreadable::Key) }
}

/// What stands behind the scheme, in the one `Authorization`.
fn of_scheme<'h>(headers: &'h HeaderMap, wanted: &str) -> Option<&'h str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let text = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    scheme.eq_ignore_ascii_case(wanted).then(|| rest.trim_start_matches(' '))
}

/// Takes away what says who calls, so that it goes no further. A token of the user's own may, if the route says so.
pub(crate) fn strip(headers: &mut HeaderMap, accepted: &Accepted, forward_token: bool) {
    if !accepted.is_any() {
        return;
    }
    if !forward_token || is_ours_alone(headers, accepted) {
        headers.remove(header::AUTHORIZATION);
    }
    if let Some(name) = &accepted.key_header {
        headers::remove_spelt_any_way(headers, name);
    }
}

/// Whether any `Authorization` is one that only the gateway reads.
fn is_ours_alone(headers: &HeaderMap, accepted: &Accepted) -> bool {
    let ours = [(API_KEY, accepted.key_header.is_some()), (BASIC, accepted.realm.is_some())];
    headers.get_all(header::AUTHORIZATION).iter().any(|value| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        ours.iter().any(|(name, is_on)| *is_on && scheme.eq_ignore_ascii_case(name.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const KEY: &str = "lwk_0123456789012345678901234567890";

    fn check(lines: &[(&'static str, &str)], has_tokens: bool) -> Result<String, Unreadable> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let key_header = Some(HeaderName::from_static("x-api-key"));
        let accepted = Accepted { token_bytes_max: has_tokens.then_some(20), key_header, realm: None };
        presented(&headers, &accepted).map(|presented| format!("{presented:?}"))
    }

    #[test]
    fn one_request_has_one_speaker() {
        let key = format!("Key({KEY:?})");
        let scheme = format!("apiKEY  {KEY}");
        for has_tokens in [true, false] {
            let check = |lines: &[(&'static str, &str)]| check(lines, has_tokens);
            assert_eq!(check(&[]), Ok("Nothing".into()));
            assert_eq!(check(&[("x-api-key", KEY)]), Ok(key.clone()));
            assert_eq!(check(&[("authorization", &scheme)]), Ok(key.clone()));
            assert_eq!(
                check(&[("x-api-key", KEY), ("authorization", "Bearer a.b.c")]),
                Err(Unreadable::Both)
            );
            assert_eq!(check(&[("x-api-key", KEY), ("authorization", &scheme)]), Err(Unreadable::Both));
            assert_eq!(check(&[("x-api-key", KEY), ("authorization", "Digest a")]), Err(Unreadable::Both));
            assert_eq!(check(&[("x-api-key", KEY), ("x-api-key", KEY)]), Err(Unreadable::Key));
            for bad in ["", "short", "lwk_ 123456789012345678901234567890", &"k".repeat(129)] {
                assert_eq!(check(&[("x-api-key", bad)]), Err(Unreadable::Key), "{bad}");
            }
            assert_eq!(check(&[("authorization", "ApiKey")]), Err(Unreadable::Key));
            assert_eq!(check(&[("authorization", "Basic YTpi")]), Ok("Nothing".into()));
        }
        assert_eq!(check(&[("authorization", "Bearer a.b.c")], true), Ok("Token(\"a.b.c\")".into()));
        assert_eq!(check(&[("authorization", "Bearer a.b.c")], false), Ok("Nothing".into()));
        let several = Err(Unreadable::Token(jwt::BearerError::Several));
        assert_eq!(check(&[("authorization", &scheme), ("authorization", "Bearer a")], true), several);
    }
}
