//! All values in force, as a file that parses back to the same.

mod split;
mod target;

pub(super) use self::target::respond;

use std::fmt::Write;

use leeward_discovery::dns;
use leeward_resilience::config::{Options, Value, write};
use leeward_resilience::rate::RateLimit;
use leeward_runtime::units::{Rate, show_duration, show_size};

use super::parse::FAMILIES;
use super::{
    ApiKeys, Basic, ClientCertificate, Config, Jwt, KeySource, Known, Listener, Route, Rule, ServicePolicy,
    ServiceTls, access_log, decisions, fallback, metrics, security_headers, shed,
};
use crate::address::Addresses;
use crate::cors::{Cors, Origins};
use crate::deprecation::Deprecated;
use crate::path::EncodedSlash;
use crate::router::{Conditions, On, Test};

impl Config {
    /// The configuration with every default filled in. Secrets appear as their references.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut out = Yaml::default();
        self.print_listen(&mut out);
        self.print_rest(&mut out);
        out.text
    }

    /// The same with every listener written out, however plain it is.
    pub(crate) fn to_full_yaml(&self) -> String {
        let mut out = Yaml::default();
        self.print_listeners(&mut out);
        self.print_rest(&mut out);
        out.text
    }

    fn print_rest(&self, out: &mut Yaml) {
        if let Some(cores) = self.cores {
            out.line(0, "cores", cores);
        }
        out.list(0, "trusted_proxies", self.trusted_proxies.iter().map(ToString::to_string));
        out.line(0, "unsafe_trust_any_proxy", self.unsafe_trust_any_proxy);
        out.list(0, "explain_to", self.explain_to.iter().map(ToString::to_string));
        out.line(0, "unsafe_explain_to_anyone", self.unsafe_explain_to_anyone);
        print_addresses(out, 0, &self.addresses);
        out.line(0, "unsafe_keep_encoded_slash", self.encoded_slash == EncodedSlash::Keep);
        self.print_admin(out);
        if let Some(log) = &self.access_log {
            access_log::print(out, log);
        }
        decisions::print(out, &self.decisions);
        metrics::print(out, &self.metrics);
        self.print_limits(out);
        if let Some(cors) = &self.cors {
            print_cors(out, cors);
        }
        security_headers::print(out, 0, &self.security_headers);
        self.print_identity(out);
        out.open(0, "rate_limits");
        out.line(1, "address", show_rate(self.rate_limits.address.as_ref()));
        out.line(1, "principal", show_rate(self.rate_limits.principal.as_ref()));
        out.line(1, "keys", self.rate_limits.keys);
        out.policy(0, "concurrency_limit", &self.concurrency);
        shed::print(out, self.shed.as_ref());
        print_lookups(out, &self.dns);
        if let Some(health) = &self.health {
            out.open(0, "health");
            out.quoted(1, "path", &health.path);
            out.line(1, "interval", show_duration(health.interval));
            out.line(1, "timeout", show_duration(health.timeout));
        }
        out.open(0, "stale");
        out.line(1, "bytes", show_size(self.stale.bytes as u64));
        out.line(1, "entry", show_size(self.stale.entry_bytes as u64));
        out.open(0, "services");
        for (name, policy) in &self.services {
            print_service(out, name, policy);
            out.known(2, self.facts.services.get(name));
        }
        if !self.facts.behind.is_empty() {
            out.open(0, "behind");
        }
        for (name, known) in &self.facts.behind {
            if *known == Known::default() {
                out.line(1, &quote(name), "{}");
                continue;
            }
            out.open(1, &quote(name));
            out.known(2, Some(known));
        }
        if let Some(replicas) = self.facts.replicas {
            out.open(0, "facts");
            out.line(1, "replicas", replicas);
        }
        out.open(0, "routes");
        for route in &self.routes {
            self.print_route(out, route);
        }
    }

    fn print_listen(&self, out: &mut Yaml) {
        match self.listen.as_slice() {
            [one] if one.is_plain() => out.line(0, "listen", one.address),
            _ => self.print_listeners(out),
        }
    }

    fn print_listeners(&self, out: &mut Yaml) {
        out.open(0, "listen");
        for (depth, line) in self.listen.iter().flat_map(Listener::lines) {
            let _ok = writeln!(out.text, "{:indent$}{line}", "", indent = (depth + 1) * 2);
        }
    }

    /// What tells this configuration from any other: SHA-256 of what [`Config::to_yaml`] prints, in hexadecimal digits. Where an
    /// option stands, and what is behind a reference to a secret, makes no difference.
    #[must_use]
    pub fn hash(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.to_yaml().as_bytes());
        digest.as_ref().iter().fold(String::with_capacity(64), |mut hash, byte| {
            // Writing into a string does not fail.
            let _ok = write!(hash, "{byte:02x}");
            hash
        })
    }

    fn print_admin(&self, out: &mut Yaml) {
        out.open(0, "admin");
        out.line(1, "listen", self.admin.listen);
        out.line(1, "unsafe_beyond_loopback", self.admin.unsafe_beyond_loopback);
        if let Some(token) = &self.admin.token {
            out.quoted(1, "token", &token.reference);
        }
        out.list(1, "hosts", self.admin.hosts.iter().cloned());
        out.list(1, "origins", self.admin.origins.iter().cloned());
        out.line(1, "faults", self.admin.faults);
    }

    fn print_limits(&self, out: &mut Yaml) {
        let limits = &self.limits;
        out.open(0, "limits");
        out.line(1, "body", show_size(limits.body_bytes));
        out.line(1, "headers", limits.headers);
        out.line(1, "head", show_size(limits.head_bytes as u64));
        out.line(1, "connections", limits.connections);
        for (key, time) in [
            ("head_timeout", limits.head_timeout),
            ("idle_timeout", limits.idle_timeout),
            ("body_timeout", limits.body_timeout),
            ("write_timeout", limits.write_timeout),
            ("drain", limits.drain),
            ("deadline", limits.deadline),
        ] {
            out.line(1, key, show_duration(time));
        }
    }

    fn print_identity(&self, out: &mut Yaml) {
        print_issuers(out, &self.jwt);
        if let Some(ApiKeys { file, header, .. }) = &self.api_keys {
            out.open(0, "api_keys");
            out.quoted(1, "file", &file.to_string_lossy());
            out.quoted(1, "header", header.as_str());
        }
        if let Some(Basic { file, realm, checks, attempts, unsafe_plain_http, .. }) = &self.basic {
            out.open(0, "basic");
            out.quoted(1, "file", &file.to_string_lossy());
            out.quoted(1, "realm", realm);
            out.line(1, "checks", checks);
            out.line(1, "attempts", show_rate(Some(attempts)));
            out.line(1, "unsafe_plain_http", unsafe_plain_http);
        }
        if let Some(revocation) = &self.revocation {
            out.open(0, "revocation");
            out.quoted(1, "event", &revocation.event);
            out.quoted(1, "database", &revocation.database);
            out.quoted(1, "group", &revocation.group);
            out.line(1, "stale_after", show_duration(revocation.stale_after));
            out.line(1, "unsafe_fail_open", revocation.unsafe_fail_open);
        }
    }

    fn print_route(&self, out: &mut Yaml, route: &Route) {
        out.quoted(1, "- path", route.pattern.text());
        if route.is_named() {
            out.quoted(2, "id", &route.id);
        }
        out.flag(2, "exact", route.pattern.is_exact());
        if !route.hosts.is_empty() {
            out.list(2, "hosts", route.hosts.iter().map(ToString::to_string));
        }
        if !route.methods.is_any() {
            out.line(2, "methods", format_args!("[{}]", route.methods));
        }
        if !route.conditions.is_empty() {
            out.open(2, "match");
            print_conditions(out, 3, &route.conditions);
        }
        target::print(out, route);
        if let Some(options) = &route.security_headers {
            security_headers::print(out, 2, options);
        }
        print_addresses(out, 2, &route.addresses);
        match &route.access {
            Rule::All(rules) => out.list(2, "access", rules.iter().map(ToString::to_string)),
            rule => out.quoted(2, "access", &rule.to_string()),
        }
        out.word(2, "priority", route.priority.as_str());
        out.word(2, "deadline", &show_duration(route.deadline.unwrap_or(self.limits.deadline)));
        out.word(2, "body", &show_size(route.body_bytes.unwrap_or(self.limits.body_bytes)));
        match &route.rate_limit {
            Some(limit) => out.word(2, "rate_limit", &show_rate(Some(limit))),
            None => out.word(2, "rate_limit", "off"),
        }
        if let Some(policies) = &route.policies
            && let Value::Map(options) = write(&**policies)
        {
            for (key, value) in options.iter().filter(|(key, _)| policies.has(key)) {
                out.value(2, key, value);
            }
        }
        if let Some(age) = route.stale_if_error {
            out.line(2, "stale_if_error", show_duration(age));
        }
        if let Some(options) = &route.fallback {
            fallback::print(out, options);
        }
        match &route.client_certificate {
            None => {}
            Some(ClientCertificate::Any) => out.line(2, "client_certificate", "any"),
            Some(ClientCertificate::Names(names)) => out.list(2, "client_certificate", names.iter().cloned()),
        }
        if route.target.services().next().is_some() {
            out.flag(2, "forward_token", route.forward_token);
        }
        if let Some(tunnel) = &route.tunnel {
            out.line(2, "upgrade", "[websocket]");
            out.open(2, "tunnel");
            out.line(3, "idle_timeout", show_duration(tunnel.idle_timeout));
            if let Some(longest) = tunnel.max_duration {
                out.line(3, "max_duration", show_duration(longest));
            }
        }
        if let Some(deprecated) = &route.deprecated {
            print_deprecated(out, deprecated);
        }
    }
}

fn print_deprecated(out: &mut Yaml, deprecated: &Deprecated) {
    out.open(2, "deprecated");
    out.line(3, "since", deprecated.since);
    if let Some(sunset) = deprecated.sunset {
        out.line(3, "sunset", sunset);
    }
    if let Some(link) = &deprecated.link {
        out.quoted(3, "link", link.to_str().unwrap_or_default());
    }
}

fn print_conditions(out: &mut Yaml, depth: usize, conditions: &Conditions) {
    let mut kind = "";
    for condition in conditions.iter() {
        let (of, name) = match &condition.on {
            On::Header(name) => ("headers", name.0.as_str()),
            On::Query(name) => ("query", &**name),
            On::Cookie(name) => ("cookies", &**name),
        };
        if kind != of {
            out.open(depth, of);
            kind = of;
        }
        let test = match &condition.test {
            Test::Exact(text) => quote(text),
            Test::Prefix(text) => format!("{{prefix: {}}}", quote(text)),
            Test::Present => "{present: true}".to_owned(),
            Test::Absent => "{present: false}".to_owned(),
        };
        out.line(depth + 1, &quote(name), test);
    }
}

fn print_addresses(out: &mut Yaml, depth: usize, addresses: &Addresses) {
    if let Some(allow) = &addresses.allow {
        out.list(depth, "allow", allow.written().iter().cloned());
    }
    out.list(depth, "deny", addresses.deny.written().iter().cloned());
}

/// One issuer as a map, several as a list.
fn print_issuers(out: &mut Yaml, issuers: &[Jwt]) {
    if issuers.is_empty() {
        return;
    }
    out.open(0, "jwt");
    let depth = if issuers.len() == 1 { 1 } else { 2 };
    for jwt in issuers {
        let start = out.text.len();
        print_issuer(out, depth, jwt);
        if depth == 2 {
            out.text.replace_range(start..start + 4, "  - ");
        }
    }
}

fn print_issuer(out: &mut Yaml, depth: usize, jwt: &Jwt) {
    match &jwt.keys {
        KeySource::Service { service, path } => {
            out.quoted(depth, "service", service);
            out.quoted(depth, "path", path);
        }
        KeySource::Url(url) => out.quoted(depth, "url", &url.to_string()),
        KeySource::Given(text) => out.quoted(depth, "keys", &text.reference),
        KeySource::Secret(text) => out.quoted(depth, "secret", &text.reference),
    }
    if let Some(tls) = &jwt.tls {
        out.tls(depth, tls);
    }
    if let Some(issuer) = &jwt.issuer {
        out.quoted(depth, "issuer", issuer);
    }
    out.list(depth, "audience", jwt.audience.iter().cloned());
    out.list(depth, "algorithms", jwt.algorithms.iter().map(|algorithm| algorithm.name().to_owned()));
    if !jwt.prefix.is_empty() {
        out.quoted(depth, "prefix", &jwt.prefix);
    }
    out.line(depth, "unsafe_shared_users", jwt.unsafe_shared_users);
    if matches!(jwt.keys, KeySource::Url(_)) {
        out.line(depth, "unsafe_plain_url", jwt.unsafe_plain_url);
    }
    out.open(depth, "claims");
    out.list(depth + 1, "roles", jwt.claims.roles.iter().cloned());
    out.list(depth + 1, "permissions", jwt.claims.permissions.iter().cloned());
    out.list(depth + 1, "scopes", jwt.claims.scopes.iter().cloned());
    out.line(depth, "leeway", show_duration(jwt.leeway));
    out.line(depth, "token", show_size(jwt.token_bytes as u64));
    out.line(depth, "refresh", show_duration(jwt.refresh));
    out.line(depth, "stale_if_error", show_duration(jwt.stale_if_error));
}

fn print_cors(out: &mut Yaml, cors: &Cors) {
    out.open(0, "cors");
    match &cors.origins {
        Origins::Any => out.list(1, "origins", ["*".to_owned()].into_iter()),
        Origins::List(list) => out.list(1, "origins", list.iter().cloned()),
    }
    out.list(1, "methods", cors.methods.iter().cloned());
    out.list(1, "headers", cors.headers.iter().cloned());
    out.list(1, "expose", cors.expose.iter().cloned());
    out.line(1, "credentials", cors.credentials);
    out.line(1, "max_age", show_duration(cors.max_age));
    out.line(1, "unsafe_plain_origins", cors.unsafe_plain_origins);
}

fn print_lookups(out: &mut Yaml, options: &dns::Options) {
    out.open(0, "dns");
    out.list(1, "servers", options.servers.iter().map(ToString::to_string));
    let family = FAMILIES.iter().find_map(|(word, family)| (*family == options.family).then_some(*word));
    out.line(1, "family", family.unwrap_or_default());
    out.line(1, "timeout", show_duration(options.timeout));
    out.line(1, "ttl_min", show_duration(options.ttl_min));
    out.line(1, "ttl_max", show_duration(options.ttl_max));
}

fn print_service(out: &mut Yaml, name: &str, policy: &ServicePolicy) {
    let _ok = writeln!(out.text, "  {}:", quote(name));
    if !policy.urls.is_empty() {
        out.list(2, "urls", policy.urls.iter().map(|url| url.to_string().trim_end_matches('/').to_owned()));
    }
    if let Some(name) = &policy.dns {
        out.quoted(2, "dns", &name.to_string());
    }
    if let Some(tls) = &policy.tls {
        out.tls(2, tls);
    }
    out.line(2, "protocol", policy.protocol.as_str());
    if let Some(key) = policy.key() {
        out.line(2, "hash_on", key);
    }
    if let Value::Map(options) = write(policy) {
        for (name, value) in &options {
            out.value(2, name, value);
        }
    }
}

fn show_rate(limit: Option<&RateLimit>) -> String {
    let Some(limit) = limit else { return "off".to_owned() };
    let rate = Rate { count: limit.limit.get().into(), per: limit.period };
    format!("{rate} burst {}", limit.burst)
}

/// Quoted the way that JSON does it, which YAML reads.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    push_quoted(&mut quoted, text);
    quoted
}

fn push_quoted(out: &mut String, text: &str) {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if text.bytes().all(is_plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return;
    }
    // Writing into a string does not fail.
    let _ok = write!(out, "{}", serde_json::Value::from(text));
}

#[derive(Default)]
pub(super) struct Yaml {
    text: String,
}

impl Yaml {
    pub(super) fn line(&mut self, depth: usize, key: &str, value: impl std::fmt::Display) {
        self.begin(depth, key);
        // Writing into a string does not fail.
        let _ok = writeln!(self.text, " {value}");
    }

    /// A line whose value is a text already.
    fn word(&mut self, depth: usize, key: &str, value: &str) {
        self.begin(depth, key);
        self.text.push(' ');
        self.text.push_str(value);
        self.text.push('\n');
    }

    pub(super) fn flag(&mut self, depth: usize, key: &str, is_on: bool) {
        self.word(depth, key, if is_on { "true" } else { "false" });
    }

    pub(super) fn quoted(&mut self, depth: usize, key: &str, value: &str) {
        self.begin(depth, key);
        self.text.push(' ');
        push_quoted(&mut self.text, value);
        self.text.push('\n');
    }

    pub(super) fn open(&mut self, depth: usize, key: &str) {
        self.begin(depth, key);
        self.text.push('\n');
    }

    fn begin(&mut self, depth: usize, key: &str) {
        for _ in 0..depth {
            self.text.push_str("  ");
        }
        self.text.push_str(key);
        self.text.push(':');
    }

    /// Every option of a policy, under the names that it is read by.
    pub(super) fn policy<T: Options>(&mut self, depth: usize, key: &str, options: &T) {
        self.value(depth, key, &write(options));
    }

    pub(super) fn value(&mut self, depth: usize, key: &str, value: &Value) {
        match value {
            Value::Map(entries) if entries.is_empty() => self.line(depth, key, "{}"),
            Value::Map(entries) => {
                self.open(depth, key);
                for (key, value) in entries {
                    self.value(depth + 1, key, value);
                }
            }
            // What options write is a number or a plain word, except for lists, which none has.
            scalar => self.line(depth, key, scalar.text().unwrap_or_default()),
        }
    }

    fn tls(&mut self, depth: usize, tls: &ServiceTls) {
        self.open(depth, "tls");
        for line in tls.lines() {
            let _ok = writeln!(self.text, "{:depth$}{line}", "", depth = (depth + 1) * 2);
        }
    }

    fn known(&mut self, depth: usize, known: Option<&Known>) {
        for (below, line) in known.into_iter().flat_map(Known::lines) {
            let _ok = writeln!(self.text, "{:depth$}{line}", "", depth = (depth + below) * 2);
        }
    }

    pub(super) fn list(&mut self, depth: usize, key: &str, values: impl Iterator<Item = String>) {
        self.begin(depth, key);
        self.text.push_str(" [");
        for (at, value) in values.enumerate() {
            self.text.push_str(if at == 0 { "" } else { ", " });
            push_quoted(&mut self.text, &value);
        }
        self.text.push_str("]\n");
    }
}
