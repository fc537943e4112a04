//! Findings about one service: its policies under the deadlines of its routes, and what is known of it.

use std::time::Duration;

use leeward_resilience::config::units::show_duration;
use leeward_resilience::pipeline::{Facts, Kind};
use leeward_resilience::{PipelineOptions, Timeout};

use super::rules::{
    self, ATTEMPTS_OVER_DEADLINE, DRAIN_TOO_SHORT, GRPC_OVER_HTTP1, HEDGE_OF_ONE, IDLE_OUTLIVES,
    LIMIT_TIMES_REPLICAS, SERVICE_UNUSED, TIMEOUT_INVERSION, TLS_IN_PART, TLS_UNVERIFIED,
};
use super::{Findings, Rule, Severity, service_path};
use crate::config::{ATTEMPT_TIMEOUT, Config, Protocol, Route, RoutePolicies};

pub(super) fn lint(config: &Config, found: &mut Findings<'_>) {
    for name in config.service_names() {
        policies(config, &name, found);
        attempts(config, &name, found);
        connections(config, &name, found);
        encryption(config, &name, found);
        calls(config, &name, found);
        replicas(config, &name, found);
        usage(config, &name, found);
    }
    drain(config, found);
}

/// The pipeline's own findings under the longest deadline, and those that only routes bring up: by a shorter deadline, or by policies that they
/// have for themselves.
fn policies(config: &Config, name: &str, found: &mut Findings<'_>) {
    let policy = config.service(name);
    let facts = Facts { latency_p99: config.facts.of(name).and_then(|known| known.latency_p99) };
    let longest = config.longest_deadline(name);
    let under = |deadline: Duration| PipelineOptions { deadline, ..policy.policies.clone() };
    let known = under(longest).lint(&facts);
    for finding in &known {
        let option = finding.options.iter().find(|option| !option.starts_with("deadline")).copied();
        let severity = severity(finding.kind, &policy.policies, longest);
        let path = service_path(config, name, option.unwrap_or_default());
        found.add_as(rule(finding.kind), severity, path, finding.message.clone());
    }
    let own = |route: &&(usize, &Route)| is_for(route.1, name);
    for (index, route) in config.routes.iter().enumerate().collect::<Vec<_>>().iter().filter(own) {
        let shorter = route.deadline.filter(|deadline| *deadline < longest);
        let Some(options) = route.outbound(&policy, &config.limits).or_else(|| shorter.map(under)) else {
            continue;
        };
        for finding in options.lint(&facts) {
            if known.iter().any(|known| known.kind == finding.kind && known.options == finding.options) {
                continue;
            }
            let severity = severity(finding.kind, &options, options.deadline);
            let path = format!("routes[{index}].{}", at_route(route, &finding.options));
            let message = format!("{}: {}", finding.options.join(", "), finding.message);
            found.add_as(rule(finding.kind), severity, path, message);
        }
    }
}

/// Which of a route's options is behind a finding.
fn at_route(route: &Route, options: &[&str]) -> String {
    let is_own = |option: &String| route.has_policy(option.split('.').next().unwrap_or_default());
    let mut written = options.iter().map(|option| super::written(option).into_owned());
    written.find(is_own).unwrap_or_else(|| "deadline".to_owned())
}

fn rule(kind: Kind) -> &'static Rule {
    rules::RULES.iter().find(|rule| rule.id == kind.as_str()).copied().unwrap_or(&rules::OTHER)
}

/// An attempt that is cut short is less than one that is never sent.
fn severity(kind: Kind, options: &PipelineOptions, deadline: Duration) -> Severity {
    let longest = PipelineOptions { deadline, ..options.clone() }.attempt_longest();
    let is_sent = options
        .retry
        .as_ref()
        .is_some_and(|retry| longest.saturating_mul(retry.max_retries.min(1)) < deadline);
    if kind == Kind::AttemptsOverDeadline && is_sent { Severity::Note } else { rule(kind).severity }
}

/// Calls of gRPC need HTTP/2.
fn calls(config: &Config, name: &str, found: &mut Findings<'_>) {
    let policy = config.service(name);
    let is_http1 = match policy.protocol {
        Protocol::Http1 => true,
        Protocol::Http2 => false,
        // Agreed on over TLS, and not without it.
        Protocol::Auto => policy.urls.iter().any(|url| url.scheme_str() == Some("http")),
    };
    let own = |route: &&Route| route.services().any(|service| **service == *name);
    if let Some(route) = config.routes.iter().filter(own).find(|route| is_http1 && is_of_grpc(route)) {
        let taken = route.derived_id();
        let what = format!("{taken} looks like gRPC, and {name} is spoken to over HTTP/1.1");
        found.add(&GRPC_OVER_HTTP1, service_path(config, name, "protocol"), what);
    }
}

/// Whether a route is for gRPC: by a path that begins as `/package.Service`, or by a condition on the type.
pub(super) fn is_of_grpc(route: &Route) -> bool {
    let first = route.pattern.text().split('/').nth(1).unwrap_or_default();
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let names_service = first.rsplit_once('.').is_some_and(|(package, service)| {
        package.split('.').all(is_word)
            && is_word(service)
            && service.starts_with(|first: char| first.is_ascii_uppercase())
    });
    let mut conditions = route.conditions.iter().map(|condition| condition.to_string().to_ascii_lowercase());
    names_service || conditions.any(|text| text.contains("content-type") && text.contains("application/grpc"))
}

/// Whether the route's requests go to the service.
fn is_for(route: &Route, name: &str) -> bool {
    route.target.services().any(|service| **service == *name)
}

/// The time that routes of a service have for an attempt, where they have one for themselves.
fn own_attempts(config: &Config, name: &str) -> impl Iterator<Item = (usize, Duration)> {
    let policy = config.service(name);
    config.routes.iter().enumerate().filter_map(move |(index, route)| {
        let is_own = is_for(route, name) && route.has_policy(ATTEMPT_TIMEOUT);
        let options = if is_own { route.outbound(&policy, &config.limits) } else { None };
        Some((index, options?.attempt_timeout?.after))
    })
}

/// Times for an attempt that are written down and longer than the deadline, which ends it first. Where there are retries that is said of these.
fn attempts(config: &Config, name: &str, found: &mut Findings<'_>) {
    let policy = config.service(name);
    let mut add = |path: String, timeout: Timeout, deadline: Duration| {
        let is_written = config.origins.of_value(&format!("{path}.after")).is_some();
        if is_written && timeout.after > deadline {
            let (after, deadline) = (show_duration(timeout.after), show_duration(deadline));
            let what =
                format!("an attempt may take {after}, but the deadline ends the request after {deadline}");
            found.add(&rules::NEVER_REACHED, path, what);
        }
    };
    // Of those that go by the service's time: the longest, and the longest of one that is not repeated.
    let (mut longest, mut longest_once) = (None, None);
    for (index, route) in config.routes.iter().enumerate() {
        let own = route.policies.as_deref().filter(|_| is_for(route, name));
        for (_, deadline) in route.times().filter(|(its, _)| ***its == *name) {
            let deadline = deadline.unwrap_or(config.limits.deadline);
            let options =
                own.map_or_else(|| policy.outbound(deadline), |own| own.outbound(&policy, deadline));
            let is_once = options.retry.is_none_or(|retry| retry.max_retries == 0);
            match own.and_then(RoutePolicies::attempt_timeout) {
                Some(timeout) if is_once => {
                    add(format!("routes[{index}].{ATTEMPT_TIMEOUT}"), timeout, deadline);
                }
                Some(_) => {}
                None => {
                    longest = longest.max(Some(deadline));
                    longest_once = longest_once.max(Some(deadline).filter(|_| is_once));
                }
            }
        }
    }
    if let (Some(timeout), Some(longest), Some(once)) =
        (policy.policies.attempt_timeout, longest, longest_once)
        && longest < timeout.after
    {
        add(service_path(config, name, ATTEMPT_TIMEOUT), timeout, once);
    }
}

fn connections(config: &Config, name: &str, found: &mut Findings<'_>) {
    let policy = config.service(name);
    let show = show_duration;
    let of_service = policy.policies.attempt_timeout.map(|timeout| timeout.after);
    let of_service = of_service.map(|after| (service_path(config, name, "connect_timeout"), after));
    let of_routes = own_attempts(config, name)
        .map(|(index, after)| (format!("routes[{index}].{ATTEMPT_TIMEOUT}"), after));
    for (path, after) in of_service.into_iter().chain(of_routes) {
        if policy.connect_timeout >= after {
            let (connect, after) = (show(policy.connect_timeout), show(after));
            let what = format!(
                "a connection may take {connect} to open and an attempt, which opens it, {after} in all"
            );
            found.add(&TIMEOUT_INVERSION, path, what);
        }
    }
    let keep_alive = config.facts.of(name).and_then(|known| known.keep_alive);
    if let Some(keep_alive) = keep_alive.filter(|keep_alive| policy.idle_timeout >= *keep_alive) {
        found.add(
            &IDLE_OUTLIVES,
            service_path(config, name, "idle_timeout"),
            format!(
                "idle connections are kept {} here and {} there: the service closes one as a request is sent on it",
                show(policy.idle_timeout),
                show(keep_alive)
            ),
        );
    }
    if policy.policies.hedge.is_some() && policy.urls.len() == 1 {
        found.add(
            &HEDGE_OF_ONE,
            service_path(config, name, "hedge"),
            "another attempt beside a slow one goes to the same endpoint, the only one that there is",
        );
    }
}

/// Who is believed to be the service, and whether part of its traffic can be read.
fn encryption(config: &Config, name: &str, found: &mut Findings<'_>) {
    let policy = config.service(name);
    if policy.tls.as_ref().is_some_and(|tls| tls.unsafe_skip_verification) {
        found.add(
            &TLS_UNVERIFIED,
            service_path(config, name, "tls.unsafe_skip_verification"),
            format!("whoever answers at the address of {name} gets its requests, tokens and all"),
        );
    }
    let (encrypted, plain): (Vec<_>, Vec<_>) =
        policy.urls.iter().partition(|url| url.scheme_str() == Some("https"));
    if let (Some(_), Some(plain)) = (encrypted.first(), plain.first()) {
        found.add(
            &TLS_IN_PART,
            service_path(config, name, "urls"),
            format!("requests to {name} go to {plain} without encryption, and to others with it"),
        );
    }
}

/// The longest attempt, against the time that a stop leaves it.
fn drain(config: &Config, found: &mut Findings<'_>) {
    let drain = config.limits.drain;
    let names = config.service_names();
    let of_services = names.iter().filter_map(|name| {
        let timeout = config.service(name).policies.attempt_timeout?.after;
        Some((timeout.min(config.longest_deadline(name)), name))
    });
    let of_routes =
        names.iter().flat_map(|name| own_attempts(config, name).map(move |(_, after)| (after, name)));
    let attempts = of_services.chain(of_routes);
    if let Some((attempt, name)) = attempts.max().filter(|(attempt, _)| *attempt > drain) {
        let (drain, attempt) = (show_duration(drain), show_duration(attempt));
        found.add_as(
            &DRAIN_TOO_SHORT,
            Severity::Warning,
            "limits.drain",
            format!(
                "requests in flight have {drain} after a stop and one attempt at {name} may take {attempt}"
            ),
        );
    }
}

fn replicas(config: &Config, name: &str, found: &mut Findings<'_>) {
    let bears = config.facts.of(name).and_then(|known| known.concurrency);
    let Some((bears, limit)) = bears.zip(config.service(name).policies.concurrency) else { return };
    let replicas = config.facts.replicas.map_or(1, std::num::NonZeroU32::get);
    let all = u64::from(limit.limit.get()) * u64::from(replicas);
    if all > u64::from(bears.get()) {
        found.add(
            &LIMIT_TIMES_REPLICAS,
            service_path(config, name, "concurrency_limit.limit"),
            format!(
                "{replicas} gateways with {} requests at a time each send up to {all}, and the service bears {bears}",
                limit.limit
            ),
        );
    }
}

/// Services that nothing leads to.
fn usage(config: &Config, name: &str, found: &mut Findings<'_>) {
    let is_called = config
        .facts
        .services
        .values()
        .chain(config.facts.behind.values())
        .any(|known| known.calls.contains_key(name));
    let is_used = config.routes.iter().flat_map(Route::services).any(|service| **service == *name)
        || config.jwt.iter().any(|jwt| jwt.keys.service().is_some_and(|service| **service == *name));
    if !is_called && !is_used {
        found.add(
            &SERVICE_UNUSED,
            service_path(config, name, ""),
            format!("no route leads to {name}, and it has no other use here"),
        );
    }
}

/// The rule that attempts do not fit into a deadline, for the graph.
pub(super) const OVER: &Rule = &ATTEMPTS_OVER_DEADLINE;
