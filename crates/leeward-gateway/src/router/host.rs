//! Hosts: how routes name them, and the one form in which a request's is compared.

use std::fmt;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest name that DNS has (RFC 1035, 2.3.4). A longer host is none that a route can name.
const NAME_BYTES_MAX: usize = 253;

/// A host as a route names it: `shop.example.org`, `*.example.org`, `192.0.2.1` or `[2001:db8::1]`.
///
/// A wildcard stands for one label or more: `*.example.org` takes `a.example.org` and `a.b.example.org`, and not
/// `example.org`. Ports do not count, nor does the case of letters or a final dot.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Host {
    /// This one.
    Exact(Box<str>),
    /// Every one that ends with a dot and this.
    Below(Box<str>),
}

/// Why a host is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HostError {
    /// It takes everything.
    #[error("stands for every host: a route without `hosts` takes them all")]
    Everything,
    /// A wildcard that is not the first label alone.
    #[error("has a wildcard that is not the whole first label")]
    Wildcard,
    /// A port, which no route looks at.
    #[error("has a port, and ports do not count")]
    Port,
    /// Neither a name nor an address.
    #[error("is neither a name nor an address")]
    Malformed,
}

impl Host {
    /// Reads one.
    ///
    /// # Errors
    /// Whatever no request could have, or every request has.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text == "*" {
            return Err(HostError::Everything);
        }
        let (name, is_below) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if name.contains('*') {
            return Err(HostError::Wildcard);
        }
        if without_port(name) != name {
            return Err(HostError::Port);
        }
        let folded =
            Folded::new(name).filter(|folded| is_host(folded.as_str())).ok_or(HostError::Malformed)?;
        let name: Box<str> = folded.as_str().into();
        match is_below {
            // Nothing is below an address.
            true if name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok() => Err(HostError::Wildcard),
            true => Ok(Self::Below(name)),
            false => Ok(Self::Exact(name)),
        }
    }

    /// How specific a match of `host` is: more for the exact name than for any wildcard, more for a longer wildcard; `None` for
    /// no match.
    pub(super) fn specificity(&self, host: &str) -> Option<usize> {
        match self {
            Self::Exact(name) => (**name == *host).then_some(usize::MAX),
            Self::Below(name) => {
                let rest = host.strip_suffix(&**name)?.strip_suffix('.')?;
                (!rest.is_empty()).then_some(name.len())
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

fn is_host(name: &str) -> bool {
    if name.starts_with('[') {
        return true;
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.split('.').all(is_label)
}

/// `name:port` without the port, which may be missing.
#[must_use]
pub fn without_port(authority: &str) -> &str {
    let bytes = authority.as_bytes();
    match memchr::memrchr(b']', bytes) {
        Some(end) => &authority[..=end],
        None => memchr::memchr(b':', bytes).map_or(authority, |end| &authority[..end]),
    }
}

/// A host in the form in which hosts are compared: lower case, no final dot, an IPv6 address in its shortest form.
#[allow(clippy::large_enum_variant, reason = "it is there for one lookup, which takes no memory")]
pub(super) enum Folded<'a> {
    /// It had that form.
    Same(&'a str),
    /// It was written anew.
    Written { bytes: [u8; NAME_BYTES_MAX], len: usize },
}

impl<'a> Folded<'a> {
    /// `None` for what is longer than a name can be, or no address though it has brackets.
    pub(super) fn new(name: &'a str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        if let Some(address) = name.strip_prefix('[') {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            let mut bytes = [0; NAME_BYTES_MAX];
            let mut rest = &mut bytes[..];
            write!(rest, "[{address}]").ok()?;
            let len = NAME_BYTES_MAX - rest.len();
            return Some(Self::Written { bytes, len });
        }
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        if !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Some(Self::Same(name));
        }
        let mut bytes = [0; NAME_BYTES_MAX];
        let folded = bytes.get_mut(..name.len())?;
        folded.copy_from_slice(name.as_bytes());
        folded.make_ascii_lowercase();
        Some(Self::Written { bytes, len: name.len() })
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Same(name) => name,
            // Lower case of a text is a text.
            Self::Written { bytes, len } => std::str::from_utf8(&bytes[..*len]).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn folded(name: &str) -> Option<String> {
        Folded::new(without_port(name)).map(|folded| folded.as_str().to_owned())
    }

    #[test]
    fn a_host_has_one_form() {
        for (given, form) in [
            ("Shop.Example.ORG", "shop.example.org"),
            ("shop.example.org.", "shop.example.org"),
            ("shop.example.org.:8080", "shop.example.org"),
            ("a:", "a"),
            ("[2001:DB8:0:0::1]:80", "[2001:db8::1]"),
            ("127.0.0.1:1", "127.0.0.1"),
        ] {
            assert_eq!(folded(given).as_deref(), Some(form), "{given}");
        }
        assert_eq!(folded("[::1"), None);
        assert_eq!(folded(&"a".repeat(254)), None);
        assert!(folded(&"a".repeat(253)).is_some());
    }

    #[test]
    fn what_no_request_has_is_no_host_of_a_route() {
        for (bad, why) in [
            ("*", HostError::Everything),
            ("a.*.b", HostError::Wildcard),
            ("*a.b", HostError::Wildcard),
            ("*.127.0.0.1", HostError::Wildcard),
            ("*.[::1]", HostError::Wildcard),
            ("a:80", HostError::Port),
            ("[::1]:80", HostError::Port),
            ("", HostError::Malformed),
            ("a..b", HostError::Malformed),
            ("*.", HostError::Malformed),
            ("a b", HostError::Malformed),
            ("a/b", HostError::Malformed),
            ("[a]", HostError::Malformed),
        ] {
            assert_eq!(Host::parse(bad), Err(why), "{bad}");
        }
        assert_eq!(Host::parse("*.Example.org").unwrap().to_string(), "*.example.org");
    }

    #[test]
    fn a_wildcard_is_one_label_or_more() {
        let host = Host::parse("*.example.org").unwrap();
        for (name, is_taken) in [
            ("a.example.org", true),
            ("a.b.example.org", true),
            ("example.org", false),
            (".example.org", false),
            ("xexample.org", false),
        ] {
            assert_eq!(host.specificity(name).is_some(), is_taken, "{name}");
        }
    }
}
