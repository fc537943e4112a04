//! One place where a service answers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Uri;

/// Why a text is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a URL at all.
    #[error("{given:?} is not a URL; write it like http://10.0.0.5:4001")]
    NotAUrl {
        /// The text.
        given: String,
    },
    /// A URL of another scheme, or with a path.
    #[error("{given:?} must be http://host:port or https://host:port and nothing behind it")]
    NotABase {
        /// The text.
        given: String,
    },
}

/// The largest weight of an endpoint, as that of an SRV record.
pub const WEIGHT_MAX: u32 = 65_535;

/// One place where a service answers: an id that is unique within the service, the base URL, and a weight. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    id: Arc<str>,
    url: Uri,
    weight: u32,
}

impl Endpoint {
    /// The endpoint at `http://host:port` or, where it speaks TLS, `https://host:port`, with `host:port` as its id.
    ///
    /// # Errors
    /// Any other text.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let given = || url.to_owned();
        let uri: Uri = url.parse().map_err(|_| Error::NotAUrl { given: given() })?;
        let Some(authority) = uri.authority() else { return Err(Error::NotAUrl { given: given() }) };
        let bare = uri.path_and_query().is_none_or(|rest| rest.as_str() == "/");
        if !matches!(uri.scheme_str(), Some("http" | "https")) || !bare || authority.as_str().contains('@') {
            return Err(Error::NotABase { given: given() });
        }
        Ok(Self { id: authority.as_str().into(), url: uri, weight: 1 })
    }

    /// The same endpoint under a name of its own, such as that of a pod.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.id = id.into();
        self
    }

    /// The same endpoint with another share of the calls than the 1 of the others, 1 to [`WEIGHT_MAX`]; beyond, the nearest of
    /// these.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight.clamp(1, WEIGHT_MAX);
        self
    }

    /// Its share of the calls, beside the weights of the others.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// The same place, where it speaks TLS.
    #[must_use]
    pub fn encrypted(mut self) -> Self {
        let mut parts = self.url.into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTPS);
        // It had an authority and a path, and has them still.
        self.url = Uri::from_parts(parts).unwrap_or_default();
        self
    }

    /// Whether it is the same place under the same name, whatever its weight.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        self.id == other.id && self.url == other.url
    }

    /// Unique within the service.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// `http://host:port/`, or the same with `https`.
    #[must_use]
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    /// The name or the address, an IPv6 one without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.url.host().unwrap_or_default();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port: where none is given, that of the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.url.port_u16().unwrap_or(if self.is_encrypted() { 443 } else { 80 })
    }

    /// `host:port`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.url.authority().map_or("", http::uri::Authority::as_str)
    }

    /// The URL of a path (with its query, if any) at this endpoint.
    ///
    /// # Errors
    /// When `path` is not a path.
    pub fn join(&self, path: &str) -> Result<Uri, http::uri::InvalidUriParts> {
        let mut parts = self.url.clone().into_parts();
        parts.path_and_query = path.parse().ok().filter(|_| path.starts_with('/'));
        Uri::from_parts(parts)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        let url = Uri::builder().scheme("http").authority(address.to_string()).path_and_query("/").build();
        Self { id: address.to_string().into(), url: url.unwrap_or_default(), weight: 1 }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if &*self.id == self.authority() {
            f.write_str(&self.id)
        } else {
            write!(f, "{} ({})", self.id, self.authority())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_base_url_is_an_endpoint() {
        let endpoint = Endpoint::parse("http://localhost:4001").unwrap();
        assert_eq!((&**endpoint.id(), endpoint.authority()), ("localhost:4001", "localhost:4001"));
        assert_eq!(
            endpoint.join("/carts/7?full=1").unwrap().to_string(),
            "http://localhost:4001/carts/7?full=1"
        );
        assert!(endpoint.join("carts").is_err());
        for wrong in ["", "localhost:4001", "/carts", "not a url"] {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["ftp://a:1", "https://a:1/path", "http://a:1/path", "http://user@a:1", "http://a:1/?q"]
        {
            assert!(matches!(Endpoint::parse(wrong), Err(Error::NotABase { .. })), "{wrong}");
        }
    }

    #[test]
    fn the_scheme_says_whether_it_is_encrypted_and_which_port_is_meant() {
        let parts = |url: &str| {
            let endpoint = Endpoint::parse(url).unwrap();
            (endpoint.host().to_owned(), endpoint.port(), endpoint.is_encrypted())
        };
        assert_eq!(parts("http://a"), ("a".to_owned(), 80, false));
        assert_eq!(parts("https://a"), ("a".to_owned(), 443, true));
        assert_eq!(parts("https://[::1]:8443"), ("::1".to_owned(), 8443, true));
    }

    #[test]
    fn a_place_that_speaks_tls_is_the_same_place() {
        let plain = Endpoint::from("127.0.0.1:80".parse::<SocketAddr>().unwrap()).with_weight(7);
        let encrypted = plain.clone().encrypted();
        assert_eq!(encrypted.url().to_string(), "https://127.0.0.1:80/");
        assert_eq!((encrypted.id(), encrypted.weight()), (plain.id(), 7));
        assert!(encrypted.is_encrypted() && !encrypted.is_at(&plain));
    }

    #[test]
    fn an_address_is_an_endpoint() {
        let v6: SocketAddr = "[::1]:80".parse().unwrap();
        let endpoint = Endpoint::from(v6);
        assert_eq!(endpoint.url().to_string(), "http://[::1]:80/");
        assert_eq!(endpoint, Endpoint::parse("http://[::1]:80/").unwrap());
    }
}
