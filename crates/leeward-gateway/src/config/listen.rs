//! Where clients connect, and what they speak there.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use leeward_runtime::config::Node;

use super::parse::{MOMENT, set};

/// Most listeners, and most certificates of one.
const LIST_MAX: usize = 1_024;

/// One address where clients connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// The address.
    pub address: SocketAddr,
    /// How connections are encrypted; `None`: they are not.
    pub tls: Option<Tls>,
    /// What is spoken here. Default: both with TLS, where the two sides agree on one (ALPN); HTTP/1.1 alone without, where
    /// HTTP/2 has to be asked for, since a client can only begin with it unannounced ("prior knowledge").
    pub protocols: Protocols,
}

impl From<SocketAddr> for Listener {
    /// An address without TLS.
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None, protocols: Protocols::default_for(false) }
    }
}

/// Which versions of HTTP are spoken. At least one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protocols {
    /// HTTP/1.1, and HTTP/1.0.
    pub http1: bool,
    /// HTTP/2.
    pub http2: bool,
}

impl Protocols {
    const fn default_for(is_encrypted: bool) -> Self {
        Self { http1: true, http2: is_encrypted }
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.http1, self.http2) {
            (true, true) => "http1, http2",
            (false, true) => "http2",
            _ => "http1",
        })
    }
}

/// How connections to a listener are encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// The certificates; a client that names no host gets the first one.
    pub certificates: Vec<Certificate>,
    /// What a client gets that names a host which no certificate has. Default: nothing.
    pub unknown_names: UnknownNames,
    /// The oldest version. Default 1.2: 1.0 and 1.1 are broken, and not there at all.
    pub min_version: Version,
    /// Certificates that clients present; `None`: they are not asked for any.
    pub client_certificates: Option<ClientCertificates>,
    /// How long a handshake may take. Default 5 s: two round trips, and some for a lost packet.
    pub handshake_timeout: Duration,
    /// Most handshakes at a time on this listener; beyond it a connection is closed at once. Default 512: at 50 KiB each.
    pub handshakes: usize,
    /// How often the files are looked at for changes. Default 10 s.
    pub reload: Duration,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            unknown_names: UnknownNames::Refuse,
            min_version: Version::V12,
            client_certificates: None,
            handshake_timeout: Duration::from_secs(5),
            handshakes: 512,
            reload: Duration::from_secs(10),
        }
    }
}

/// A certificate with its key, as PEM files. They are read anew when they change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// The certificate and, behind it, those that vouch for it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The hosts that it is for, `*.example.com` for all right below one. Default: those that it names itself.
    pub names: Vec<String>,
}

/// What a client gets that names a host which no certificate has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnknownNames {
    /// The handshake ends with an alert.
    Refuse,
    /// The first certificate, which a careful client refuses by itself.
    First,
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// TLS 1.2, with forward secrecy and authenticated encryption alone.
    V12,
    /// TLS 1.3.
    V13,
}

impl Version {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::V12 => "1.2",
            Self::V13 => "1.3",
        }
    }
}

/// Certificates that clients present.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificates {
    /// Who may vouch for them: a PEM file.
    pub ca: PathBuf,
    /// Whether a client without one is refused in the handshake. Default: it is. With `optional` routes decide.
    pub required: bool,
}

const UNKNOWN: [(&str, UnknownNames); 2] = [("refuse", UnknownNames::Refuse), ("first", UnknownNames::First)];
pub(super) const VERSIONS: [(&str, Version); 2] = [("1.2", Version::V12), ("1.3", Version::V13)];
const MODES: [(&str, bool); 2] = [("required", true), ("optional", false)];
const ADDRESS: (&str, &str) =
    ("an address with a port", "an address and a port, as 127.0.0.1:8080 or [::]:8080");

/// One address, or a list of listeners. The environment sets one address without TLS, and so does not stand for a list.
pub(super) fn listen(node: &Node<'_>, default: SocketAddr) -> Vec<Listener> {
    const ENV: &str = "LEEWARD_LISTEN";
    if !node.is_list() {
        let given = node.clone().env(ENV).parse(ADDRESS.0, ADDRESS.1);
        return vec![Listener::from(given.unwrap_or(default))];
    }
    let items = node.items();
    if node.clone().env(ENV).is_scalar() {
        node.reject(
            format_args!("is a list, and {ENV} sets one address without TLS"),
            format_args!("one address here, or no {ENV}"),
        );
    }
    if items.is_empty() || items.len() > LIST_MAX {
        node.reject("has no listeners, or too many", format_args!("1 to {LIST_MAX} listeners"));
    }
    items.iter().map(|item| listener(item, default)).collect()
}

fn listener(node: &Node<'_>, default: SocketAddr) -> Listener {
    if node.is_scalar() {
        return Listener::from(node.parse(ADDRESS.0, ADDRESS.1).unwrap_or(default));
    }
    let address = node.get("address").required().parse(ADDRESS.0, ADDRESS.1);
    let tls = tls(&node.get("tls"));
    let mut protocols = Protocols::default_for(tls.is_some());
    let given = node.get("protocols");
    if given.is_given() {
        let names = given.texts();
        let has = |name: &str| names.iter().any(|given| given == name);
        protocols = Protocols { http1: has("http1"), http2: has("http2") };
        if names.is_empty() || !names.iter().all(|name| name == "http1" || name == "http2") {
            given.reject("is not a list of protocols", "http1, http2, or both");
        }
    }
    Listener { address: address.unwrap_or(default), tls, protocols }
}

fn tls(node: &Node<'_>) -> Option<Tls> {
    if !node.is_given() {
        return None;
    }
    let certificates = node.get("certificates").required();
    let items = certificates.items();
    if certificates.is_given() && (items.is_empty() || items.len() > LIST_MAX) {
        certificates.reject("has no certificates, or too many", format_args!("1 to {LIST_MAX} certificates"));
    }
    let mut tls = Tls { certificates: items.iter().filter_map(certificate).collect(), ..Tls::default() };
    set(&mut tls.unknown_names, node.get("unknown_names").one_of(&UNKNOWN));
    set(&mut tls.min_version, node.get("min_version").one_of(&VERSIONS));
    set(&mut tls.handshake_timeout, node.get("handshake_timeout").duration(MOMENT..=Duration::from_secs(60)));
    set(&mut tls.handshakes, node.get("handshakes").int(1..=100_000));
    set(
        &mut tls.reload,
        node.get("reload").duration(Duration::from_millis(100)..=Duration::from_secs(86_400)),
    );
    let clients = node.get("client_certificates");
    if clients.is_given() {
        let ca = clients.get("ca").required().file();
        let required = clients.get("mode").one_of(&MODES).unwrap_or(true);
        tls.client_certificates = ca.map(|ca| ClientCertificates { ca, required });
    }
    Some(tls)
}

fn certificate(node: &Node<'_>) -> Option<Certificate> {
    let (cert, key) = (node.get("cert").required().file(), node.get("key").required().file());
    let names = node.get("names");
    let given = names.texts();
    if let Some(bad) = given.iter().find(|name| !is_name(name)) {
        names.reject(
            format_args!("has `{bad}`, which is not the name of a host"),
            "names as example.com, or *.example.com for all right below it",
        );
    }
    let names = given.iter().map(|name| name.to_ascii_lowercase()).collect();
    Some(Certificate { cert: cert?, key: key?, names })
}

fn is_name(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

impl Listener {
    /// Whether its address is all that there is to say.
    pub(super) fn is_plain(&self) -> bool {
        *self == Self::from(self.address)
    }

    /// Its lines in a printed configuration, each with how deep it stands.
    pub(super) fn lines(&self) -> Vec<(usize, String)> {
        let mut lines = vec![
            (0, format!("- address: {}", self.address)),
            (1, format!("protocols: [{}]", self.protocols)),
        ];
        let Some(tls) = &self.tls else { return lines };
        lines.push((1, "tls:".to_owned()));
        lines.push((2, "certificates:".to_owned()));
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        for Certificate { cert, key, names } in &tls.certificates {
            lines.push((2, format!("- cert: {}", quote(&cert.to_string_lossy()))));
            lines.push((3, format!("key: {}", quote(&key.to_string_lossy()))));
            let names: Vec<String> = names.iter().map(|name| quote(name)).collect();
            lines.push((3, format!("names: [{}]", names.join(", "))));
        }
        let unknown = if tls.unknown_names == UnknownNames::Refuse { "refuse" } else { "first" };
        lines.push((2, format!("unknown_names: {unknown}")));
        lines.push((2, format!("min_version: {}", quote(tls.min_version.as_str()))));
        if let Some(ClientCertificates { ca, required }) = &tls.client_certificates {
            lines.push((2, "client_certificates:".to_owned()));
            lines.push((3, format!("ca: {}", quote(&ca.to_string_lossy()))));
            lines.push((3, format!("mode: {}", if *required { "required" } else { "optional" })));
        }
        let time = leeward_runtime::units::show_duration;
        lines.push((2, format!("handshake_timeout: {}", time(tls.handshake_timeout))));
        lines.push((2, format!("handshakes: {}", tls.handshakes)));
        lines.push((2, format!("reload: {}", time(tls.reload))));
        lines
    }
}
