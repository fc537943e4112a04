//! How connections to a service are encrypted.

use std::path::PathBuf;
use std::time::Duration;

use leeward_runtime::config::Node;
use leeward_runtime::units::show_duration;
use rustls::pki_types::ServerName;

use super::listen::{Certificate, VERSIONS, Version};
use super::parse::set;

/// How connections to a service are encrypted, and who it must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceTls {
    /// Who may vouch for it: a PEM file. Default: those whom the system trusts.
    pub ca: Option<PathBuf>,
    /// What the gateway presents when it is asked to. Default: nothing.
    pub certificate: Option<Certificate>,
    /// The name or the address that its certificate must have, and that it is asked for. Default: that of its URL.
    pub server_name: Option<String>,
    /// The oldest version. Default 1.2.
    pub min_version: Version,
    /// Whether anybody at all is believed to be the service. Default: no.
    pub unsafe_skip_verification: bool,
    /// How often the files are looked at for changes. Default 10 s.
    pub reload: Duration,
}

/// Which version of HTTP a service is spoken to in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// Where connections are encrypted both sides agree on one (ALPN); elsewhere it is HTTP/1.1.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2. Where connections are not encrypted they begin with it unannounced ("prior knowledge").
    Http2,
}

impl Protocol {
    pub(super) const ALL: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("http1", Self::Http1), ("http2", Self::Http2)];

    /// Its name in a configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }

    /// What a service is offered in a handshake.
    pub(crate) const fn offered(self) -> &'static [&'static str] {
        match self {
            Self::Auto => &["h2", "http/1.1"],
            Self::Http1 => &["http/1.1"],
            Self::Http2 => &["h2"],
        }
    }
}

impl Default for ServiceTls {
    fn default() -> Self {
        Self {
            ca: None,
            certificate: None,
            server_name: None,
            min_version: Version::V12,
            unsafe_skip_verification: false,
            reload: Duration::from_secs(10),
        }
    }
}

/// The options, where they are given.
pub(super) fn read(node: &Node<'_>) -> Option<ServiceTls> {
    if !node.is_given() {
        return None;
    }
    let mut tls = ServiceTls { certificate: certificate(node), ..ServiceTls::default() };
    let ca = node.get("ca");
    tls.ca = ca.file();
    let is_name = |text: &str| ServerName::try_from(text).is_ok().then(|| text.to_owned());
    tls.server_name = node.get("server_name").parse_with(
        "the name of a server",
        "a name or an address without a port, as orders.internal",
        is_name,
    );
    set(&mut tls.min_version, node.get("min_version").one_of(&VERSIONS));
    set(&mut tls.unsafe_skip_verification, node.get("unsafe_skip_verification").bool());
    set(
        &mut tls.reload,
        node.get("reload").duration(Duration::from_millis(100)..=Duration::from_secs(86_400)),
    );
    if tls.unsafe_skip_verification && tls.ca.is_some() {
        ca.reject("is not asked where nothing is verified", "none, or no `unsafe_skip_verification`");
    }
    Some(tls)
}

/// A certificate and its key: one is of no use without the other.
fn certificate(node: &Node<'_>) -> Option<Certificate> {
    let (cert, key) = (node.get("certificate"), node.get("key"));
    match (cert.file(), key.file()) {
        (Some(cert), Some(key)) => return Some(Certificate { cert, key, names: Vec::new() }),
        (Some(_), None) => cert.reject("has no `key` beside it", "`certificate` and `key`, or none of them"),
        (None, Some(_)) => {
            key.reject("has no `certificate` beside it", "`certificate` and `key`, or none of them")
        }
        (None, None) => {}
    }
    None
}

impl ServiceTls {
    /// Its lines in a printed configuration.
    pub(super) fn lines(&self) -> Vec<String> {
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        let file = |file: &PathBuf| quote(&file.to_string_lossy());
        let mut lines = Vec::new();
        lines.extend(self.ca.as_ref().map(|ca| format!("ca: {}", file(ca))));
        if let Some(Certificate { cert, key, .. }) = &self.certificate {
            lines.push(format!("certificate: {}", file(cert)));
            lines.push(format!("key: {}", file(key)));
        }
        lines.extend(self.server_name.as_ref().map(|name| format!("server_name: {}", quote(name))));
        lines.push(format!("min_version: {}", quote(self.min_version.as_str())));
        lines.push(format!("unsafe_skip_verification: {}", self.unsafe_skip_verification));
        lines.push(format!("reload: {}", show_duration(self.reload)));
        lines
    }
}
