//! What keeps a client at one service of a split, and at one endpoint of that service.
//!
//! **Rule.** A key of the request, hashed, says which service it belongs to, in proportion to the shares; and which endpoint of that
//! service, as [`PickHint::key`](leeward_discovery::PickHint) does. Nothing is remembered here, so that all gateways agree, and a
//! restart moves nobody.
//!
//! A key is a hint and no proof: who makes one up chooses where it falls among the services that the route has anyway.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use leeward_discovery::ring;
use leeward_resilience::config::units::show_duration;

use crate::address;
use crate::config::HashOn;
use crate::router::cookies;

/// What a client is known by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sticky {
    /// Something that requests have. One without it is dealt out as if the route were not sticky.
    On(HashOn),
    /// A cookie that the gateway gives to whoever has none.
    Cookie(OwnCookie),
}

impl Sticky {
    /// The key of a request, as far as it is in its headers. What is there twice is none: a service may believe the other one.
    pub(crate) fn key_in(&self, headers: &HeaderMap) -> Option<u64> {
        match self {
            Self::On(HashOn::ClientAddress | HashOn::User) => None,
            Self::On(HashOn::Header(name)) => only(headers.get_all(name).iter().map(HeaderValue::as_bytes)),
            Self::On(HashOn::Cookie(name)) => only(cookies(headers, name).map(|value| value.raw())),
            Self::Cookie(own) => own.key_in(headers),
        }
    }
}

impl fmt::Display for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(on) => on.fmt(f),
            Self::Cookie(own) => write!(f, "cookie {} of the gateway", own.name),
        }
    }
}

fn only<'h>(mut values: impl Iterator<Item = &'h [u8]>) -> Option<u64> {
    let first = values.next().filter(|value| !value.is_empty())?;
    values.next().is_none().then(|| ring::hash(first))
}

/// The key of an address.
pub(crate) fn key_of_address(client: IpAddr) -> u64 {
    match address::limit_key(client) {
        IpAddr::V4(address) => ring::hash(&address.octets()),
        IpAddr::V6(address) => ring::hash(&address.octets()),
    }
}

/// A cookie that the gateway makes: 16 hexadecimal digits by chance, which say nothing about anybody. Services do not get it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnCookie {
    /// Its name.
    pub name: Box<str>,
    /// How long a client keeps it; `None`: until its browser is closed.
    pub max_age: Option<Duration>,
}

/// Digits of the value.
const DIGITS: usize = 16;

impl OwnCookie {
    /// Anything but one value of the form that the gateway makes is none, so that no client gives a long one.
    fn key_in(&self, headers: &HeaderMap) -> Option<u64> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let values = cookies(headers, &self.name).map(|value| value.raw());
        let mut good = values.filter(|value| value.len() == DIGITS && value.iter().all(is_digit));
        let first = good.next()?;
        good.next().is_none().then(|| ring::hash(first))
    }

    /// A new one: its key, and the header that gives it to the client.
    pub(crate) fn make(&self, random: u64, is_encrypted: bool) -> (u64, Option<HeaderValue>) {
        let value = format!("{random:016x}");
        let mut text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax", self.name);
        if is_encrypted {
            text.push_str("; Secure");
        }
        if let Some(max_age) = self.max_age {
            text.push_str(&format!("; Max-Age={}", max_age.as_secs()));
        }
        (ring::hash(value.as_bytes()), HeaderValue::try_from(text).ok())
    }

    /// Takes it out of a request: it is between the client and the gateway.
    pub(crate) fn take_out(&self, headers: &mut HeaderMap) {
        if cookies(headers, &self.name).next().is_none() {
            return;
        }
        let is_other = |pair: &&[u8]| {
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
            !pair.is_empty() && name.trim_ascii() != self.name.as_bytes()
        };
        let lines = headers.get_all(header::COOKIE).iter();
        let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let others: Vec<&[u8]> = pairs.map(<[u8]>::trim_ascii).filter(is_other).collect();
        let rest = others.join(&b"; "[..]);
        headers.remove(header::COOKIE);
        if let Some(rest) = HeaderValue::from_bytes(&rest).ok().filter(|rest| !rest.is_empty()) {
            headers.insert(header::COOKIE, rest);
        }
    }
}

impl fmt::Display for OwnCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{set_cookie: \"{}\"", self.name)?;
        if let Some(max_age) = self.max_age {
            write!(f, ", max_age: {}", show_duration(max_age))?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn lines(cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in cookies {
            headers.append(header::COOKIE, line.parse().unwrap());
        }
        headers
    }

    fn own() -> OwnCookie {
        OwnCookie { name: "side".into(), max_age: Some(Duration::from_secs(60)) }
    }

    #[test]
    fn what_is_made_is_read_back_and_nothing_else() {
        let (key, line) = own().make(0x1f, true);
        let line = line.unwrap().to_str().unwrap().to_owned();
        assert_eq!(line, "side=000000000000001f; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=60");
        let sticky = Sticky::Cookie(own());
        assert_eq!(sticky.key_in(&lines(&["a=b; side=000000000000001f"])), Some(key));
        let long = format!("side={}", "0".repeat(17));
        for wrong in [
            "side=",
            "side=1f",
            "side=000000000000001F",
            "side=00000000000000zz",
            "sid=000000000000001f",
            &long,
        ] {
            assert_eq!(sticky.key_in(&lines(&[wrong])), None, "{wrong}");
        }
        let twice = lines(&["side=000000000000001f", "side=000000000000002f"]);
        assert_eq!(sticky.key_in(&twice), None);
    }

    #[test]
    fn it_is_taken_out_and_the_others_stay() {
        for (given, left) in [
            (&["side=1"][..], None),
            (&["a=1; side=2; b=3", "side=4", "c=5"], Some("a=1; b=3; c=5")),
            (&["inside=1; side = x;sidex=2"], Some("inside=1; sidex=2")),
            (&["a=1;;  b=2"], Some("a=1;;  b=2")),
        ] {
            let mut headers = lines(given);
            own().take_out(&mut headers);
            let values: Vec<_> =
                headers.get_all(header::COOKIE).iter().map(|v| v.to_str().unwrap()).collect();
            assert_eq!(values, left.into_iter().collect::<Vec<_>>(), "{given:?}");
        }
    }

    #[test]
    fn one_host_is_one_key() {
        let key = |text: &str| key_of_address(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::2"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
    }
}
