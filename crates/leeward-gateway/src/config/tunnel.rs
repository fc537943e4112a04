//! Reading what a route's connections may be switched to.

use std::sync::Arc;
use std::time::Duration;

use leeward_runtime::config::Node;

use super::parse::set;
use super::routes::Services;
use super::{Protocol, Tunnel};
use crate::target::Target;

const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);

/// `upgrade` and `tunnel` of a route.
pub(super) fn tunnel(node: &Node<'_>, target: Option<&Target>, services: &Services) -> Option<Tunnel> {
    let (upgrade, tunnel) = (node.get("upgrade"), node.get("tunnel"));
    let mut options = Tunnel::default();
    set(&mut options.idle_timeout, tunnel.get("idle_timeout").duration(SECOND..=DAY));
    options.max_duration = tunnel.get("max_duration").duration(SECOND..=7 * DAY);
    if !upgrade.is_given() {
        if tunnel.is_given() {
            tunnel.reject(
                "is for connections that are switched, and none is",
                "`upgrade: [websocket]` beside it",
            );
        }
        return None;
    }
    if upgrade.texts() != ["websocket"] {
        upgrade.reject("is not a list of what connections may be switched to", "websocket");
    }
    match target {
        Some(target @ (Target::Service(_) | Target::Split(_))) => {
            for name in target.services().filter(|name| !speaks_http1(name, services)) {
                upgrade.reject(
                    format_args!("needs HTTP/1.1 towards {name}, which is spoken to over HTTP/2 or may be"),
                    "`protocol: http1` of that service",
                );
            }
        }
        Some(_) => upgrade.reject("needs a service to switch to", "none, where the gateway answers itself"),
        None => {}
    }
    Some(options)
}

/// Whether a service is spoken to over HTTP/1.1: where both sides agree on a protocol over TLS, it may be another one.
fn speaks_http1(name: &Arc<str>, services: &Services) -> bool {
    services.get(name).is_none_or(|service| match service.protocol {
        Protocol::Http1 => true,
        Protocol::Http2 => false,
        Protocol::Auto => service.tls.is_none(),
    })
}
