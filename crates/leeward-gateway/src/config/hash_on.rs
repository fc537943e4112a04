//! What a request belongs to, for services that balance by it.

use std::fmt;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use leeward_discovery::ring;

use crate::lines::Lines;

/// What of a request is hashed by `balance: ring_hash`. A request without it goes by random of two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address. The default: every request has one.
    #[default]
    ClientAddress,
    /// The user, where one is known.
    User,
    /// A header of the request.
    Header(HeaderName),
    /// A cookie of the request.
    Cookie(String),
}

/// How it is written.
pub(crate) const HASH_ON: &str = "client_address, user, header NAME, or cookie NAME";

impl HashOn {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_token = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        match text.split_once(' ') {
            None if text == "client_address" => Some(Self::ClientAddress),
            None if text == "user" => Some(Self::User),
            Some(("header", name)) => HeaderName::try_from(name.trim()).ok().map(Self::Header),
            Some(("cookie", name)) if is_token(name.trim()) => Some(Self::Cookie(name.trim().to_owned())),
            _ => None,
        }
    }

    /// The key of a request, from its headers as they go to a service: the client's, and what the gateway `said`.
    pub(crate) fn key(&self, headers: &HeaderMap, said: &Lines) -> Option<u64> {
        let of_header =
            |name: &HeaderName| said.get(name).or_else(|| headers.get(name).map(HeaderValue::as_bytes));
        let value = match self {
            Self::ClientAddress => of_header(&CLIENT_IP),
            Self::User => of_header(&USER_ID),
            Self::Header(name) => of_header(name),
            Self::Cookie(name) => cookie(headers, name),
        };
        value.filter(|value| !value.is_empty()).map(ring::hash)
    }
}

const CLIENT_IP: HeaderName = HeaderName::from_static("x-client-ip");
const USER_ID: HeaderName = HeaderName::from_static("x-user-id");

/// The value of the first cookie of this name.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

impl fmt::Display for HashOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientAddress => f.write_str("client_address"),
            Self::User => f.write_str("user"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["client_address", "user", "header x-tenant", "cookie sid"] {
            assert_eq!(HashOn::parse(text).unwrap().to_string(), text);
        }
        for wrong in ["", "address", "header", "header ", "header a b", "cookie a=b", "cookie"] {
            assert_eq!(HashOn::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_key_is_that_of_the_request() {
        let mut headers = HeaderMap::new();
        headers.insert(USER_ID, "of the client".parse().unwrap());
        let mut said = Lines::default();
        said.say_text(&CLIENT_IP, "10.0.0.1");
        said.say_text(&USER_ID, "7");
        headers.append(header::COOKIE, "a=1; sid=x7; sidx=8".parse().unwrap());
        headers.append(header::COOKIE, "late=2".parse().unwrap());
        let key = |text: &str| HashOn::parse(text).unwrap().key(&headers, &said);
        assert_eq!(key("client_address"), Some(ring::hash(b"10.0.0.1")));
        assert_eq!(key("cookie sid"), Some(ring::hash(b"x7")));
        assert_eq!(key("cookie late"), Some(ring::hash(b"2")));
        assert_eq!((key("user"), key("header x-user-id")), (Some(ring::hash(b"7")), Some(ring::hash(b"7"))));
        assert_eq!((key("cookie si"), key("header x-tenant")), (None, None));
    }
}
