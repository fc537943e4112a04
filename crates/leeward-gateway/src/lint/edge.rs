//! Findings about the gateway itself: what reaches it, whom it believes, how it watches.

use std::net::IpAddr;

use leeward_resilience::config::units::show_duration;

use super::Findings;
use super::rules::{
    ADDRESS_BEHIND_PROXY, ADMIN_REACHABLE, CORS_WITHOUT_TLS, HEALTH_TOO_SLOW, KEYS_EXPIRE, KEYS_IN_CLEAR,
    NO_LIMIT, POLICY_UNUSED, QUEUE_TOO_LONG, TRUSTS_EVERYONE, UNSAFE_OPTION,
};
use crate::config::Config;
use crate::{address, relaxations};

pub(super) fn lint(config: &Config, found: &mut Findings<'_>) {
    exposure(config, found);
    limits(config, found);
    times(config, found);
    keys(config, found);
    for policy in config.policies.iter().filter(|policy| policy.uses == 0) {
        found.add(&POLICY_UNUSED, policy.path.clone(), "no service and no route names it");
    }
}

fn exposure(config: &Config, found: &mut Findings<'_>) {
    if !config.admin.listen.ip().is_loopback() {
        let what = format!(
            "operators' requests, and the token with them, reach {} without encryption",
            config.admin.listen
        );
        found.add(&ADMIN_REACHABLE, "admin.listen", what);
    }
    for (option, networks) in
        [("trusted_proxies", &config.trusted_proxies), ("explain_to", &config.explain_to)]
    {
        for (index, network) in networks.iter().enumerate().filter(|(_, network)| network.is_everyone()) {
            let what = match option {
                "trusted_proxies" => {
                    format!("{network} is every address: clients say themselves which one is theirs")
                }
                _ => {
                    format!("{network} is every address: all clients are told configuration lines and hints")
                }
            };
            found.add(&TRUSTS_EVERYONE, format!("{option}[{index}]"), what);
        }
    }
    for origin in config.cors.iter().flat_map(|cors| cors.plain_origins()) {
        let what = format!("pages of {origin} act as the user, and come without encryption");
        found.add(&CORS_WITHOUT_TLS, "cors.origins", what);
    }
    // What has a rule of its own is named by that.
    for one in relaxations::in_force(config).into_iter().filter(|one| one.relaxation.rule.is_none()) {
        found.add(&UNSAFE_OPTION, one.path, one.relaxation.consequence);
    }
}

fn limits(config: &Config, found: &mut Findings<'_>) {
    let limits = &config.rate_limits;
    match &limits.address {
        Some(limit)
            if config.trusted_proxies.is_empty()
                && config.listen.iter().all(|one| is_inside(one.address.ip())) =>
        {
            let period = show_duration(limit.period);
            found.add(
                &ADDRESS_BEHIND_PROXY,
                "rate_limits.address",
                format!(
                    "if a proxy stands in front, all its clients are one address to the gateway, and {} in {period} are for all of them",
                    limit.limit
                ),
            );
        }
        Some(_) => {}
        None => found.add(&NO_LIMIT, "rate_limits.address", "one address may send as much as it likes"),
    }
    if limits.principal.is_none() && config.knows_callers() {
        found.add(&NO_LIMIT, "rate_limits.principal", "one user may send as much as it likes");
    }
}

fn times(config: &Config, found: &mut Findings<'_>) {
    let queue = &config.concurrency;
    let shortest = config
        .routes
        .iter()
        .filter_map(|route| route.deadline)
        .fold(config.limits.deadline, std::cmp::Ord::min);
    if queue.queue > 0 && queue.max_wait >= shortest {
        found.add(
            &QUEUE_TOO_LONG,
            "concurrency_limit.max_wait",
            format!(
                "a request may wait {} at the door, and the shortest deadline is {}",
                show_duration(queue.max_wait),
                show_duration(shortest)
            ),
        );
    }
    if let Some(health) = &config.health {
        let seen = health.interval * health.fall.get();
        // Of the services that this is too slow for, the one that it is the most so.
        let ejections = config.services.iter().filter_map(|(name, policy)| {
            policy.balance.outlier.as_ref().map(|outlier| (outlier.ejection_base, name))
        });
        if let Some((ejection, name)) = ejections.min().filter(|(ejection, _)| seen >= *ejection) {
            found.add(
                &HEALTH_TOO_SLOW,
                "health.interval",
                format!(
                    "{} questions every {} take {}, and an endpoint of {name} that failed is asked by requests again after {}",
                    health.fall,
                    show_duration(health.interval),
                    show_duration(seen),
                    show_duration(ejection)
                ),
            );
        }
    }
    let fetched = config.jwt.iter().enumerate().filter(|(_, jwt)| jwt.keys.is_published());
    for (at, jwt) in fetched.filter(|(_, jwt)| jwt.refresh > jwt.stale_if_error) {
        found.add(
            &KEYS_EXPIRE,
            if config.jwt.len() == 1 { "jwt.refresh".to_owned() } else { format!("jwt[{at}].refresh") },
            format!(
                "keys are fetched every {} and are good for {} when that fails: one failure refuses every token",
                show_duration(jwt.refresh),
                show_duration(jwt.stale_if_error)
            ),
        );
    }
}

/// Keys at a `url` without encryption are a mistake of the configuration; of a service it may be that everything is on one machine.
fn keys(config: &Config, found: &mut Findings<'_>) {
    for (at, jwt) in config.jwt.iter().enumerate() {
        let Some(name) = jwt.keys.service() else { continue };
        let service = config.service(name);
        let is_plain = |url: &&http::Uri| url.scheme_str() == Some("http") && !address::is_here(url);
        let place = match (service.urls.iter().find(is_plain), &service.dns) {
            (Some(url), _) => url.authority().map(ToString::to_string).unwrap_or_default(),
            (None, Some(dns)) if service.tls.is_none() => dns.to_string(),
            _ => continue,
        };
        let path =
            if config.jwt.len() == 1 { "jwt.service".to_owned() } else { format!("jwt[{at}].service") };
        found.add(&KEYS_IN_CLEAR, path, format!("`{name}` is asked for its keys at {place} over plain HTTP"));
    }
}

/// Whether only a network of one's own reaches the address.
fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}
