//! Findings about routes.

use std::time::Duration;

use http::Method;
use leeward_resilience::config::units::show_duration;
use leeward_runtime::config::join;

use super::Findings;
use super::rules::{
    ACCESS_WIDER, DRAIN_TOO_SHORT, FALLBACK_FOR_WRITES, FALLBACK_SHARES_FATE, LIMIT_TIMES_REPLICAS,
    METHOD_NOT_PASSED_ON, NEVER_REACHED, NO_COPIES, SHARE_OF_NOTHING, STAR_IN_PATH, TOKEN_UNCHECKED,
};
use super::services::is_of_grpc;
use crate::config::{Config, Fallback, Route, Rule, Substitute};
use crate::router::Methods;
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
    substitutes(config, found);
    fixed_answers(config, found);
    stars(config, found);
    shares(config, found);
    neighbours(config, found);
    drain(config, found);
}

/// Services that stand in for one whose endpoint they share.
fn substitutes(config: &Config, found: &mut Findings<'_>) {
    for (index, route) in config.routes.iter().enumerate() {
        let Some(spare) = route.fallback.as_ref().and_then(|fallback| fallback.substitute.service()) else {
            continue;
        };
        let shared =
            route.target.services().find_map(|name| Some((name, shared_place(config, name, spare)?)));
        if let Some((name, place)) = shared {
            let what = format!("{spare} stands in for {name} on {}, and both are at {place}", shown(route));
            found.add(&FALLBACK_SHARES_FATE, format!("routes[{index}].fallback.service"), what);
        }
    }
}

/// Fixed answers in the place of a service: those that say success to who changes something, and what is said of them and never used.
fn fixed_answers(config: &Config, found: &mut Findings<'_>) {
    const READS: [Method; 3] = [Method::GET, Method::HEAD, Method::OPTIONS];
    for (index, route) in config.routes.iter().enumerate() {
        let Some(Fallback { substitute: Substitute::Respond(respond), options }) = &route.fallback else {
            continue;
        };
        let path = |option: &str| format!("routes[{index}].fallback.{option}");
        if is_of_grpc(route) {
            let what = "a call of gRPC gets the status of the failure: a fixed answer is none to it";
            found.add(&NEVER_REACHED, path("respond"), what);
        } else if respond.status.is_success() && !route.methods.is_within(&READS) && !options.mode.is_shadow()
        {
            let what = format!(
                "a request to {} that changes something is answered {}",
                shown(route),
                respond.status
            );
            found.add(&FALLBACK_FOR_WRITES, path("respond"), what);
        }
        if config.origins.of(&path("within")).is_some() {
            let what = "a fixed answer is given at once: `within` only bounds another service";
            found.add(&NEVER_REACHED, path("within"), what);
        }
    }
}

/// Stars that look like wildcards of other gateways.
fn stars(config: &Config, found: &mut Findings<'_>) {
    for (index, route) in config.routes.iter().enumerate() {
        let path = route.pattern.text();
        if path.contains('*') {
            let what = format!("{path} takes a path with this very text in it");
            found.add(&STAR_IN_PATH, format!("routes[{index}].path"), what);
        }
    }
}

/// Where both services are, as far as the configuration says.
fn shared_place(config: &Config, one: &str, other: &str) -> Option<String> {
    let (one, other) = (config.service(one), config.service(other));
    let url = one.urls.iter().find(|url| other.urls.iter().any(|known| known.authority() == url.authority()));
    let name = one.dns.as_ref().filter(|name| other.dns.as_ref() == Some(*name));
    url.map(|url| url.to_string().trim_end_matches('/').to_owned()).or(name.map(ToString::to_string))
}

/// Services of a split that get nothing of it.
fn shares(config: &Config, found: &mut Findings<'_>) {
    for (index, route) in config.routes.iter().enumerate() {
        let Target::Split(split) = &route.target else { continue };
        if split.delivery.is_some() {
            // Operators give it a share when they want to.
            continue;
        }
        let is_pinned = |place: usize| split.pins.iter().any(|pin| pin.arm == place);
        let arms = split.arms.iter().enumerate();
        for (_, arm) in arms.filter(|(place, arm)| arm.weight == 0 && !is_pinned(*place)) {
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
        let trees: Vec<Tree<'_>> = Tree::of(config, route).collect();
        if let Some(above) = trees.iter().find_map(|tree| tree.stricter(route)) {
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
        if let Some((lost, above)) = trees.iter().find_map(|tree| tree.lost(route)) {
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

/// The routes of one host, as the router has them: those of a host take no part in what another's do.
struct Tree<'c> {
    routes: Vec<&'c Route>,
    /// Those that would get a request of a route's path without it, and without its twins.
    above: Vec<&'c Route>,
}

impl<'c> Tree<'c> {
    /// For each host of a route, where there is something above it.
    fn of(config: &'c Config, route: &'c Route) -> impl Iterator<Item = Self> {
        let any = route.hosts.is_empty().then_some(None);
        let hosts = route.hosts.iter().map(Some).chain(any);
        hosts.filter_map(|host| {
            let is_of = |other: &&Route| match host {
                Some(host) => other.hosts.contains(host),
                None => other.hosts.is_empty(),
            };
            let routes: Vec<&Route> = config.routes.iter().filter(is_of).collect();
            let above =
                routes.iter().map(|other| &other.pattern).filter(|other| other.covers(&route.pattern));
            let nearest = above.min_by(|one, other| one.order(other))?;
            let above = routes.iter().copied().filter(|other| other.pattern.same_paths(nearest)).collect();
            Some(Self { routes, above })
        })
    }

    /// The one of those above that decides about a method, as long as a request does not change that by what it says of itself.
    fn decides(&self, method: &str) -> Option<&'c Route> {
        let takes =
            self.above.iter().copied().filter(|other| other.methods.names().any(|name| name == method));
        takes.min_by_key(|other| (!other.conditions.is_empty(), other.methods.is_any()))
    }

    /// The one above that keeps somebody out whom the route lets in.
    fn stricter(&self, route: &Route) -> Option<&'c Route> {
        let mut above = route.methods.names().filter_map(|method| self.decides(method));
        above.find(|above| is_wider(&route.access, &above.access))
    }

    /// The methods that the routes above take and nobody at the route's path; said at the first of those.
    fn lost(&self, route: &Route) -> Option<(Vec<&'static str>, &'c Route)> {
        let twins = || self.routes.iter().filter(|other| other.pattern.same_paths(&route.pattern));
        let is_first = twins().next().is_some_and(|first| std::ptr::eq(*first, route));
        if !is_first || route.pattern.is_exact() || twins().any(|twin| twin.methods.is_any()) {
            return None;
        }
        let taken: Vec<&str> = twins().flat_map(|twin| twin.methods.names()).collect();
        let lost: Vec<&'static str> = Methods::ANY
            .names()
            .filter(|name| !taken.contains(name) && self.decides(name).is_some())
            .collect();
        let above = self.decides(lost.first()?)?;
        Some((lost, above))
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
