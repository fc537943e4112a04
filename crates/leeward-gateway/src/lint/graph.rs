//! Findings over the graph of who calls whom: what one request from a client can become further in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::pipeline::{self, Kind};
use leeward_resilience::{PipelineOptions, Retry, Timeout};

use super::rules::{AMPLIFICATION, CALL_CIRCLE, RETRY_NOT_IDEMPOTENT, TIMEOUT_INVERSION};
use super::{Findings, Severity, service_path};
use crate::config::{Calls, Config, Known};
use leeward_runtime::config::join;

/// Longest chain of calls that is looked at.
const DEPTH_MAX: usize = 16;
/// Most chains that are looked at: a graph in which everything calls everything has more than anybody reads about.
const CHAINS_MAX: usize = 2_000;
/// Most circles that are told.
const CIRCLES_MAX: usize = 16;
/// More attempts than that at one service for one request are an error.
const ATTEMPTS_ERROR: u32 = 16;

pub(super) fn lint(config: &Config, found: &mut Findings<'_>) {
    edges(config, found);
    let mut walk = Walk { config, chains: 0, chain: Vec::new(), worst: Vec::new(), circles: BTreeSet::new() };
    let mut entries: Vec<&Arc<str>> = config.routes.iter().flat_map(|route| route.services()).collect();
    entries.sort_unstable();
    entries.dedup();
    for entry in entries {
        walk.service(entry, config.service(entry).policies.attempts_max(), 1);
    }
    walk.report(found);
}

/// The path of what one service says of its calls of another.
fn call_path(config: &Config, caller: &str, callee: &str, option: &str) -> String {
    let mut path = if config.facts.behind.contains_key(caller) {
        let mut path = "behind".to_owned();
        join(&mut path, caller);
        path
    } else {
        service_path(config, caller, "")
    };
    path.push_str(".calls");
    join(&mut path, callee);
    if !option.is_empty() {
        join(&mut path, option);
    }
    path
}

/// How a service calls another, as policies: what is not known bounds nothing.
fn options(calls: &Calls, outer: Duration) -> PipelineOptions {
    let attempts = calls.retries + 1;
    let all = calls.attempt_timeout.map(|timeout| timeout.saturating_mul(attempts));
    PipelineOptions {
        deadline: calls.deadline.or(all).unwrap_or(outer),
        attempt_timeout: calls.attempt_timeout.map(Timeout::from),
        retry: (calls.retries > 0).then(|| Retry { max_retries: calls.retries, ..Retry::default() }),
        ..PipelineOptions::default()
    }
}

/// What does not fit between a call and those that it waits for, and within one call.
fn edges(config: &Config, found: &mut Findings<'_>) {
    for route_service in config.facts.services.keys() {
        let outer = config.service(route_service).outbound(config.longest_deadline(route_service));
        let inner = config.facts.services.get(route_service).map(|known| &known.calls);
        for (callee, calls) in inner.into_iter().flatten() {
            waits_longer(config, &outer, (route_service, callee, calls), "the gateway", found);
        }
    }
    let all = || config.facts.services.iter().chain(&config.facts.behind);
    for (caller, Known { calls, .. }) in all() {
        for (callee, call) in calls {
            one_call(config, caller, callee, call, found);
            let further = config.facts.of(callee).map(|known| &known.calls);
            let outer = options(call, Duration::MAX);
            for (last, inner) in further.into_iter().flatten() {
                waits_longer(config, &outer, (callee, last, inner), caller, found);
            }
        }
    }
}

/// Whether a callee waits for its own callee longer than its caller waits for it.
fn waits_longer(
    config: &Config,
    outer: &PipelineOptions,
    (callee, last, calls): (&Arc<str>, &Arc<str>, &Calls),
    caller: &str,
    found: &mut Findings<'_>,
) {
    let inner = options(calls, Duration::ZERO);
    for finding in outer.lint_callee(&inner).iter().filter(|finding| finding.kind == Kind::TimeoutInversion) {
        let option = if calls.deadline.is_some() { "deadline" } else { "attempt_timeout" };
        let what = format!("{caller} calls {callee}, which calls {last}: {}", finding.message);
        found.add(&TIMEOUT_INVERSION, call_path(config, callee, last, option), what);
    }
}

fn one_call(config: &Config, caller: &str, callee: &str, call: &Calls, found: &mut Findings<'_>) {
    if call.retries > 0 && call.idempotent == Some(false) {
        found.add(
            &RETRY_NOT_IDEMPOTENT,
            call_path(config, caller, callee, "retries"),
            format!(
                "{caller} repeats its call of {callee} up to {} times, and the call is said not to be idempotent",
                call.retries
            ),
        );
    }
    if let (Some(timeout), Some(deadline)) = (call.attempt_timeout, call.deadline)
        && call.retries > 0
    {
        let options = PipelineOptions { deadline, ..options(call, deadline) };
        for finding in options.lint(&pipeline::Facts::default()) {
            if finding.kind == Kind::AttemptsOverDeadline {
                let severity = if timeout < deadline { Severity::Note } else { Severity::Warning };
                let path = call_path(config, caller, callee, "deadline");
                found.add_as(super::services::OVER, severity, path, finding.message);
            }
        }
    }
}

/// A walk over all chains of calls that begin at the gateway.
struct Walk<'c> {
    config: &'c Config,
    chains: usize,
    chain: Vec<&'c str>,
    /// For each service, the chain that makes the most attempts at it of those with two layers or more that repeat.
    worst: Vec<(&'c str, u32, String)>,
    circles: BTreeSet<Vec<&'c str>>,
}

impl<'c> Walk<'c> {
    /// `product`: attempts at this service for one request; `layers`: how many hops on the way repeat calls.
    fn service(&mut self, name: &'c str, product: u32, layers: u32) {
        let layers = if product > 1 { layers } else { 0 };
        self.visit(name, product, layers);
    }

    fn visit(&mut self, name: &'c str, product: u32, layers: u32) {
        if let Some(start) = self.chain.iter().position(|known| *known == name) {
            let mut circle: Vec<&str> = self.chain[start..].to_vec();
            let least = circle.iter().enumerate().min_by_key(|(_, name)| **name).map_or(0, |(at, _)| at);
            circle.rotate_left(least);
            if self.circles.len() < CIRCLES_MAX {
                self.circles.insert(circle);
            }
            return;
        }
        if self.chain.len() >= DEPTH_MAX || self.chains >= CHAINS_MAX {
            return;
        }
        self.chains += 1;
        self.chain.push(name);
        if layers > 1 {
            let chain = format!("gateway > {}", self.chain.join(" > "));
            match self.worst.iter_mut().find(|(known, ..)| *known == name) {
                Some(worst) if worst.1 < product => *worst = (name, product, chain),
                Some(_) => {}
                None => self.worst.push((name, product, chain)),
            }
        }
        let calls = self.config.facts.of(name).map(|known| &known.calls);
        for (callee, call) in calls.into_iter().flatten() {
            let repeats = u32::from(call.retries > 0);
            self.visit(callee, product.saturating_mul(call.retries + 1), layers + repeats);
        }
        self.chain.pop();
    }

    fn report(self, found: &mut Findings<'_>) {
        for (name, product, chain) in &self.worst {
            let severity = if *product > ATTEMPTS_ERROR { Severity::Error } else { Severity::Warning };
            let caller = chain.rsplit(" > ").nth(1).unwrap_or_default();
            found.add_as(
                &AMPLIFICATION,
                severity,
                call_path(self.config, caller, name, "retries"),
                format!(
                    "{chain}: one request may become {product} attempts at {name}, since more than one hop on the way repeats calls"
                ),
            );
        }
        for circle in &self.circles {
            let (first, second) = (circle[0], circle.get(1).copied().unwrap_or(circle[0]));
            found.add(
                &CALL_CIRCLE,
                call_path(self.config, first, second, ""),
                format!("{} > {first}: each waits for the next", circle.join(" > ")),
            );
        }
    }
}
