//! What of a configuration does not fit together, though each option is in its range: `leeward lint`.
//!
//! It looks at each service's policies (by [`PipelineOptions::lint`](leeward_resilience::PipelineOptions::lint)), over the graph
//! of who calls whom (`calls`), at the routes, and at the gateway's own edge. Nothing is asked of a running gateway.

mod edge;
mod graph;
mod routes;
pub mod rules;
mod services;

use std::borrow::Cow;
use std::fmt;

use leeward_runtime::config::{Origin, join};
use serde::Serialize;

use crate::config::{Config, POLICY_NAMES};

pub use self::rules::{RULES, Rule};

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; often meant.
    Note,
    /// It will hurt on a bad day.
    Warning,
    /// It does not do what it says, or lets in what it should not.
    Error,
}

impl Severity {
    /// The severity in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that does not fit.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// Which kind it is.
    pub rule: &'static Rule,
    /// How much it matters here.
    pub severity: Severity,
    /// The path of the option that it is about.
    pub path: String,
    /// Where that stands; for a default, where the map stands that could say otherwise.
    pub origin: Option<Origin>,
    /// What happens, with the numbers.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, severity, path, origin, what } = self;
        if let Some(origin) = origin {
            write!(f, "{origin}: ")?;
        }
        writeln!(f, "{}[{}]: {path}", severity.as_str(), rule.id)?;
        writeln!(f, "  {what}")?;
        writeln!(f, "  why: {}", rule.why)?;
        write!(f, "  do:  {}", rule.fix)
    }
}

/// All findings, those that matter most first, then by their place.
#[must_use]
pub fn lint(config: &Config) -> Vec<Finding> {
    let mut found = Findings { config, list: Vec::new() };
    services::lint(config, &mut found);
    graph::lint(config, &mut found);
    routes::lint(config, &mut found);
    edge::lint(config, &mut found);
    let mut list = found.list;
    list.sort_by(|one, other| {
        other
            .severity
            .cmp(&one.severity)
            .then_with(|| (&one.origin, &one.path).cmp(&(&other.origin, &other.path)))
    });
    list.dedup();
    list
}

/// Findings as JSON: a list of objects with `id`, `severity`, `path`, `file`, `line`, `column`, `what`, `why` and `do`.
#[must_use]
pub fn to_json(findings: &[Finding]) -> serde_json::Value {
    let one = |finding: &Finding| {
        let mut object = serde_json::json!({
            "id": finding.rule.id,
            "severity": finding.severity,
            "path": finding.path,
            "what": finding.what,
            "why": finding.rule.why,
            "do": finding.rule.fix,
        });
        match &finding.origin {
            Some(Origin::File { file, line, column }) => {
                object["file"] = (**file).into();
                object["line"] = (*line).into();
                object["column"] = (*column).into();
            }
            Some(Origin::Env(name)) => object["environment"] = name.as_str().into(),
            None => {}
        }
        object
    };
    findings.iter().map(one).collect()
}

/// What was found so far.
struct Findings<'c> {
    config: &'c Config,
    list: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, rule: &'static Rule, path: impl Into<String>, what: impl Into<String>) {
        self.add_as(rule, rule.severity, path, what);
    }

    fn add_as(
        &mut self,
        rule: &'static Rule,
        severity: Severity,
        path: impl Into<String>,
        what: impl Into<String>,
    ) {
        let (path, what) = (path.into(), what.into());
        let origin = self.config.origins.near(&path).cloned();
        self.list.push(Finding { rule, severity, path, origin, what });
    }
}

/// A policy's option as the gateway's configuration calls it.
fn written(option: &str) -> Cow<'_, str> {
    let (policy, rest) = option.split_at(option.find('.').unwrap_or(option.len()));
    match policy {
        "breaker" => format!("{}{rest}", POLICY_NAMES.breaker).into(),
        "concurrency" => format!("{}{rest}", POLICY_NAMES.concurrency).into(),
        _ => option.into(),
    }
}

/// The path of a service's option; of a service that a route names by its URL, the path of that route.
fn service_path(config: &Config, name: &str, option: &str) -> String {
    let mut path = "services".to_owned();
    join(&mut path, name);
    if config.origins.of(&path).is_none()
        && let Some((index, route)) = config
            .routes
            .iter()
            .enumerate()
            .find(|(_, route)| route.services().any(|service| **service == *name))
    {
        let is_answered = route.target.services().any(|service| **service == *name);
        let option = if is_answered { route.target.option() } else { "fallback.service" };
        return format!("routes[{index}].{option}");
    }
    if !option.is_empty() {
        path.push('.');
        path.push_str(&written(option));
    }
    path
}
