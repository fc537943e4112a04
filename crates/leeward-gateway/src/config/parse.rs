//! Reading the configuration: every getter records its mistake and goes on, so that one run reports them all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leeward_discovery::{Health, dns};
use leeward_runtime::config::{Document, Node, Origin, Problems};
use leeward_runtime::{Env, units};

use super::addresses::{self, addresses};
use super::named::Policies;
use super::routes::{Top, routes};
use super::{
    Admin, Config, Facts, Limits, Listener, RateLimits, Revocation, Stale, Token, access_log, callers,
    decisions, jwt, listen, metrics, security_headers, services,
};
use crate::address::Network;
use crate::cors::{Cors, Origins, is_origin};
use crate::path::EncodedSlash;

/// The longest time that any option takes.
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
const SECOND: Duration = Duration::from_secs(1);
/// The shortest time that any option takes.
pub(super) const MOMENT: Duration = Duration::from_millis(1);

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// All mistakes, each with its place, what is allowed, and the nearest known name.
    pub fn load(path: &Path, env: &Env) -> Result<Self, Problems> {
        Self::read(Document::load(path, env)?)
    }

    /// Reads a text, calling it `name` in reports.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(name: &str, text: &str, env: &Env) -> Result<Self, Problems> {
        Self::read(Document::parse(name, text, env)?)
    }

    /// Reads a document that is open already.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn read(document: Document) -> Result<Self, Problems> {
        let mut config = read(&document.root());
        config.origins = document.origins();
        document.finish()?;
        Ok(config)
    }
}

/// What a reader of the root asks for, whether it is there or not.
pub(crate) fn read(root: &Node<'_>) -> Config {
    let mut config = Config { limits: limits(&root.get("limits")), ..Config::default() };
    config.listen = listen::listen(&root.get("listen"), super::LISTEN);
    config.cores = match root.get("cores") {
        node if node.is_given() => node.int(1..=1_024_usize).and_then(|cores| cores.try_into().ok()),
        _ => None,
    };
    config.trusted_proxies = networks(&root.get("trusted_proxies"));
    config.unsafe_trust_any_proxy = flag(root, "unsafe_trust_any_proxy");
    refuse_everyone(root, "trusted_proxies", &config.trusted_proxies, config.unsafe_trust_any_proxy);
    config.explain_to = networks(&root.get("explain_to"));
    config.unsafe_explain_to_anyone = flag(root, "unsafe_explain_to_anyone");
    refuse_everyone(root, "explain_to", &config.explain_to, config.unsafe_explain_to_anyone);
    config.addresses = addresses(root);
    renamed(root, "encoded_slash", "unsafe_keep_encoded_slash");
    if flag(root, "unsafe_keep_encoded_slash") {
        config.encoded_slash = EncodedSlash::Keep;
    }
    config.admin = admin(&root.get("admin"));
    config.access_log = access_log::read(&root.get("access_log"));
    config.decisions = decisions::read(&root.get("decisions"));
    config.metrics = metrics::read(&root.get("metrics"));
    config.cors = cors(&root.get("cors"));
    config.security_headers = security_headers::read(&root.get("security_headers"), &config.security_headers);
    config.rate_limits = rate_limits(&root.get("rate_limits"));
    renamed(root, "concurrency", "concurrency_limit");
    root.get("concurrency_limit").policy(&mut config.concurrency);
    root.get("shed").optional_policy(&mut config.shed);
    config.dns = lookups(&root.get("dns"));
    config.health = health(&root.get("health"));
    config.stale = stale(&root.get("stale"));
    let policies = root.get("policies");
    let for_services = Policies::read(&policies.get("services"));
    let for_routes = Policies::read(&policies.get("routes"));
    config.facts = Facts::read(root);
    config.services = services::services(&root.get("services"), &for_services, &mut config.facts);
    config.facts.check(root);
    config.jwt = jwt::issuers(&root.get("jwt"));
    config.api_keys = callers::api_keys(&root.get("api_keys"));
    config.basic = callers::basic(&root.get("basic"));
    refuse_passwords_in_clear(root, &config);
    config.revocation = revocation(&root.get("revocation"), root.get("jwt").is_given());
    let knows_users = ["jwt", "api_keys", "basic"].iter().any(|key| root.get(key).is_given());
    let top = Top { knows_users, security_headers: &config.security_headers };
    config.routes = routes(&root.get("routes").required(), &for_routes, &mut config.services, &top);
    config.policies = for_services.list().chain(for_routes.list()).collect();
    jwt::services(&root.get("jwt"), &config.services);
    refuse_certificates_that_nobody_asks_for(root, &config);
    config
}

fn flag(node: &Node<'_>, key: &str) -> bool {
    node.get(key).bool().unwrap_or(false)
}

/// A list of networks that is everybody is no list.
fn refuse_everyone(root: &Node<'_>, key: &str, networks: &[Network], is_allowed: bool) {
    if !is_allowed && let Some(all) = networks.iter().find(|network| network.is_everyone()) {
        let option = if key == "explain_to" { "unsafe_explain_to_anyone" } else { "unsafe_trust_any_proxy" };
        root.get(key).reject(
            format_args!("has {all}, which is every address"),
            format_args!("networks of one's own, or `{option}: true` beside it"),
        );
    }
}

/// A password goes along with every request: where nothing encrypts them, and nobody in front may, it is everybody's.
fn refuse_passwords_in_clear(root: &Node<'_>, config: &Config) {
    let Some(basic) = &config.basic else { return };
    let is_clear = |listener: &&Listener| listener.tls.is_none() && !listener.address.ip().is_loopback();
    let clear = config.listen.iter().find(is_clear);
    if let Some(listener) = clear.filter(|_| !basic.unsafe_plain_http && config.trusted_proxies.is_empty()) {
        root.get("basic").reject(
            format_args!("asks for passwords on {}, where nothing encrypts them", listener.address),
            "`tls` for that listener, the proxy that encrypts in `trusted_proxies`, or `unsafe_plain_http: true`",
        );
    }
}

/// A route that needs a certificate is out of reach where no listener asks for one.
fn refuse_certificates_that_nobody_asks_for(root: &Node<'_>, config: &Config) {
    let asks =
        |listener: &Listener| listener.tls.as_ref().is_some_and(|tls| tls.client_certificates.is_some());
    if config.listen.iter().any(asks) {
        return;
    }
    for route in root.get("routes").items() {
        let needed = route.get("client_certificate");
        if needed.is_given() {
            needed.reject(
                "needs a listener that asks for certificates",
                "none, or `client_certificates` in the `tls` of a listener",
            );
        }
    }
}

const SOCKET: (&str, &str) =
    ("an address with a port", "an address and a port, as 127.0.0.1:8080 or [::]:8080");

/// Puts a given value in the place of the default.
pub(super) fn set<T>(target: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *target = given;
    }
}

/// Says what an option is called that had another name.
pub(super) fn renamed(node: &Node<'_>, old: &str, new: &str) {
    if node.has(old) {
        node.get(old).reject(format_args!("is called `{new}`"), new);
    }
}

fn networks(node: &Node<'_>) -> Vec<Network> {
    node.items().iter().filter_map(|item| item.parse(addresses::WHAT.0, addresses::WHAT.1)).collect()
}

fn limits(node: &Node<'_>) -> Limits {
    let mut limits = Limits::default();
    let time = |key: &str, target: &mut Duration| set(target, node.get(key).duration(MOMENT..=HOUR));
    time("head_timeout", &mut limits.head_timeout);
    time("idle_timeout", &mut limits.idle_timeout);
    time("body_timeout", &mut limits.body_timeout);
    time("write_timeout", &mut limits.write_timeout);
    time("drain", &mut limits.drain);
    time("deadline", &mut limits.deadline);
    set(&mut limits.body_bytes, node.get("body").size(0..=units::size("64GiB").unwrap_or(u64::MAX)));
    set(&mut limits.headers, node.get("headers").int(8..=512));
    set(&mut limits.head_bytes, size(&node.get("head"), 1_024, 1_024 * 1_024));
    set(&mut limits.connections, node.get("connections").int(1..=1_000_000));
    limits
}

pub(super) fn size(node: &Node<'_>, least: u64, most: u64) -> Option<usize> {
    node.size(least..=most).and_then(|bytes| usize::try_from(bytes).ok())
}

fn admin(node: &Node<'_>) -> Admin {
    let mut admin = Admin::default();
    set(&mut admin.listen, node.get("listen").env("LEEWARD_ADMIN_LISTEN").parse(SOCKET.0, SOCKET.1));
    admin.hosts = node.get("hosts").texts();
    admin.origins = node.get("origins").texts();
    set(&mut admin.faults, node.get("faults").bool());
    admin.unsafe_beyond_loopback = flag(node, "unsafe_beyond_loopback");
    let token = node.get("token");
    admin.token = secret(&token);
    if !admin.listen.ip().is_loopback() && !token.is_given() {
        node.get("listen").reject(
            "is not a loopback address and `admin.token` is missing",
            "a loopback address, or any with a token",
        );
    }
    if !admin.listen.ip().is_loopback() && !admin.unsafe_beyond_loopback {
        node.get("listen").reject(
            "is not a loopback address, and nothing encrypts what operators send there",
            "a loopback address, or `unsafe_beyond_loopback: true` beside it",
        );
    }
    admin
}

/// A secret with the reference that it is read by.
pub(super) fn secret(node: &Node<'_>) -> Option<Token> {
    let secret = node.secret()?;
    let reference = node.parse_with("a reference", "env:NAME or file:PATH", |text| Some(text.to_owned()))?;
    Some(Token { secret, reference })
}

fn cors(node: &Node<'_>) -> Option<Cors> {
    if !node.is_given() {
        return None;
    }
    let mut cors = Cors::default();
    let origins = node.get("origins").required();
    let given = origins.texts();
    cors.origins = if given == ["*"] { Origins::Any } else { Origins::List(given) };
    if let Origins::List(list) = &cors.origins
        && let Some(bad) = list.iter().find(|origin| !is_origin(origin))
    {
        origins.reject(
            format_args!("has `{bad}`, which is not an origin"),
            "`*` alone, or scheme, host and port, as https://shop.example or http://localhost:3000",
        );
    }
    let list = |key: &str, target: &mut Vec<String>| {
        if node.get(key).is_given() {
            *target = node.get(key).texts();
        }
    };
    list("methods", &mut cors.methods);
    list("headers", &mut cors.headers);
    list("expose", &mut cors.expose);
    set(&mut cors.credentials, node.get("credentials").bool());
    set(&mut cors.max_age, node.get("max_age").duration(Duration::ZERO..=24 * HOUR));
    cors.unsafe_plain_origins = flag(node, "unsafe_plain_origins");
    if let Some(plain) = cors.plain_origins().next().filter(|_| !cors.unsafe_plain_origins) {
        origins.reject(
            format_args!("has `{plain}`, whose pages act as the user and come without encryption"),
            "https://, no `credentials`, or `unsafe_plain_origins: true`",
        );
    }
    if cors.credentials && cors.origins == Origins::Any {
        node.get("credentials").reject(
            "does not go with origins `*`: any page could act as the user",
            "false, or a list of origins",
        );
    }
    Some(cors)
}

fn revocation(node: &Node<'_>, has_jwt: bool) -> Option<Revocation> {
    if !node.is_given() {
        return None;
    }
    if !has_jwt {
        node.reject("needs `jwt`: without it no token is known", "a `jwt` section, or no `revocation`");
    }
    let mut revocation = Revocation::default();
    set(&mut revocation.event, node.get("event").text());
    let url = |text: &str| text.starts_with("sqlite:").then(|| text.to_owned());
    set(&mut revocation.database, node.get("database").parse_with("a database URL", "sqlite:PATH", url));
    let group = |text: &str| {
        let is_segment = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        text.split('.').all(is_segment).then(|| text.to_owned())
    };
    let allowed = "letters, digits, `-` and `_`, with dots between, as gateway.revocations";
    set(&mut revocation.group, node.get("group").parse_with("a name of a group", allowed, group));
    set(&mut revocation.stale_after, node.get("stale_after").duration(SECOND..=HOUR));
    set(&mut revocation.unsafe_fail_open, node.get("unsafe_fail_open").bool());
    Some(revocation)
}

fn rate_limits(node: &Node<'_>) -> RateLimits {
    let mut limits = RateLimits::default();
    node.get("address").optional_policy(&mut limits.address);
    node.get("principal").optional_policy(&mut limits.principal);
    set(&mut limits.keys, node.get("keys").int(16..=10_000_000));
    limits
}

fn lookups(node: &Node<'_>) -> dns::Options {
    let mut options = dns::Options::default();
    let server = |item: &Node<'_>| item.parse(NAME_SERVER.0, NAME_SERVER.1);
    options.servers = node.get("servers").items().iter().filter_map(server).collect();
    set(&mut options.family, node.get("family").one_of(&FAMILIES));
    set(&mut options.timeout, node.get("timeout").duration(Duration::from_millis(10)..=60 * SECOND));
    set(&mut options.ttl_min, node.get("ttl_min").duration(Duration::from_millis(100)..=HOUR));
    set(&mut options.ttl_max, node.get("ttl_max").duration(Duration::from_millis(100)..=24 * HOUR));
    if options.ttl_max < options.ttl_min {
        node.get("ttl_max").reject("is shorter than `ttl_min`", "at least `ttl_min`");
    }
    options
}

/// The words of `dns.family`.
pub(super) const FAMILIES: [(&str, dns::Family); 3] =
    [("any", dns::Family::Any), ("v4", dns::Family::V4), ("v6", dns::Family::V6)];
const NAME_SERVER: (&str, &str) =
    ("a name server's address", "an address and a port, as 10.0.0.2:53 or [fd00::2]:53");

fn health(node: &Node<'_>) -> Option<Health> {
    if !node.is_given() {
        return None;
    }
    let mut health = Health::default();
    set(&mut health.path, node.get("path").text());
    set(&mut health.interval, node.get("interval").duration(Duration::from_millis(100)..=HOUR));
    set(&mut health.timeout, node.get("timeout").duration(MOMENT..=HOUR));
    if let Err(errors) = health.validate() {
        node.reject_policy(&errors);
    }
    Some(health)
}

fn stale(node: &Node<'_>) -> Stale {
    let mut stale = Stale::default();
    set(&mut stale.bytes, size(&node.get("bytes"), 0, 16 * 1_024 * 1_024 * 1_024));
    set(&mut stale.entry_bytes, size(&node.get("entry"), 0, 64 * 1_024 * 1_024));
    stale
}

/// `file:line`, for problem documents.
pub(super) fn line(origin: &Origin) -> Arc<str> {
    match origin {
        Origin::File { file, line, .. } => format!("{file}:{line}").into(),
        Origin::Env(name) => format!("environment {name}").into(),
    }
}
