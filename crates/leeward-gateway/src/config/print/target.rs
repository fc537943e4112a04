use super::{Yaml, quote};
use crate::config::Route;
use crate::target::{Changes, Respond, Target};

/// Who answers, and what changes on the way.
pub(super) fn print(out: &mut Yaml, route: &Route) {
    match &route.target {
        Target::Service(name) => out.quoted(2, "service", name),
        Target::Split(split) => super::split::print(out, split),
        Target::Redirect(redirect) => {
            out.open(2, "redirect");
            out.quoted(3, "to", &redirect.to.text);
            out.line(3, "status", redirect.status.as_u16());
            out.line(3, "query", if redirect.keeps_query { "keep" } else { "drop" });
        }
        Target::Respond(fixed) => respond(out, 2, fixed),
    }
    if let Some(prefix) = &route.strip_prefix {
        out.quoted(2, "strip_prefix", prefix);
    }
    if !route.rewrite.is_none() {
        out.open(2, "rewrite");
        if let Some(path) = &route.rewrite.path {
            out.quoted(3, "path", &path.to_string());
        }
        if let Some(host) = &route.rewrite.host {
            out.quoted(3, "host", &host.to_string());
        }
    }
    let (request, response) = (&route.request_headers, &route.response_headers);
    if !(request.is_empty() && response.is_empty()) {
        out.open(2, "headers");
        changes(out, "request", request);
        changes(out, "response", response);
    }
}

/// A fixed answer.
pub(in crate::config) fn respond(out: &mut Yaml, depth: usize, fixed: &Respond) {
    out.open(depth, "respond");
    out.line(depth + 1, "status", fixed.status.as_u16());
    if !fixed.body.is_empty() {
        out.quoted(depth + 1, "body", &String::from_utf8_lossy(&fixed.body));
    }
    out.quoted(depth + 1, "content_type", fixed.content_type.to_str().unwrap_or_default());
}

fn changes(out: &mut Yaml, key: &str, changes: &Changes) {
    if changes.is_empty() {
        return;
    }
    out.open(3, key);
    if !changes.remove.is_empty() {
        out.list(4, "remove", changes.remove.iter().map(ToString::to_string));
    }
    for (key, pairs) in [("set", &changes.set), ("add", &changes.add)] {
        if !pairs.is_empty() {
            out.open(4, key);
        }
        for (name, value) in pairs {
            out.quoted(5, &quote(name.as_str()), value.to_str().unwrap_or_default());
        }
    }
}
