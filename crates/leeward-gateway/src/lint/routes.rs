//! Findings about routes.

use std::time::Duration;

use leeward_resilience::config::units::show_duration;
use leeward_runtime::config::join;

use super::Findings;
use super::rules::{
    ACCESS_WIDER, DRAIN_TOO_SHORT, LIMIT_TIMES_REPLICAS, METHOD_NOT_PASSED_ON, NO_COPIES, SHARE_OF_NOTHING,
    TOKEN_UNCHECKED,
};
use crate::config::{Config, Route, Rule};
use crate::target::Target;

pub(super) fn lint(config: &Config, found: &mut Findings<'_>) {
    for (index, route) in config.routes.iter().enumerate() {
        let path = |option: &str| format!("routes[{index}].{option}");
        if route.forward_token && route.access == Rule::Anyone {
            found.add(
                &TOKEN_UNCHECKED,
                path("forward_token"),
                format!("{} is for anyone, and sends on whatever token comes with a request", shown(route)),
            );
        }
        if let Some(age) = route.stale_if_error.filter(|_| config.stale.bytes == 0) {
            found.add(
                &NO_COPIES,
                path("stale_if_error"),
                format!(
                    "copies may stand in for {}, and the store holds 0 bytes of them",
                    show_duration(age)
                ),
            );
        }
        if let (Some(limit), Some(replicas)) = (&route.rate_limit, config.facts.replicas)
            && replicas.get() > 1
        {
            let all = u64::from(limit.limit.get()) * u64::from(replicas.get());
            let period = show_duration(limit.period);
            found.add_as(
                &LIMIT_TIMES_REPLICAS,
                super::Severity::Note,
                path("rate_limit"),
                format!("{replicas} gateways with {} in {period} each let {all} through", limit.limit),
            );
        }
    }
    shares(config, found);
    neighbours(config, found);
    drain(config, found);
}

/// Services of a split that get nothing of it.
fn shares(config: &Config, found: &mut Findings<'_>) {
    for (index, route) in config.routes.iter().enumerate() {
        let Target::Split(split) = &route.target else { continue };
        for arm in split.arms.iter().filter(|arm| arm.weight == 0) {
            let mut path = format!("routes[{index}].split");
            join(&mut path, &arm.service);
            let what = format!(
                "{} has a share of 0, and nothing else sends it a request of {}",
                arm.service,
                shown(route)
            );
            found.add(&SHARE_OF_NOTHING, path, what);
        }
    }
}

fn shown(route: &Route) -> String {
    let methods = if route.methods.is_any() { String::new() } else { format!("{} ", route.methods) };
    format!("`{methods}{}`", route.pattern.text())
}

/// Routes whose paths lie below another's.
fn neighbours(config: &Config, found: &mut Findings<'_>) {
    for (index, route) in config.routes.iter().enumerate() {
        let of_hosts = || config.routes.iter().filter(|other| other.hosts == route.hosts);
        let above = of_hosts().filter(|other| other.pattern.covers(&route.pattern));
        // The nearest of those that a request would take without this route.
        let Some(above) = above.max_by_key(|other| other.pattern.text().len()) else { continue };
        if is_wider(&route.access, &above.access) {
            found.add(
                &ACCESS_WIDER,
                format!("routes[{index}].access"),
                format!(
                    "{} is for {} and lies below {} at {}, which is for {}",
                    shown(route),
                    route.access,
                    shown(above),
                    above.origin,
                    above.access
                ),
            );
        }
        let twins = of_hosts().filter(|other| other.pattern.same_paths(&route.pattern));
        let is_first = twins.clone().next().is_some_and(|first| std::ptr::eq(first, route));
        if is_first && twins.clone().all(|twin| !twin.methods.is_any()) && !route.pattern.is_exact() {
            let taken: Vec<&str> = twins.flat_map(|twin| twin.methods.names()).collect();
            let lost: Vec<&str> = above.methods.names().filter(|name| !taken.contains(name)).collect();
            if !lost.is_empty() {
                found.add(
                    &METHOD_NOT_PASSED_ON,
                    format!("routes[{index}].methods"),
                    format!(
                        "{} {} answers 405; {} at {} takes such a request only outside of that path",
                        lost.join(", "),
                        route.pattern.text(),
                        shown(above),
                        above.origin
                    ),
                );
            }
        }
    }
}

/// Whether one rule lets somebody in that the other does not, as far as their kinds say.
fn is_wider(rule: &Rule, than: &Rule) -> bool {
    rank(rule) > rank(than)
}

fn rank(rule: &Rule) -> u8 {
    match rule {
        Rule::Anyone => 2,
        Rule::User => 1,
        Rule::Roles(_) | Rule::Scopes(_) | Rule::Claim { .. } => 0,
        Rule::All(rules) => rules.iter().map(rank).min().unwrap_or(0),
    }
}

/// The longest that a request may take, against the time that a stop leaves it.
fn drain(config: &Config, found: &mut Findings<'_>) {
    let drain = config.limits.drain;
    let deadlines =
        config.routes.iter().map(|route| (route, route.deadline.unwrap_or(config.limits.deadline)));
    let longest: Option<(&Route, Duration)> = deadlines.max_by_key(|(_, deadline)| *deadline);
    if let Some((route, deadline)) = longest.filter(|(_, deadline)| *deadline > drain) {
        found.add(
            &DRAIN_TOO_SHORT,
            "limits.drain",
            format!(
                "requests in flight have {} after a stop and {} may take {}",
                show_duration(drain),
                shown(route),
                show_duration(deadline)
            ),
        );
    }
}
