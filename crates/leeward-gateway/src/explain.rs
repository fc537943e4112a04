//! What would become of a request, told without a gateway running: `leeward explain METHOD URL`.
//!
//! It asks the same code as a request does: the codec, the canonical path, the routes, the policies. What depends on a moment
//! (whose token it is, how much of a limit is used) is said as what decides.

mod choice;
mod fallback;

use std::fmt;

use bytes::BytesMut;
use http::request::Parts;
use http::uri::Authority;
use http::{Method, StatusCode, Uri};
use leeward_resilience::config::units::show_duration;
use leeward_resilience::{ConfigErrors, Pipeline, RateLimit};
use leeward_runtime::units::show_size;

use crate::address::{Addresses, Networks};
use crate::config::{
    ClientCertificate, Config, Route, Rule, ServicePolicy, ServiceTls, explained, policy_name,
};
use crate::credentials::{self, Accepted, Presented, Unreadable};
use crate::decisions::unless;
use crate::h1::{Bounds, Head, Length, Reader};
use crate::headers;
use crate::life;
use crate::overload;
use crate::refusal::Refusal;
use crate::router::{Ask, Entry, Match, Router, Verdict, scan};

/// What would become of one request, step by step.
#[derive(Debug, Default)]
pub struct Explanation {
    steps: Vec<Step>,
    refused: Option<(StatusCode, &'static str)>,
}

#[derive(Debug)]
struct Step {
    stage: &'static str,
    says: String,
    /// Where in the configuration that stands, as `file:line` or as the name of the option.
    from: String,
}

impl Explanation {
    /// The answer that the gateway would give by itself, if it is certain that it would.
    #[must_use]
    pub fn refused(&self) -> Option<(StatusCode, &'static str)> {
        self.refused
    }

    /// What is said, line by line, each with its stage; without the places where it stands, and without why other routes do not take it.
    pub(crate) fn lines(&self) -> Vec<String> {
        let steps = self.steps.iter().filter(|step| step.stage != OTHERS);
        steps
            .flat_map(|step| step.says.lines().map(|line| format!("{}: {}", step.stage, line.trim())))
            .collect()
    }

    fn step(&mut self, stage: &'static str, from: impl Into<String>, says: impl Into<String>) {
        self.steps.push(Step { stage, says: says.into(), from: from.into() });
    }

    fn refuse(&mut self, refusal: &Refusal, from: impl Into<String>, unless: &str) {
        let Refusal { status, code, detail, .. } = refusal;
        self.step(
            refusal.stage.as_str(),
            from,
            format!("REFUSED with {} {code}: {detail}; {unless}", status.as_u16()),
        );
        self.refused = Some((*status, code));
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { stage, says, from } in &self.steps {
            let mut lines = says.lines();
            writeln!(f, "{stage:<14} {}", lines.next().unwrap_or_default())?;
            for line in lines {
                writeln!(f, "{:<14} {line}", "")?;
            }
            if !from.is_empty() {
                writeln!(f, "{:<14} ({from})", "")?;
            }
        }
        match self.refused {
            Some((status, code)) => writeln!(f, "\nThe gateway answers {} {code}.", status.as_u16()),
            None => writeln!(f, "\nNothing refuses it for certain."),
        }
    }
}

/// Tells what would become of `METHOD target` with these headers, each `Name: value`.
///
/// # Errors
/// Policies of the configuration whose options do not go together.
pub fn explain(
    config: &Config,
    method: &str,
    target: &str,
    headers: &[String],
) -> Result<Explanation, ConfigErrors> {
    let mut told = Explanation::default();
    let bounds = Bounds { bytes: config.limits.head_bytes, headers: config.limits.headers };
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    if !headers.iter().any(|line| line.to_ascii_lowercase().starts_with("host:")) {
        let url = target.contains("://").then(|| target.parse::<Uri>().ok()).flatten();
        let host = url.as_ref().and_then(Uri::authority).map_or("localhost", Authority::as_str);
        text.push_str(&format!("Host: {host}\r\n"));
    }
    for line in headers {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    let head = match Reader::default().read(&mut BytesMut::from(text.as_str()), bounds) {
        Ok(Some(head)) => head,
        Ok(None) => return Ok(told),
        Err(rule) => {
            told.refuse(&life::rule_broken(rule), "limits", &format!("it breaks the rule `{}`", rule.name()));
            return Ok(told);
        }
    };
    request(&mut told, config, head)?;
    Ok(told)
}

fn request(told: &mut Explanation, config: &Config, head: Head) -> Result<(), ConfigErrors> {
    let Head { mut parts, length, .. } = head;
    if let Err(refusal) = life::host(&parts) {
        told.refuse(&refusal, "", unless(refusal.code));
        return Ok(());
    }
    let uri = parts.uri.clone();
    let path = match life::path(&uri, config.encoded_slash) {
        Ok(path) => path,
        Err(refusal) => {
            told.refuse(&refusal, "unsafe_keep_encoded_slash", unless(refusal.code));
            return Ok(());
        }
    };
    told.step("path", "", format!("{path} is matched and forwarded"));
    addresses(told, &config.addresses, "allow, deny");
    let dropped = headers::strip_request(&mut parts.headers);
    if dropped > 0 {
        told.step("headers", "", format!("{dropped} header names go no further: a client may not say them"));
    }
    let Some(route) = route(told, config, &parts, &path) else { return Ok(()) };
    addresses(told, &route.addresses, &route.origin);
    overload(told, config, route);
    deprecated(told, route);
    security(told, config, route);
    tunnel(told, route);
    if !size(told, config, route, length) {
        return Ok(());
    }
    if let Some(wanted) = &route.client_certificate {
        let which = match wanted {
            ClientCertificate::Any => "any that a listener takes".to_owned(),
            ClientCertificate::Names(names) => names.join(" or "),
        };
        let says = format!("needs a client certificate: {which}; else 403 certificate_required");
        told.step("authenticate", &*route.origin, says);
    }
    let deadline = route.deadline.unwrap_or(config.limits.deadline);
    let from = if route.deadline.is_some() { &*route.origin } else { "limits.deadline" };
    told.step("deadline", from, format!("{} for everything below", show_duration(deadline)));
    limits(told, config, route);
    if !identity(told, config, route, &parts.headers) {
        return Ok(());
    }
    let services = choice::services(told, route, &parts);
    if services.is_empty() {
        let says = format!("the gateway itself: {}", route.target);
        told.step("answer", &*route.origin, says);
        return Ok(());
    }
    let shed = &config.concurrency;
    told.step(
        "shed",
        "concurrency_limit",
        format!(
            "{} requests at a time, {} may wait for {}; else 503 overloaded",
            shed.limit,
            shed.queue,
            show_duration(shed.max_wait)
        ),
    );
    fallback::fallback(told, route);
    for service in services {
        outbound(told, config, (route, service), &parts.method, &path, &uri)?;
    }
    Ok(())
}

/// What a core makes of it that does not keep up.
fn overload(told: &mut Explanation, config: &Config, route: &Route) {
    let Some(shed) = &config.shed else { return };
    let would = if shed.mode.is_shadow() { "would refuse" } else { "refuses" };
    let waits = show_duration(overload::allowed(shed.target, route.priority));
    let says = format!(
        "{}: a core whose work waits for more than {waits}, after {} beyond {}, {would} it with 503 shed",
        route.priority,
        show_duration(shed.interval),
        show_duration(shed.target)
    );
    told.step("overload", "shed", says);
}

/// The stage of why other routes do not take it.
const OTHERS: &str = "not";
/// Most routes of which it is said why they are not the one.
const OTHERS_MAX: usize = 10;

/// The route, and why it is not another one.
fn route<'c>(told: &mut Explanation, config: &'c Config, parts: &Parts, path: &str) -> Option<&'c Route> {
    let (method, headers) = (&parts.method, &parts.headers);
    let host = life::host_name(parts);
    let ask = Ask { method, host, path, query: parts.uri.query(), headers, is_preflight: false };
    let entries: Vec<Entry<'_>> = config.routes.iter().map(Route::entry).collect();
    let found = match Router::new(entries.iter().copied()).find(&ask) {
        Match::Route(index) => {
            let route = &config.routes[index];
            let says = format!("{}, {}, to {}", route.methods.shown(), route.id, route.target);
            told.step("route", &*route.origin, says);
            Some(route)
        }
        Match::Method(allow) => {
            let refusal = life::method_not_allowed(allow);
            told.refuse(&refusal, "routes", &format!("it takes {allow}"));
            None
        }
        Match::Unmet => {
            let refusal = life::unmet();
            told.refuse(&refusal, "routes", unless(refusal.code));
            None
        }
        Match::None => {
            let refusal = life::no_route();
            told.refuse(&refusal, "routes", unless(refusal.code));
            None
        }
    };
    others(told, config, &scan(&entries, &ask));
    found
}

/// Why each of the others does not take it; those that are about something else altogether are counted.
fn others(told: &mut Explanation, config: &Config, verdicts: &[Verdict]) {
    let is_near = |verdict: &Verdict| !matches!(verdict, Verdict::Taken | Verdict::Host | Verdict::Path);
    let near = config.routes.iter().zip(verdicts).filter(|(_, verdict)| is_near(verdict));
    let mut lines: Vec<String> =
        near.map(|(route, verdict)| format!("{} ({}) {verdict}", route.id, route.origin)).collect();
    let more = lines.len().saturating_sub(OTHERS_MAX);
    lines.truncate(OTHERS_MAX);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    let count = |wanted: Verdict| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    let (hosts, paths) = (count(Verdict::Host), count(Verdict::Path));
    if hosts + paths > 0 {
        lines.push(format!("{hosts} have other hosts, {paths} other paths"));
    }
    if !lines.is_empty() {
        told.step(OTHERS, "", lines.join("\n"));
    }
}

/// Who is calling is not known here: which addresses may is told.
fn addresses(told: &mut Explanation, addresses: &Addresses, from: &str) {
    if addresses.is_open() {
        return;
    }
    let ranges = |networks: &Networks| match networks.ranges() {
        1 => "1 range of addresses".to_owned(),
        count => format!("{count} ranges of addresses"),
    };
    let mut says = match &addresses.allow {
        Some(allow) => format!("only {} may come", ranges(allow)),
        None => "everybody may come".to_owned(),
    };
    if !addresses.deny.is_empty() {
        says.push_str(&format!(", but not {}", ranges(&addresses.deny)));
    }
    told.step("address", from, format!("{says}; else 403 address_refused"));
}

fn tunnel(told: &mut Explanation, route: &Route) {
    let Some(tunnel) = &route.tunnel else { return };
    let longest = tunnel
        .max_duration
        .map_or_else(String::new, |longest| format!(", {} in all", show_duration(longest)));
    let idle = show_duration(tunnel.idle_timeout);
    let says = format!("a WebSocket where the request asks for one: {idle} without a byte{longest}");
    told.step("upgrade", &*route.origin, says);
}

fn deprecated(told: &mut Explanation, route: &Route) {
    let Some(deprecated) = &route.deprecated else { return };
    let ends = deprecated.sunset.map_or_else(String::new, |sunset| format!(", ends {sunset}"));
    told.step("deprecated", &*route.origin, format!("since {}{ends}: answers say so", deprecated.since));
}

/// What browsers are told, of which that over TLS is left to the moment.
fn security(told: &mut Explanation, config: &Config, route: &Route) {
    let (options, from) = match &route.security_headers {
        Some(own) => (own, &*route.origin),
        None => (&config.security_headers, "security_headers"),
    };
    let when = if options.overwrite {
        "in the place of the service's"
    } else {
        "where the service says nothing else"
    };
    let headers = options.list().into_iter();
    let lines = headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or_default()));
    let mut says = format!("answers carry, {when}:");
    for line in lines {
        says.push('\n');
        says.push_str(&line);
        says.push_str(if line.starts_with("strict-transport") { " (over TLS alone)" } else { "" });
    }
    told.step("security", from, says);
}

fn size(told: &mut Explanation, config: &Config, route: &Route, length: Length) -> bool {
    let bytes_max = route.body_bytes.unwrap_or(config.limits.body_bytes);
    let from = if route.body_bytes.is_some() { &*route.origin } else { "limits.body" };
    match length {
        Length::Known(bytes) if bytes > bytes_max => {
            told.refuse(&life::too_large(bytes_max), from, &format!("the body has {bytes} bytes"));
            return false;
        }
        Length::Known(0) => {}
        _ => told.step("size", from, format!("at most {}; else 413 payload_too_large", show_size(bytes_max))),
    }
    true
}

fn limits(told: &mut Explanation, config: &Config, route: &Route) {
    let mut limit = |by: &str, limit: Option<&RateLimit>, from: &str| {
        if let Some(limit) = limit {
            let (count, period) = (limit.limit, show_duration(limit.period));
            let says = format!("{count} in {period} by {by}; beyond it 429 rate_limited with Retry-After");
            told.step("rate_limit", from, says);
        }
    };
    limit("address", config.rate_limits.address.as_ref(), "rate_limits.address");
    if config.knows_callers() {
        limit("principal", config.rate_limits.principal.as_ref(), "rate_limits.principal");
    }
    let by = if route.access == Rule::Anyone { "address" } else { "principal" };
    limit(by, route.rate_limit.as_ref(), &route.origin);
}

/// Whether the request can get past who it says it is.
fn identity(told: &mut Explanation, config: &Config, route: &Route, headers: &http::HeaderMap) -> bool {
    let accepted = Accepted::by(config);
    if !accepted.is_any() {
        told.step(
            "authenticate",
            "jwt, api_keys, basic",
            "off: nobody is known, and a token goes on to the service",
        );
        return true;
    }
    let presented = credentials::presented(headers, &accepted);
    let is_for_anyone = route.access == Rule::Anyone;
    let needs = whom(&route.access);
    let who = match &presented {
        Err(Unreadable::Both) if route.stale_if_error.is_none() => {
            told.refuse(&life::unreadable(Unreadable::Both), &*route.origin, "it passes with one of the two");
            return false;
        }
        _ if is_for_anyone => {
            told.step("authenticate", &*route.origin, "access: anyone");
            return true;
        }
        Ok(Presented::Token(_)) => {
            let keys: Vec<String> = config.jwt.iter().map(|jwt| jwt.keys.to_string()).collect();
            format!("whose token it is the keys of {} say", keys.join(" or "))
        }
        Ok(Presented::Key(_)) => "whose key it is the file of `api_keys` says".to_owned(),
        Ok(Presented::Password(_)) => "whose name and password it is the file of `basic` says".to_owned(),
        Ok(Presented::Nothing) => {
            let unless = format!("it passes with {} of {needs}", accepted.ways());
            told.refuse(&life::nobody(&accepted), &*route.origin, &unless);
            return false;
        }
        Err(error) => {
            let unless = format!("it passes with exactly one {} of {needs}", accepted.ways());
            told.refuse(&life::unreadable(*error), &*route.origin, &unless);
            return false;
        }
    };
    let says = format!("needs {needs}; {who}: 401 if it is not good, 403 if it is somebody else's");
    told.step("authenticate", &*route.origin, says);
    if matches!(presented, Ok(Presented::Token(_))) {
        revoked(told, config);
    }
    true
}

/// What a revocation does to a token, and what it is when nobody knows.
fn revoked(told: &mut Explanation, config: &Config) {
    let Some(options) = &config.revocation else { return };
    let bound = show_duration(options.stale_after);
    let beyond = match options.unsafe_fail_open {
        true => "accepted all the same (unsafe_fail_open)".to_owned(),
        false => "503 revocations_stale".to_owned(),
    };
    let says = format!("401 token_revoked if it was; where that is not known for {bound}: {beyond}");
    told.step("revoked", "revocation", says);
}

/// Whom the rule lets in.
fn whom(rule: &Rule) -> String {
    match rule {
        Rule::Anyone => "anyone".to_owned(),
        Rule::User => "a user".to_owned(),
        Rule::Roles(roles) => format!("a user with the role {}", roles.join(" or ")),
        Rule::Scopes(scopes) => format!("a user with the scope {}", scopes.join(" or ")),
        Rule::Claim { name, values } => format!("a user whose `{name}` is {}", values.join(" or ")),
        Rule::All(rules) => rules.iter().map(whom).collect::<Vec<_>>().join(" and "),
    }
}

/// Whom connections to a service believe, and what they present.
fn encryption(tls: &ServiceTls) -> String {
    let believes = match (&tls.ca, tls.unsafe_skip_verification) {
        (_, true) => "anybody is believed to be the service".to_owned(),
        (Some(ca), false) => format!("believes {}", ca.display()),
        (None, false) => "believes whom the system trusts".to_owned(),
    };
    let name = tls.server_name.as_deref().unwrap_or("that of its URL");
    let own = tls.certificate.as_ref().map_or("nothing".to_owned(), |own| own.cert.display().to_string());
    format!("{believes}, under the name {name}; presents {own}; else 503 upstream_unavailable")
}

/// The policies in order: the service's, and those that the route has for itself.
fn policies(
    told: &mut Explanation,
    config: &Config,
    (route, service): (&Route, &str),
    policy: &ServicePolicy,
) -> Result<(), ConfigErrors> {
    let of_service = format!("services.{service}");
    let deadline = route.deadline.unwrap_or(config.limits.deadline);
    let (name, options, from) = match &route.policies {
        Some(own) => {
            let from = format!("{of_service}, but for {} of {}", own.keys().join(", "), route.origin);
            (policy_name(&route.id, service), own.outbound(policy, deadline), from)
        }
        None => (service.to_owned(), policy.outbound(deadline), of_service),
    };
    let pipeline = Pipeline::builder(name).options(options).build()?;
    told.step("policies", from, explained(&pipeline).trim_end());
    Ok(())
}

fn outbound(
    told: &mut Explanation,
    config: &Config,
    (route, service): (&Route, &str),
    method: &Method,
    path: &str,
    uri: &Uri,
) -> Result<(), ConfigErrors> {
    let policy = config.service(service);
    if let Some(age) = route.stale_if_error {
        let says = format!(
            "a copy of the last good answer stands in for {}, when the service fails",
            show_duration(age)
        );
        told.step("fallback", &*route.origin, says);
    }
    policies(told, config, (route, service), &policy)?;
    let urls: Vec<String> = policy.urls.iter().map(ToString::to_string).collect();
    told.step("protocol", format!("services.{service}.protocol"), policy.protocol.as_str());
    if let Some(tls) = policy.believed() {
        told.step("tls", format!("services.{service}.tls"), encryption(&tls));
    }
    let at = match &policy.dns {
        Some(name) => format!("wherever DNS says that {name} is"),
        None if urls.is_empty() => "where the directory, or --at, says".to_owned(),
        None => urls.join(", "),
    };
    match life::target(route, config.encoded_slash, path, uri) {
        Ok(target) => told.step("forward", "", format!("{method} {target} to {}, {at}", service)),
        Err(refusal) => told.refuse(&refusal, &*route.origin, "what is left of the path is no path"),
    }
    Ok(())
}
