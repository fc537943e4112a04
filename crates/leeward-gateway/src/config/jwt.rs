//! Whose tokens are known, and how they are checked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use leeward_runtime::config::Node;

use super::parse::{HOUR, secret, set, size};
use super::services::is_encrypted;
use super::{ServicePolicy, ServiceTls, Token, service_tls};
use crate::access::secret_in;
use crate::address;
use crate::jwt::{Algorithm, KeySet, Names, SECRET_BYTES_MIN};

/// Most issuers: each has keys that are fetched by themselves.
const ISSUERS_MAX: usize = 32;

/// Where the keys of an issuer come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeySource {
    /// A service behind this gateway publishes them.
    Service {
        /// Its name.
        service: Arc<str>,
        /// The path. Default `/.well-known/jwks.json`.
        path: String,
    },
    /// They are published elsewhere.
    Url(Uri),
    /// A JWK set or public keys in PEM, by reference.
    Given(Token),
    /// The secret of HS256.
    Secret(Token),
}

impl KeySource {
    /// Whether somebody publishes them, and they are fetched.
    #[must_use]
    pub const fn is_published(&self) -> bool {
        matches!(self, Self::Service { .. } | Self::Url(_))
    }

    /// The service that publishes them, if one does.
    #[must_use]
    pub const fn service(&self) -> Option<&Arc<str>> {
        match self {
            Self::Service { service, .. } => Some(service),
            Self::Url(_) | Self::Given(_) | Self::Secret(_) => None,
        }
    }
}

impl std::fmt::Display for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service { service, .. } => f.write_str(service),
            Self::Url(url) => write!(f, "{url}"),
            Self::Given(text) | Self::Secret(text) => f.write_str(&text.reference),
        }
    }
}

/// How the tokens of one issuer are checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Jwt {
    /// Where the keys come from.
    pub keys: KeySource,
    /// How they are fetched, where their place is a URL that is `https://`.
    pub tls: Option<ServiceTls>,
    /// The `iss` that a token must have; with several issuers each has its own.
    pub issuer: Option<String>,
    /// A token's `aud` must name one of these. Default: none, and it may be for anybody.
    pub audience: Vec<String>,
    /// How tokens may be signed. Default: as any key says that is published (EdDSA, ES256, RS256); HS256 with a secret, and only with one.
    pub algorithms: Vec<Algorithm>,
    /// What is put in front of the ids of this issuer's users, as `partner:`, so that its `u1` is not another's. Default: nothing.
    pub prefix: String,
    /// Whether this issuer's users are those of another one with the same prefix. Default: no, and two such issuers are a mistake.
    pub unsafe_shared_users: bool,
    /// Whether keys at a `url` may come without encryption from another machine. Default: no.
    pub unsafe_plain_url: bool,
    /// Which claims say roles, permissions and scopes.
    pub claims: Names,
    /// How far clocks may differ. Default 5 s.
    pub leeway: Duration,
    /// Longest token looked at. Default 8 KiB.
    pub token_bytes: usize,
    /// How often published keys are fetched anew. Default 5 min.
    pub refresh: Duration,
    /// How long keys stay good while they cannot be fetched. Default 24 h.
    pub stale_if_error: Duration,
}

/// One issuer, or a list of them.
pub(super) fn issuers(node: &Node<'_>) -> Vec<Jwt> {
    if !node.is_list() {
        return issuer(node).into_iter().collect();
    }
    let nodes = node.items();
    if nodes.is_empty() || nodes.len() > ISSUERS_MAX {
        node.reject("has no issuer, or too many", format_args!("1 to {ISSUERS_MAX} issuers"));
    }
    let mut known: Vec<Jwt> = Vec::new();
    for node in &nodes {
        let Some(jwt) = issuer(node) else { continue };
        if nodes.len() > 1 {
            check_against(node, &jwt, &known);
        }
        known.push(jwt);
    }
    known
}

/// What only all of them together can get wrong.
fn check_against(node: &Node<'_>, jwt: &Jwt, known: &[Jwt]) {
    let name = node.get("issuer");
    if jwt.issuer.is_none() && !matches!(jwt.keys, KeySource::Secret(_)) {
        name.reject("is missing: of several issuers each is known by its own", "the `iss` of its tokens");
    }
    if jwt.issuer.is_some() && known.iter().any(|other| other.issuer == jwt.issuer) {
        name.reject("is there already", "each issuer once");
    }
    if !jwt.unsafe_shared_users && known.iter().any(|other| other.prefix == jwt.prefix) {
        node.get("prefix").reject(
            "is that of another issuer: a user of one would be taken for a user of the other who has the same `sub`",
            "a prefix of its own, as partner:, or `unsafe_shared_users: true` where both name the same people",
        );
    }
}

/// Each service that publishes keys must be one.
pub(super) fn services(node: &Node<'_>, services: &BTreeMap<Arc<str>, ServicePolicy>) {
    let nodes = if node.is_list() { node.items() } else { vec![node.clone()] };
    for service in nodes.iter().map(|node| node.get("service")) {
        if service.text().is_some_and(|name| !services.contains_key(name.as_str())) {
            service.reject_name("is not a service", services.keys().map(|name| &**name));
        }
    }
}

fn issuer(node: &Node<'_>) -> Option<Jwt> {
    if !node.is_given() {
        return None;
    }
    let keys = keys(node);
    let is_shared = matches!(keys, Some(KeySource::Secret(_)));
    let issuer = node.get("issuer");
    if is_shared && !issuer.is_given() {
        issuer.reject("is missing: who shares a secret is an issuer of its own", "the `iss` of its tokens");
    }
    let mut jwt = Jwt {
        // Without one the mistake is recorded, and what follows is still read.
        keys: keys.unwrap_or(KeySource::Service { service: "".into(), path: String::new() }),
        tls: None,
        issuer: issuer.text(),
        audience: node.get("audience").texts(),
        algorithms: algorithms(&node.get("algorithms"), is_shared),
        prefix: String::new(),
        unsafe_shared_users: false,
        unsafe_plain_url: false,
        claims: claims(&node.get("claims")),
        leeway: Duration::from_secs(5),
        token_bytes: 8 * 1_024,
        refresh: Duration::from_secs(300),
        stale_if_error: 24 * HOUR,
    };
    jwt.tls = tls(&node.get("tls"), &jwt.keys);
    set(&mut jwt.prefix, node.get("prefix").parse_with("a prefix", PREFIX, prefix));
    set(&mut jwt.unsafe_shared_users, node.get("unsafe_shared_users").bool());
    set(&mut jwt.unsafe_plain_url, node.get("unsafe_plain_url").bool());
    refuse_plain_url(node, &jwt);
    set(&mut jwt.leeway, node.get("leeway").duration(Duration::ZERO..=Duration::from_secs(300)));
    set(&mut jwt.token_bytes, size(&node.get("token"), 256, 64 * 1_024));
    set(&mut jwt.refresh, node.get("refresh").duration(Duration::from_secs(1)..=24 * HOUR));
    set(&mut jwt.stale_if_error, node.get("stale_if_error").duration(Duration::ZERO..=720 * HOUR));
    Some(jwt)
}

/// Who is on the way to keys that come in clear puts in their own.
fn refuse_plain_url(node: &Node<'_>, jwt: &Jwt) {
    let KeySource::Url(url) = &jwt.keys else { return };
    if !is_encrypted(url) && !jwt.unsafe_plain_url && !address::is_here(url) {
        node.get("url").reject(
            "brings the keys over a network without encryption",
            "https://HOST:PORT/PATH, or `unsafe_plain_url: true` beside it",
        );
    }
}

/// As is said, or by the defaults where the keys are at an `https://` URL.
fn tls(node: &Node<'_>, keys: &KeySource) -> Option<ServiceTls> {
    let given = service_tls::read(node);
    let is_needed = matches!(keys, KeySource::Url(url) if is_encrypted(url));
    if given.is_some() && !is_needed {
        node.reject("is for keys at a `url` that is https://", "none, or such a `url`");
    }
    given.or_else(|| is_needed.then(ServiceTls::default))
}

const PREFIX: &str = "up to 32 letters, digits, `-` and `_` with a colon behind, as partner:";

fn prefix(text: &str) -> Option<String> {
    let name = text.strip_suffix(':')?;
    let fine = !name.is_empty()
        && name.len() <= 32
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    fine.then(|| text.to_owned())
}

fn keys(node: &Node<'_>) -> Option<KeySource> {
    let [service, url, given, shared] = ["service", "url", "keys", "secret"].map(|key| node.get(key));
    let path = node.get("path");
    let count = [&service, &url, &given, &shared].iter().filter(|node| node.is_given()).count();
    if count != 1 {
        node.reject(
            "has no keys, or keys of several kinds",
            "one of `service` (publishes them), `url` (of a JWK set), `keys` (a file of them), `secret` (for HS256)",
        );
        return None;
    }
    if path.is_given() && !service.is_given() {
        path.reject("goes with `service` alone", "none; a `url` has its path");
    }
    if service.is_given() {
        let is_path = |text: &str| text.starts_with('/').then(|| text.to_owned());
        let path = path.parse_with("a path", "a path, as /.well-known/jwks.json", is_path);
        let path = path.unwrap_or_else(|| "/.well-known/jwks.json".to_owned());
        return Some(KeySource::Service { service: service.text()?.into(), path });
    }
    if url.is_given() {
        let read = url.parse_with(
            "the URL of a key set",
            "http://HOST:PORT/PATH or https://HOST:PORT/PATH",
            http_url,
        );
        if let Some(name) = read.as_ref().and_then(Uri::query).and_then(secret_in) {
            url.reject(
                format_args!("has a secret, `{name}`, in its query, where logs and operators would see it"),
                "a URL without one: key sets are public",
            );
        }
        return read.map(KeySource::Url);
    }
    if given.is_given() {
        let text = secret(&given)?;
        if let Err(error) = KeySet::given(text.secret.reveal()) {
            given.reject(error, "a JWK set, or public keys in PEM (PUBLIC KEY), of Ed25519, P-256 or RSA from 2048 to 8192 bits");
        }
        return Some(KeySource::Given(text));
    }
    let secret = secret(&shared)?;
    if secret.secret.reveal().len() < SECRET_BYTES_MIN {
        let allowed = format!(
            "a secret of at least {SECRET_BYTES_MIN} bytes that nobody can guess, as `openssl rand -hex 32` makes"
        );
        shared.reject("is too short for HS256", allowed);
    }
    Some(KeySource::Secret(secret))
}

fn http_url(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let fine =
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
    let is_bare = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    (fine && is_bare).then_some(uri)
}

fn algorithms(node: &Node<'_>, is_shared: bool) -> Vec<Algorithm> {
    let allowed: &[Algorithm] = if is_shared { &[Algorithm::Hs256] } else { &Algorithm::PUBLIC };
    if !node.is_given() {
        return allowed.to_vec();
    }
    let names = || allowed.iter().map(|algorithm| algorithm.name());
    let mut chosen = Vec::new();
    for name in node.texts() {
        match allowed.iter().find(|algorithm| algorithm.name() == name) {
            Some(algorithm) if !chosen.contains(algorithm) => chosen.push(*algorithm),
            Some(_) => {}
            None => node.reject(
                format_args!("has `{name}`, which is not an algorithm for keys of this kind"),
                names().collect::<Vec<_>>().join(", "),
            ),
        }
    }
    if chosen.is_empty() { allowed.to_vec() } else { chosen }
}

fn claims(node: &Node<'_>) -> Names {
    let mut claims = Names::default();
    for (key, target) in [
        ("roles", &mut claims.roles),
        ("permissions", &mut claims.permissions),
        ("scopes", &mut claims.scopes),
    ] {
        let names = node.get(key);
        if names.is_given() {
            *target = names.texts();
        }
    }
    claims
}
