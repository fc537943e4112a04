//! What is looked up.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name, in characters.
const NAME_MAX: usize = 253;
/// Longest part of a name between two dots.
const LABEL_MAX: usize = 63;

/// A name in DNS under which endpoints are found.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Name {
    /// `orders.internal:4001`: every address of the host, at this port.
    Host {
        /// The host.
        host: Arc<str>,
        /// The port.
        port: u16,
    },
    /// `_http._tcp.orders.internal`: every target of the service records, at its own port.
    Service(Arc<str>),
}

impl Name {
    /// The host that it is about: of service records the domain behind the service and the protocol, which is who asked for it, not who
    /// answered. Without a final dot, so that a certificate may have it.
    #[must_use]
    pub fn domain(&self) -> &str {
        let (Self::Host { host: name, .. } | Self::Service(name)) = self;
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut rest = name;
        while let Some((_, behind)) = rest.split_once('.').filter(|(label, _)| label.starts_with('_')) {
            rest = behind;
        }
        rest
    }
}

/// The text is no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "not a name in DNS: HOST:PORT, as orders.internal:4001, or service records, as _http._tcp.orders.internal"
)]
pub struct NotAName;

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        if text.starts_with('_') {
            return is_name(text).then(|| Self::Service(text.into())).ok_or(NotAName);
        }
        let (host, port) = text.rsplit_once(':').ok_or(NotAName)?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port != 0).ok_or(NotAName)?;
        // A host whose last part is a number is an address that somebody cut short.
        let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        let is_host = is_name(host) && !last.bytes().all(|byte| byte.is_ascii_digit());
        is_host.then(|| Self::Host { host: host.into(), port }).ok_or(NotAName)
    }
}

fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.len() <= NAME_MAX && text.split('.').all(is_label)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } => write!(f, "{host}:{port}"),
            Self::Service(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_the_name_that_was_asked_for() {
        for (name, domain) in [
            ("orders.internal.:4001", "orders.internal"),
            ("_http._tcp.search.internal", "search.internal"),
            ("_a._b.c.", "c"),
            ("_x", "_x"),
        ] {
            assert_eq!(name.parse::<Name>().unwrap().domain(), domain);
        }
    }

    #[test]
    fn names_are_read_and_written() {
        for good in
            ["orders:80", "orders.internal.:4001", "a-b.c_d:1", "_http._tcp.orders.internal", "1a.b:2"]
        {
            assert_eq!(good.parse::<Name>().map(|name| name.to_string()).as_deref(), Ok(good));
        }
        let long = format!("{}:80", "a.".repeat(128));
        for bad in [
            "",
            "orders",
            ":80",
            "a:0",
            "a:+1",
            "a:65536",
            "10.0.0.1:80",
            "[::1]:80",
            "a..b:1",
            "-a:1",
            "_a._b:80",
            "a b:1",
            "é:1",
            "http://a:1",
            &long,
        ] {
            assert_eq!(bad.parse::<Name>(), Err(NotAName), "{bad}");
        }
    }
}
