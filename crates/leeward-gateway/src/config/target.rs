//! Reading who answers a route's requests, and what changes on their way.

use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};
use http::{StatusCode, Uri};
use leeward_runtime::config::Node;
use leeward_runtime::units;

use super::delivery::delivery;
use super::parse::set;
use super::routes::{Services, service};
use super::split::split;
use crate::headers::{may_come_from_clients, may_come_from_services};
use crate::router::{Host, Pattern};
use crate::target::{
    Changes, HOST, Location, NewHost, PLAIN, REDIRECTS, Redirect, Respond, Rewrite, Target, Template,
};

/// Largest body of a fixed answer: it is kept in memory, and a larger one is a file of some service.
const RESPOND_BYTES_MAX: usize = 64 * 1_024;
/// Most changes of headers in one direction.
const CHANGES_MAX: usize = 32;

/// What only a route to a service has.
const OF_SERVICES: [&str; 5] = ["strip_prefix", "rewrite", "stale_if_error", "fallback", "forward_token"];
/// What only a route to several services has.
const OF_SEVERAL: [&str; 3] = ["deal", "pin", "sticky"];

/// Who answers: exactly one of them.
pub(super) fn target(
    node: &Node<'_>,
    pattern: Option<&Pattern>,
    hosts: &[Host],
    services: &mut Services,
    knows_users: bool,
) -> Option<Target> {
    let (service_node, split_node) = (node.get("service"), node.get("split"));
    let delivery_node = node.get("delivery");
    let is_several = split_node.is_given() || delivery_node.is_given();
    let (redirect_node, respond_node) = (node.get("redirect"), node.get("respond"));
    let nodes = [&service_node, &split_node, &delivery_node, &redirect_node, &respond_node];
    let mut given: Vec<&Node<'_>> = nodes.into_iter().filter(|node| node.is_given()).collect();
    let mut target = None;
    if redirect_node.is_given() {
        target = redirect(&redirect_node, pattern, hosts).map(Target::Redirect);
    }
    if respond_node.is_given() {
        target = respond(&respond_node).map(Target::Respond);
    }
    if split_node.is_given() {
        target = split(node, services, knows_users).map(Target::Split);
    }
    if delivery_node.is_given() {
        target = delivery(node, services, knows_users).map(Target::Split);
    }
    if service_node.is_given() || given.is_empty() {
        let node = if given.is_empty() { service_node.clone().required() } else { service_node.clone() };
        target = service(&node, services).map(Target::Service);
    } else if !is_several {
        for other in OF_SERVICES.iter().map(|key| node.get(key)).filter(Node::is_given) {
            other.reject("is for routes to a service", "none: the gateway answers this one itself");
        }
    }
    if !is_several {
        for other in OF_SEVERAL.iter().map(|key| node.get(key)).filter(Node::is_given) {
            other.reject(
                "is for routes with several services",
                "none, or a `split` in the place of `service`",
            );
        }
    }
    if given.len() > 1
        && let Some(second) = given.pop()
    {
        second.reject(
            "is the second to answer this route",
            "one of service, split, delivery, redirect and respond",
        );
        return None;
    }
    target
}

fn redirect(node: &Node<'_>, pattern: Option<&Pattern>, hosts: &[Host]) -> Option<Redirect> {
    const ALLOWED: &str = "a path as /new/{id}, or https://HOST with a path or none, HOST a name or {host}";
    let is_map = !node.is_scalar();
    let to_node = if is_map { node.get("to").required() } else { node.clone() };
    let to = to_node.text().zip(pattern).and_then(|(text, pattern)| {
        Location::parse(&text, pattern).map_err(|error| to_node.reject(error, ALLOWED)).ok()
    });
    let (mut status, mut keeps_query) = (StatusCode::TEMPORARY_REDIRECT, true);
    if is_map {
        let code = node.get("status").int(REDIRECTS[0]..=REDIRECTS[REDIRECTS.len() - 1]);
        if code.is_some_and(|code| !REDIRECTS.contains(&code)) {
            node.get("status").reject("is no redirect", "301, 302, 303, 307 or 308");
        }
        set(&mut status, code.and_then(|code| StatusCode::from_u16(code).ok()));
        set(&mut keeps_query, node.get("query").one_of(&[("keep", true), ("drop", false)]));
    }
    let to = to?;
    if to.needs_host() && hosts.is_empty() {
        to_node.reject(
            "would send a client wherever its `Host` header says",
            "a host that is written out, or `hosts` of the route",
        );
    }
    Some(Redirect { to, status, keeps_query })
}

/// A fixed answer.
pub(super) fn respond(node: &Node<'_>) -> Option<Respond> {
    let status =
        node.get("status").required().int(200..=599_u16).and_then(|code| StatusCode::from_u16(code).ok());
    let (body, content_type) = (node.get("body"), node.get("content_type"));
    let mut respond = Respond { status: status?, body: bytes::Bytes::new(), content_type: PLAIN };
    if let Some(text) = body.text() {
        if text.len() > RESPOND_BYTES_MAX {
            body.reject("is too long", units::show_size(RESPOND_BYTES_MAX as u64));
        }
        if matches!(
            respond.status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        ) {
            body.reject(
                format_args!("does not go with {}", respond.status.as_u16()),
                "none, or another status",
            );
        }
        respond.body = text.into();
    }
    let read = |text: &str| HeaderValue::try_from(text).ok();
    set(
        &mut respond.content_type,
        content_type.parse_with("a media type", "a media type, as text/html", read),
    );
    Some(respond)
}

pub(super) fn rewrite(node: &Node<'_>, pattern: Option<&Pattern>) -> Rewrite {
    if !node.is_given() {
        return Rewrite::default();
    }
    let (path, host) = (node.get("path"), node.get("host"));
    let template = path.text().zip(pattern).and_then(|(text, pattern)| {
        let allowed = "a path as /v2/items/{id}, of plain characters and parameters of the route's path";
        Template::parse(&text, pattern).map_err(|error| path.reject(error, allowed)).ok()
    });
    let read = |text: &str| {
        if text == HOST {
            return Some(NewHost::Clients);
        }
        let uri: Uri = format!("http://{text}/").parse().ok()?;
        let is_host = Host::parse(uri.host()?).is_ok() && !text.contains(['@', '*', '/', '?', '#']);
        is_host.then(|| HeaderValue::try_from(text).ok().map(NewHost::Fixed))?
    };
    let host = host.parse_with(
        "a host",
        "a name or an address, with a port if need be, or {host} for the client's",
        read,
    );
    Rewrite { path: template, host }
}

/// Which headers a direction's changes may be about.
pub(super) struct Direction {
    key: &'static str,
    is_refused: fn(&str) -> bool,
    whose: &'static str,
}

/// Of requests.
pub(super) const REQUEST: Direction = Direction {
    key: "request",
    is_refused: of_request,
    whose: "a header that clients may send, and that is not about framing or identity",
};
/// Of responses.
pub(super) const RESPONSE: Direction = Direction {
    key: "response",
    is_refused: of_response,
    whose: "a header that services may send, and that is not about framing or the gateway",
};

/// Framing is the codec's, hosts are `rewrite`'s, ids and trace are the gateway's, and a secret does not stand in a configuration.
fn of_request(name: &str) -> bool {
    const REFUSED: [&str; 9] = [
        "host",
        "content-length",
        "content-encoding",
        "x-request-id",
        "x-correlation-id",
        "traceparent",
        "tracestate",
        "authorization",
        "cookie",
    ];
    REFUSED.contains(&name) || !may_come_from_clients(name)
}

fn of_response(name: &str) -> bool {
    const REFUSED: [&str; 7] = [
        "content-length",
        "content-encoding",
        "content-range",
        "x-request-id",
        "x-correlation-id",
        "x-response-time",
        "x-service-name",
    ];
    REFUSED.contains(&name) || !may_come_from_services(name.as_bytes(), true)
}

/// Whether a header of a request, in lower case, may be changed on its way.
pub(crate) fn may_change_of_request(name: &str) -> bool {
    !of_request(name) && name != "connection"
}

/// Whether a header of an answer, in lower case, may be changed on its way.
pub(crate) fn may_change_of_response(name: &str) -> bool {
    !of_response(name) && name != "connection"
}

pub(super) fn changes(node: &Node<'_>, direction: &Direction) -> Arc<Changes> {
    let node = node.get(direction.key);
    if !node.is_given() {
        return Arc::default();
    }
    let names = node.get("remove");
    let remove = names.texts().iter().filter_map(|text| name(&names, text, direction)).collect();
    let pairs = |key| {
        let pairs = node.get(key).entries();
        pairs
            .into_iter()
            .filter_map(|(text, node)| Some((name(&node, text, direction)?, value(&node)?)))
            .collect()
    };
    let changes = Changes { remove, set: pairs("set"), add: pairs("add") };
    if changes.remove.len() + changes.set.len() + changes.add.len() > CHANGES_MAX {
        node.reject("has too many changes", format_args!("at most {CHANGES_MAX}"));
    }
    Arc::new(changes)
}

fn name(node: &Node<'_>, text: &str, direction: &Direction) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        node.reject(
            format_args!("is for `{text}`, which is not the name of a header"),
            "letters, digits, `-` and `_`",
        );
        return None;
    };
    if (direction.is_refused)(name.as_str()) || name == header::CONNECTION {
        node.reject(format_args!("is for `{name}`, which no configuration may change"), direction.whose);
        return None;
    }
    Some(name)
}

fn value(node: &Node<'_>) -> Option<HeaderValue> {
    let read = |text: &str| HeaderValue::try_from(text).ok();
    node.clone().required().parse_with("a value of a header", "visible characters and spaces", read)
}
