//! Every option that takes a protection away. Their names begin with `unsafe_`, and no other option takes one away.
//!
//! They are off by default. What is on is said wherever somebody looks: in the log at the start and after a reload, in the health,
//! in a gauge, and by `leeward lint`.

use leeward_runtime::config::join;

use crate::config::{Config, Jwt, ServiceTls};
use crate::path::EncodedSlash;
use crate::security_headers::SecurityHeaders;

/// An option that takes a protection away.
#[derive(Debug)]
pub struct Relaxation {
    /// Where it stands, with `*` for a name and `[]` for an item of a list.
    pub option: &'static str,
    /// What is so without it.
    pub without: &'static str,
    /// What may happen with it.
    pub consequence: &'static str,
    /// The rule of `leeward lint` that names it, where it is about more than this.
    pub(crate) rule: Option<&'static str>,
    /// Where a configuration has it on.
    on: fn(&Config) -> Vec<String>,
}

/// A relaxation that is on.
#[derive(Clone, Debug)]
pub struct InForce {
    /// Which one.
    pub relaxation: &'static Relaxation,
    /// Where it stands, as `services.orders.tls.unsafe_skip_verification`.
    pub path: String,
}

/// Those that are on, in the order of [`RELAXATIONS`].
#[must_use]
pub fn in_force(config: &Config) -> Vec<InForce> {
    let at = |relaxation: &'static Relaxation| {
        (relaxation.on)(config).into_iter().map(move |path| InForce { relaxation, path })
    };
    RELAXATIONS.iter().flat_map(at).collect()
}

/// All of them.
pub static RELAXATIONS: [Relaxation; 15] = [
    Relaxation {
        option: "admin.unsafe_beyond_loopback",
        without: "The admin API listens on loopback alone.",
        consequence: "Operators' requests cross a network without encryption: who listens in has their token, and with it breakers, drain and faults.",
        rule: Some("admin-reachable"),
        on: |config| on("admin.unsafe_beyond_loopback", config.admin.unsafe_beyond_loopback),
    },
    Relaxation {
        option: "unsafe_trust_any_proxy",
        without: "`trusted_proxies` names networks; one that is every address is a mistake.",
        consequence: "Clients say themselves which address is theirs: no limit by address and no address list holds them.",
        rule: Some("trusts-everyone"),
        on: |config| on("unsafe_trust_any_proxy", config.unsafe_trust_any_proxy),
    },
    Relaxation {
        option: "unsafe_explain_to_anyone",
        without: "`explain_to` names networks; one that is every address is a mistake.",
        consequence: "Everybody who is refused is told the line of the configuration and a hint: attackers learn what to try next.",
        rule: Some("trusts-everyone"),
        on: |config| on("unsafe_explain_to_anyone", config.unsafe_explain_to_anyone),
    },
    Relaxation {
        option: "unsafe_keep_encoded_slash",
        without: "A path with `%2F` is refused.",
        consequence: "It is matched as data and goes on as it came: a service that decodes it sees another path than the one that was authorised.",
        rule: None,
        on: |config| on("unsafe_keep_encoded_slash", config.encoded_slash == EncodedSlash::Keep),
    },
    Relaxation {
        option: "security_headers.unsafe_omit",
        without: "Every answer tells browsers to be careful with it.",
        consequence: "What the omitted header keeps browsers from is possible: framing, guessing types, leaking referrers, coming without TLS.",
        rule: None,
        on: |config| omits("", &config.security_headers).collect(),
    },
    Relaxation {
        option: "security_headers.unsafe_keep_banners",
        without: "`Server`, `X-Powered-By` and the like of services go no further.",
        consequence: "Clients learn which software and which version answers, and so which holes to try.",
        rule: None,
        on: |config| banners("", &config.security_headers).collect(),
    },
    Relaxation {
        option: "routes[].security_headers.unsafe_omit",
        without: "The same for one route.",
        consequence: "The same for one route.",
        rule: None,
        on: |config| {
            of_routes(config)
                .flat_map(|(place, headers)| omits(&place, headers).collect::<Vec<_>>())
                .collect()
        },
    },
    Relaxation {
        option: "routes[].security_headers.unsafe_keep_banners",
        without: "The same for one route.",
        consequence: "The same for one route.",
        rule: None,
        on: |config| {
            of_routes(config)
                .flat_map(|(place, headers)| banners(&place, headers).collect::<Vec<_>>())
                .collect()
        },
    },
    Relaxation {
        option: "cors.unsafe_plain_origins",
        without: "With `credentials`, origins that are not on this machine are https://.",
        consequence: "Who is on the way to such a page can put a script into it, which acts as the user here.",
        rule: Some("cors-without-tls"),
        on: |config| {
            on(
                "cors.unsafe_plain_origins",
                config.cors.as_ref().is_some_and(|cors| cors.unsafe_plain_origins),
            )
        },
    },
    Relaxation {
        option: "jwt.unsafe_shared_users",
        without: "Of several issuers each has a `prefix` of its own for its users.",
        consequence: "A user of one issuer is taken for the user of another one who has the same `sub`.",
        rule: None,
        on: |config| of_issuers(config, "unsafe_shared_users", |jwt| jwt.unsafe_shared_users),
    },
    Relaxation {
        option: "jwt.unsafe_plain_url",
        without: "Keys that are fetched from a `url` come over TLS, or from this machine.",
        consequence: "Who is on the way puts keys of their own into the answer, and signs tokens for whomever they like.",
        rule: None,
        on: |config| of_issuers(config, "unsafe_plain_url", |jwt| jwt.unsafe_plain_url),
    },
    Relaxation {
        option: "jwt.tls.unsafe_skip_verification",
        without: "Keys come from whom a certificate says to be the issuer.",
        consequence: "Whoever answers at that address says which keys are good.",
        rule: None,
        on: |config| {
            of_issuers(config, "tls.unsafe_skip_verification", |jwt| jwt.tls.as_ref().is_some_and(skips))
        },
    },
    Relaxation {
        option: "services.*.tls.unsafe_skip_verification",
        without: "A service is believed to be one by its certificate.",
        consequence: "Whoever answers at the service's address gets its requests, tokens and all.",
        rule: Some("tls-unverified"),
        on: of_services,
    },
    Relaxation {
        option: "basic.unsafe_plain_http",
        without: "Passwords are asked for where every listener has TLS or is on loopback, or where trusted proxies stand in front.",
        consequence: "Passwords cross a network in clear with every request.",
        rule: None,
        on: |config| {
            on("basic.unsafe_plain_http", config.basic.as_ref().is_some_and(|basic| basic.unsafe_plain_http))
        },
    },
    Relaxation {
        option: "revocation.unsafe_fail_open",
        without: "While revocations are not heard, tokens are refused.",
        consequence: "A stolen token works on after its logout for as long as the bus or the file is down.",
        rule: None,
        on: |config| {
            let is_on = config.revocation.as_ref().is_some_and(|revocation| revocation.unsafe_fail_open);
            on("revocation.unsafe_fail_open", is_on)
        },
    },
];

fn on(path: &str, is_on: bool) -> Vec<String> {
    if is_on { vec![path.to_owned()] } else { Vec::new() }
}

fn omits(place: &str, headers: &SecurityHeaders) -> impl Iterator<Item = String> {
    let is_on = !headers.unsafe_omit.is_empty();
    is_on.then(|| format!("{place}security_headers.unsafe_omit")).into_iter()
}

fn banners(place: &str, headers: &SecurityHeaders) -> impl Iterator<Item = String> {
    headers.unsafe_keep_banners.then(|| format!("{place}security_headers.unsafe_keep_banners")).into_iter()
}

/// What routes say otherwise than the top of the file.
fn of_routes(config: &Config) -> impl Iterator<Item = (String, &SecurityHeaders)> {
    config
        .routes
        .iter()
        .enumerate()
        .filter_map(|(index, route)| Some((format!("routes[{index}]."), route.security_headers.as_ref()?)))
}

fn of_issuers(config: &Config, option: &str, is_on: impl Fn(&Jwt) -> bool) -> Vec<String> {
    let place = |at: usize| if config.jwt.len() == 1 { "jwt".to_owned() } else { format!("jwt[{at}]") };
    let found = config.jwt.iter().enumerate().filter(|(_, jwt)| is_on(jwt));
    found.map(|(at, _)| format!("{}.{option}", place(at))).collect()
}

fn of_services(config: &Config) -> Vec<String> {
    let found = config.services.iter().filter(|(_, policy)| policy.tls.as_ref().is_some_and(skips));
    let path = |name: &str| {
        let mut path = "services".to_owned();
        join(&mut path, name);
        path + ".tls.unsafe_skip_verification"
    };
    found.map(|(name, _)| path(name)).collect()
}

fn skips(tls: &ServiceTls) -> bool {
    tls.unsafe_skip_verification
}
