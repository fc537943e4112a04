//! Reading what answers in the place of a route's service when that fails.

use std::fmt;
use std::sync::Arc;

use leeward_resilience::Fallback as Options;
use leeward_resilience::config::{Value, write};
use leeward_runtime::config::Node;

use super::print::Yaml;
use super::routes::{Services, service};
use super::target::respond;
use crate::target::{Respond, Target};

/// What answers in the place of a route's service when that fails, and for which failures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fallback {
    /// What answers.
    pub substitute: Substitute,
    /// For which causes, within which time, and whether at all. Default: [`Options::default`].
    pub options: Options,
}

/// What answers in the place of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Substitute {
    /// A fixed answer, at once. Not for calls of gRPC: none of them would take it for an answer.
    Respond(Respond),
    /// Another service, which gets the request once, through its own policies, where the request may be sent to a second one.
    Service(Arc<str>),
}

impl Substitute {
    /// The service that is asked, if one is.
    #[must_use]
    pub const fn service(&self) -> Option<&Arc<str>> {
        match self {
            Self::Respond(_) => None,
            Self::Service(name) => Some(name),
        }
    }
}

impl fmt::Display for Substitute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Respond(respond) => write!(f, "{} of the configuration", respond.status.as_u16()),
            Self::Service(name) => f.write_str(name),
        }
    }
}

/// `fallback` of a route. That the route has a service at all is looked at with its target.
pub(super) fn fallback(
    route: &Node<'_>,
    target: Option<&Target>,
    services: &mut Services,
) -> Option<Fallback> {
    let node = route.get("fallback");
    let mut options = None;
    node.optional_policy(&mut options);
    let nothing = || node.reject("does not say what answers", "one of respond and service");
    if !node.is_given() || node.is_scalar() {
        // All but `off`.
        if options.is_some() {
            nothing();
        }
        return None;
    }
    if route.get("upgrade").is_given() {
        node.reject(
            "does not go with `upgrade`: nothing stands in for a connection that is switched",
            "no `fallback`, or a route of its own for what is switched",
        );
    }
    let (respond_node, service_node) = (node.get("respond"), node.get("service"));
    let (has_answer, has_service) = (respond_node.is_given(), service_node.is_given());
    if has_answer && has_service {
        service_node.reject("is the second substitute", "one of respond and service");
    }
    if !has_answer && !has_service && !node.is_partial() {
        nothing();
    }
    let answer = if has_answer { respond(&respond_node).map(Substitute::Respond) } else { None };
    let other = if has_service { another(&service_node, target, services) } else { None };
    let substitute = answer.or(other.map(Substitute::Service))?;
    Some(Fallback { substitute, options: options.unwrap_or_default() })
}

/// A service that is none of the route's own.
fn another(node: &Node<'_>, target: Option<&Target>, services: &mut Services) -> Option<Arc<str>> {
    let name = service(node, services)?;
    if target.is_some_and(|target| target.services().any(|own| *own == name)) {
        node.reject(
            "is a service of the route itself: what has just failed would be asked again",
            "another service, or `respond`",
        );
    }
    Some(name)
}

pub(super) fn print(out: &mut Yaml, fallback: &Fallback) {
    out.open(2, "fallback");
    match &fallback.substitute {
        Substitute::Respond(answer) => super::print::respond(out, 3, answer),
        Substitute::Service(name) => out.quoted(3, "service", name),
    }
    if let Value::Map(options) = write(&fallback.options) {
        for (name, value) in &options {
            out.value(3, name, value);
        }
    }
}
