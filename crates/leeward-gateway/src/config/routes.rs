//! Reading the routes, and what only all of them together can get wrong.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use leeward_runtime::config::Node;
use leeward_runtime::units;

use super::access::access;
use super::addresses::addresses;
use super::deprecated::deprecated;
use super::fallback;
use super::named::Policies;
use super::parse::{HOUR, MOMENT, line, set};
use super::services::{is_encrypted, old_names, url};
use super::shed;
use super::takes::{self, Taken, Takes};
use super::target;
use super::tunnel;
use super::{ClientCertificate, Route, RoutePolicies, Rule, ServicePolicy, ServiceTls, security_headers};
use crate::security_headers::SecurityHeaders;
use crate::target::Target;

/// Most routes of a configuration: more than any gateway that a person still reads.
const ROUTES_MAX: usize = 10_000;

pub(super) type Services = BTreeMap<Arc<str>, ServicePolicy>;

/// What routes need to know of the top of the file.
pub(super) struct Top<'a> {
    /// Whether a request may say who it is for.
    pub(super) knows_users: bool,
    pub(super) security_headers: &'a SecurityHeaders,
}

pub(super) fn routes<'d>(
    node: &Node<'d>,
    policies: &Policies<'d>,
    services: &mut Services,
    top: &Top<'_>,
) -> Vec<Route> {
    let items = node.items();
    if node.is_given() && (items.is_empty() || items.len() > ROUTES_MAX) {
        node.reject("has no routes, or too many", format_args!("1 to {ROUTES_MAX} routes"));
    }
    let mut routes: Vec<Route> = Vec::with_capacity(items.len());
    let (mut taken, mut ids) = (Taken::default(), HashMap::new());
    for item in &items {
        let item = &policies.under(item);
        let Some(route) = route(item, services, top) else { continue };
        taken.add(item, &routes, &route);
        if let Some(other) = ids.insert(Arc::clone(&route.id), Arc::clone(&route.origin))
            && route.is_named()
        {
            item.get("id").reject(format_args!("is the id of the route at {other}"), "each id once");
        }
        routes.push(route);
    }
    for unused in policies.unused() {
        let _checked = route(&unused, services, top);
    }
    routes
}

fn route(node: &Node<'_>, services: &mut Services, top: &Top<'_>) -> Option<Route> {
    let strip_prefix = node.get("strip_prefix");
    let rule = access(&node.get("access"));
    if rule != Rule::Anyone && !top.knows_users {
        node.get("access").reject(
            "needs `jwt`, `api_keys` or `basic`: without them nobody is known",
            "anyone, or one of these sections",
        );
    }
    let (stale, stale_node) = stale(node);
    let Takes { hosts, pattern, methods, conditions } = takes::read(node);
    let target = target::target(node, pattern.as_ref(), &hosts, services, top.knows_users);
    let tunnel = tunnel::tunnel(node, target.as_ref(), services);
    let fallback = fallback::fallback(node, target.as_ref(), services);
    let rewrite = target::rewrite(&node.get("rewrite"), pattern.as_ref());
    let headers = node.get("headers");
    // A route that is not whole is read to its end, so that all of its mistakes are told.
    let is_whole = pattern.is_some() && target.is_some();
    let mut route = Route {
        id: Arc::default(),
        hosts,
        pattern: pattern.unwrap_or_default(),
        methods,
        conditions,
        target: target.unwrap_or(Target::Service(Arc::default())),
        strip_prefix: strip_prefix.text().map(|text| text.trim_end_matches('/').to_owned()),
        rewrite,
        request_headers: target::changes(&headers, &target::REQUEST),
        response_headers: target::changes(&headers, &target::RESPONSE),
        security_headers: own_headers(&node.get("security_headers"), top.security_headers),
        addresses: addresses(node),
        access: rule,
        priority: shed::priority(node),
        deadline: node.get("deadline").duration(MOMENT..=HOUR),
        body_bytes: node.get("body").size(0..=units::size("64GiB").unwrap_or(u64::MAX)),
        rate_limit: None,
        policies: RoutePolicies::read(node),
        stale_if_error: stale,
        fallback,
        client_certificate: client_certificate(&node.get("client_certificate")),
        forward_token: false,
        tunnel,
        deprecated: deprecated(&node.get("deprecated")),
        origin: line(&node.origin()),
    };
    route.id = id(&node.get("id")).unwrap_or_else(|| route.derived_id().into());
    node.get("rate_limit").optional_policy(&mut route.rate_limit);
    let forward_token = node.get("forward_token");
    set(&mut route.forward_token, forward_token.bool());
    if let Some(prefix) = &route.strip_prefix
        && is_whole
        && !under(route.pattern.text(), prefix)
    {
        strip_prefix
            .reject("is not the beginning of the route's path", "whole segments of `path`, as /api/v1");
    }
    if route.strip_prefix.is_some() && route.rewrite.path.is_some() {
        strip_prefix.reject("does not go with `rewrite.path`, which says the whole path", "one of the two");
    }
    old_names(node);
    policies_have_service(node, &route);
    if route.stale_if_error.is_some() && route.access != Rule::Anyone {
        stale_node
            .reject("is for routes whose answers are the same for everybody", "none, or `access: anyone`");
    }
    if route.stale_if_error.is_some() && route.forward_token {
        forward_token.reject(
            "does not go with `stale_if_error`: an answer to one user's token is not one for everybody",
            "false, or no `stale_if_error`",
        );
    }
    is_whole.then_some(route)
}

/// What the gateway answers itself asks nobody.
fn policies_have_service(node: &Node<'_>, route: &Route) {
    let Some(policies) = &route.policies else { return };
    if route.target.services().next().is_none() {
        for key in policies.keys() {
            node.get(key)
                .reject("is for routes to a service: this one is answered here", "none, or a `service`");
        }
    }
}

fn own_headers(node: &Node<'_>, top: &SecurityHeaders) -> Option<SecurityHeaders> {
    node.is_given().then(|| security_headers::read(node, top))
}

/// Without a slash, so that no given id is a derived one, and that each is one segment of a path of the admin API.
fn id(node: &Node<'_>) -> Option<Arc<str>> {
    const ID_BYTES_MAX: usize = 64;
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let read = |text: &str| {
        let is_id =
            (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(fine) && !matches!(text, "." | "..");
        is_id.then(|| text.into())
    };
    node.parse_with("an id", "1 to 64 letters, digits, `-`, `_` and `.`, as orders-read", read)
}

fn stale<'d>(node: &Node<'d>) -> (Option<Duration>, Node<'d>) {
    let stale = node.get("stale_if_error");
    (stale.duration(Duration::from_secs(1)..=720 * HOUR), stale)
}

fn under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn client_certificate(node: &Node<'_>) -> Option<ClientCertificate> {
    if !node.is_given() {
        return None;
    }
    let names = node.texts();
    if names == ["any"] {
        return Some(ClientCertificate::Any);
    }
    if names.is_empty() {
        node.reject("names no certificate", "any, or a list of names that certificates have");
    }
    Some(ClientCertificate::Names(names))
}

/// A name from `services`, or the URL of the one endpoint of a service that is named after it.
pub(super) fn service(node: &Node<'_>, services: &mut Services) -> Option<Arc<str>> {
    named(node, &node.text()?, services)
}

/// The same for a text that stands somewhere else than in the node's value.
pub(super) fn named(node: &Node<'_>, text: &str, services: &mut Services) -> Option<Arc<str>> {
    if let Some((scheme, place)) = text.split_once("://") {
        // Thousands of routes may have the one URL.
        if let Some((name, known)) = services.get_key_value(place)
            && let [url] = known.urls.as_slice()
            && url.scheme_str() == Some(scheme)
            && url.authority().is_some_and(|authority| authority.as_str() == place)
        {
            return Some(Arc::clone(name));
        }
        let uri = url(node, text)?;
        let name: Arc<str> = uri.authority()?.as_str().into();
        let tls = is_encrypted(&uri).then(ServiceTls::default);
        let known = services.entry(Arc::clone(&name)).or_insert_with(|| ServicePolicy {
            urls: vec![uri.clone()],
            tls,
            ..Default::default()
        });
        let is_at = |url: &Uri| url.authority() == uri.authority() && url.scheme() != uri.scheme();
        if known.urls.iter().any(is_at) {
            node.reject(
                "is the same place as that of another route, spoken to in another way",
                "one scheme for it",
            );
        }
        return Some(name);
    }
    if let Some((name, _)) = services.get_key_value(text) {
        return Some(Arc::clone(name));
    }
    let known: Vec<&str> = services.keys().map(|name| &**name).collect();
    node.reject_key(text, "is neither a URL nor a service of `services`", known);
    None
}
