//! Reading the services and their outbound policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Uri;
use http::uri::Authority;
use leeward_runtime::config::Node;

use super::facts::known;
use super::hash_on::HASH_ON;
use super::named::Policies;
use super::parse::{renamed, set};
use super::{Facts, HashOn, Protocol, ServicePolicy, ServiceTls, service_tls};
use crate::gateway::NAME;

/// The services with their policies, and what is known of them.
pub(super) fn services<'d>(
    node: &Node<'d>,
    policies: &Policies<'d>,
    facts: &mut Facts,
) -> BTreeMap<Arc<str>, ServicePolicy> {
    let mut services = BTreeMap::new();
    for (name, node) in node.entries() {
        if !is_name(name) {
            node.reject(
                format_args!("`{name}` is not a service name"),
                "letters, digits, `-`, `_`, `.` and, in the name of an address, `:`",
            );
        }
        if name == NAME {
            node.reject(format_args!("`{NAME}` is the gateway itself"), "another name");
        }
        let name: Arc<str> = name.into();
        services.insert(Arc::clone(&name), service(&policies.under(&node)));
        facts.services.insert(name, known(&node));
    }
    for unused in policies.unused() {
        let _checked = service(&unused);
    }
    services
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b))
}

fn service(node: &Node<'_>) -> ServicePolicy {
    let mut policy = ServicePolicy::default();
    let urls = node.get("urls");
    if urls.is_given() {
        policy.urls = urls.texts().iter().filter_map(|text| url(&urls, text)).collect();
    }
    let name = node.get("dns");
    policy.dns = name.parse(DNS.0, DNS.1);
    if policy.dns.is_some() && urls.is_given() {
        name.reject("does not go with `urls`: endpoints are given or looked up", "one of the two");
    }
    policy.tls = tls(&node.get("tls"), &policy.urls);
    set(&mut policy.protocol, node.get("protocol").one_of(&Protocol::ALL));
    old_names(node);
    let hash_on = node.get("hash_on");
    let given = hash_on.parse_with("what a request has", HASH_ON, HashOn::parse);
    let is_read = given.is_some();
    set(&mut policy.hash_on, given);
    node.policy(&mut policy);
    if !node.get("adaptive").is_given() {
        policy.fit_adaptive();
    }
    if is_read && policy.key().is_none() {
        hash_on.reject("is for services that balance by it", "none, or `balance: ring_hash`");
    }
    policy
}

/// The names that policies had once.
pub(super) fn old_names(node: &Node<'_>) {
    for (old, new) in [("breaker", "circuit_breaker"), ("concurrency", "concurrency_limit")] {
        renamed(node, old, new);
    }
}

const DNS: (&str, &str) = (
    "a name in DNS",
    "HOST:PORT, as orders.internal:4001, or service records, as _http._tcp.orders.internal",
);
/// How the service is spoken to: as is said, or by the defaults where one of its URLs needs it.
fn tls(node: &Node<'_>, urls: &[Uri]) -> Option<ServiceTls> {
    let given = service_tls::read(node);
    let is_needed = urls.iter().any(is_encrypted);
    if given.is_some() && !urls.is_empty() && !is_needed {
        node.reject("is for services whose `urls` are https://", "none, or https:// in `urls`");
    }
    given.or_else(|| is_needed.then(ServiceTls::default))
}

pub(super) fn is_encrypted(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

const URL: &str = "http://HOST:PORT or https://HOST:PORT without a path, as http://127.0.0.1:4001";

/// A host, and a port that is one, if any. The parser of URLs lets much more through, and what stands here names
/// a service.
fn is_place(authority: &Authority) -> bool {
    let (host, text) = (authority.host(), authority.as_str());
    let port = authority.port_u16().filter(|port| *port > 0);
    let whole = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    !host.is_empty() && is_name(host) && text == whole
}

/// Reads an endpoint's URL, or records why it is none.
pub(super) fn url(node: &Node<'_>, text: &str) -> Option<Uri> {
    let uri = text.parse::<Uri>().ok();
    if uri.as_ref().and_then(Uri::authority).is_some_and(|authority| authority.as_str().contains('@')) {
        node.reject(
            "has a name or a password in front of its host: a secret does not stand in a configuration itself",
            URL,
        );
        return None;
    }
    let fine = uri.filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(is_place)
            && uri.path_and_query().is_none_or(|path| path.as_str() == "/")
    });
    if fine.is_none() {
        node.reject(format_args!("has `{text}`, which is not the URL of an endpoint"), URL);
    }
    fine
}
