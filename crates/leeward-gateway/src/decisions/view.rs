//! A decision as operators see it.

use std::collections::BTreeMap;
use std::time::Duration;

use leeward_resilience::config::units::show_duration;
use serde::Serialize;

use super::attempts::{Outcome, Tried};
use super::record::{Decision, Refused};
use super::remedy::unless;
use super::ruling::{Ruling, Value};

/// A decision, as the admin API shows it.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    request_id: String,
    /// When it was answered, in milliseconds of Unix time.
    time_ms: i64,
    took_ms: f64,
    kept: &'static str,
    client: String,
    method: &'static str,
    host: String,
    path: String,
    route: Option<String>,
    /// Where the route stands.
    route_config: Option<String>,
    service: Option<String>,
    status: u16,
    epoch: u64,
    stage: Option<&'static str>,
    code: Option<&'static str>,
    detail: Option<String>,
    rule: Option<&'static str>,
    /// The option that decided, and where it stands; without a place it is the default.
    option: Option<String>,
    config: Option<String>,
    values: BTreeMap<&'static str, Value>,
    /// The cause for which another answer stood in.
    fallback: Option<&'static str>,
    attempts: Vec<AttemptView>,
    /// All of it in plain words.
    why: Vec<String>,
}

#[derive(Debug, Serialize)]
struct AttemptView {
    endpoint: String,
    outcome: &'static str,
    status: Option<u16>,
    took_ms: f64,
}

impl From<&Decision> for View {
    fn from(one: &Decision) -> Self {
        let refused = one.refused.as_ref();
        let tried = one.attempts.list();
        let values = refused.and_then(|refused| refused.ruling.as_deref()).map_or(&[][..], Ruling::values);
        Self {
            request_id: one.request_id.as_str().to_owned(),
            time_ms: one.unix_ms,
            took_ms: ms(one.took),
            kept: one.kept.as_str(),
            client: one.client.to_string(),
            method: one.method,
            host: one.host.as_str().to_owned(),
            path: one.path.as_str().to_owned(),
            route: one.route.as_deref().map(str::to_owned),
            route_config: one.route_at.as_deref().map(str::to_owned),
            service: one.service.as_deref().map(str::to_owned),
            status: one.status,
            epoch: one.epoch,
            stage: refused.map(|refused| refused.stage.as_str()),
            code: refused.map(|refused| refused.code),
            detail: refused.map(|refused| refused.detail.as_str().to_owned()),
            rule: refused.and_then(|refused| refused.rule),
            option: refused.and_then(|refused| refused.option.as_deref()).map(str::to_owned),
            config: refused.and_then(|refused| refused.origin.as_ref()).map(ToString::to_string),
            values: values.iter().copied().collect(),
            fallback: one.fallback.as_ref().map(|fallback| fallback.cause),
            attempts: tried.iter().map(AttemptView::from).collect(),
            why: why(one, &tried),
        }
    }
}

impl From<&Tried> for AttemptView {
    fn from(tried: &Tried) -> Self {
        Self {
            endpoint: tried.endpoint.to_string(),
            outcome: tried.outcome.as_str(),
            status: tried.outcome.status(),
            took_ms: ms(Duration::from_micros(tried.took_us.into())),
        }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// One sentence a line: what was answered, what decided, what was tried, what would have let it pass.
fn why(one: &Decision, tried: &[Tried]) -> Vec<String> {
    let took = show_duration(Duration::from_micros(u64::try_from(one.took.as_micros()).unwrap_or(u64::MAX)));
    let mut lines = Vec::new();
    match &one.refused {
        _ if one.fallback.is_some() => lines.extend(instead(one, &took)),
        Some(refused) => {
            let (status, code, stage) = (one.status, refused.code, refused.stage.as_str());
            lines.push(format!(
                "the gateway answered {status} {code} after {took}, at the stage {stage}: {}",
                refused.detail.as_str()
            ));
            lines.extend(decided(refused));
        }
        None => lines.push(format!("the gateway passed on the answer {} after {took}", one.status)),
    }
    match (&one.route, &one.route_at) {
        (Some(route), Some(at)) => lines.push(format!("its route was {route} ({at})")),
        _ => lines.push("it came to no route".to_owned()),
    }
    lines.extend(tried.iter().zip(1..).map(|(tried, number)| attempt(number, tried)));
    if let Some(refused) = &one.refused {
        lines.push(unless(refused.code).to_owned());
        if let Some(after) = refused.retry_after {
            lines.push(format!("it was told to try again after {}", show_duration(after)));
        }
    }
    lines
}

/// What answered in the place of the service, and what the answer would have been.
fn instead(one: &Decision, took: &str) -> Vec<String> {
    let Some(fallback) = &one.fallback else { return Vec::new() };
    let who = fallback.service.as_deref().unwrap_or("the gateway");
    let mut lines = vec![format!(
        "{who} answered {} after {took} in the place of the service, whose call ended as {}",
        one.status, fallback.cause
    )];
    if let Some(refused) = &one.refused {
        let (code, stage) = (refused.code, refused.stage.as_str());
        lines.push(format!("without that it was {code}, at the stage {stage}: {}", refused.detail.as_str()));
        lines.extend(decided(refused));
    }
    lines
}

/// The option that decided, where it stands, and the values that were held against it.
fn decided(refused: &Refused) -> Option<String> {
    let option = refused.option.as_ref()?;
    let mut line = match &refused.origin {
        Some(origin) => format!("what decided is {option} ({origin})"),
        None => format!("what decided is {option}, by its default"),
    };
    let values = refused.ruling.as_deref().map_or(&[][..], Ruling::values);
    for (at, (name, value)) in values.iter().enumerate() {
        line.push_str(if at == 0 { ": " } else { ", " });
        match value {
            Value::Number(number) => line.push_str(&format!("{name} {number}")),
            Value::Word(word) => line.push_str(&format!("{name} {word}")),
        }
    }
    Some(line)
}

fn attempt(number: usize, tried: &Tried) -> String {
    let took = show_duration(Duration::from_micros(tried.took_us.into()));
    let became = match tried.outcome {
        Outcome::Answered(status) => format!("was answered {status}"),
        Outcome::Failed(status) => format!("failed with {status}"),
        Outcome::NotConnected => "found no connection".to_owned(),
        Outcome::BrokenOff => "was broken off before an answer".to_owned(),
        Outcome::NoHttp => "was answered with what is no HTTP".to_owned(),
        Outcome::BodyCut => "had no whole body to send".to_owned(),
        Outcome::GivenUp => "was given up".to_owned(),
    };
    format!("attempt {number} went to {} and {became} after {took}", tried.endpoint)
}
