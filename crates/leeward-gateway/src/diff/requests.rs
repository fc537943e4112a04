//! Requests that would be answered in another way.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Serialize;

use super::example::{self, Example};
use super::{Things, values};
use crate::config::{Config, Route};
use crate::explain::explain;
use crate::router::{Ask, Match, Router};

/// Most requests that are told.
const REQUESTS_MAX: usize = 200;

/// A request, and what becomes of it by each of the two.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Request {
    /// What is asked.
    pub request: Example,
    /// By the old configuration.
    pub old: Outcome,
    /// By the new one.
    pub new: Outcome,
    /// What `leeward explain` says by the old one and not by the new one, line by line.
    pub no_more: Vec<String>,
    /// What it says by the new one and not by the old one.
    pub instead: Vec<String>,
}

/// What becomes of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Outcome {
    /// The id of the route that takes it; `None` where none does.
    pub route: Option<String>,
    /// Where that stands.
    pub at: Option<String>,
    /// The status and the code of the refusal, where it is certain to be refused, or who gets it.
    pub answer: String,
}

/// One configuration, ready to be asked.
struct Side<'c> {
    config: &'c Config,
    router: Router,
}

impl<'c> Side<'c> {
    fn new(config: &'c Config) -> Self {
        Self { config, router: Router::new(config.routes.iter().map(Route::entry)) }
    }

    /// The route that takes a request; else the methods that there are, in words.
    fn takes(&self, example: &Example, (method, headers): (&Method, &HeaderMap)) -> Taken<'c> {
        let (path, query) = match example.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (example.target.as_str(), None),
        };
        let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let ask = Ask { method, host, path, query, headers, is_preflight: false };
        match self.router.find(&ask) {
            Match::Route(index) => Ok(&self.config.routes[index]),
            Match::Method(allow) => Err(format!("405 method_not_allowed, Allow: {allow}")),
            Match::Unmet | Match::None => Err("404 not_found".to_owned()),
        }
    }

    fn outcome(&self, example: &Example, taken: Taken<'_>) -> (Outcome, Vec<String>) {
        let told = explain(self.config, example.method, &example.target, &example.headers);
        let (refused, lines) = match &told {
            Ok(told) => (told.refused(), told.lines()),
            Err(error) => (None, vec![error.to_string()]),
        };
        let refused = refused.map(|(status, code)| format!("{} {code}", status.as_u16()));
        let (route, answer) = match taken {
            Ok(route) => (Some(route), refused.unwrap_or_else(|| format!("to {}", route.target))),
            Err(answer) => (None, answer),
        };
        let at = route.and_then(|route| self.place(route));
        (Outcome { route: route.map(|route| route.id.to_string()), at, answer }, lines)
    }

    fn place(&self, route: &Route) -> Option<String> {
        let index = self.config.routes.iter().position(|one| one.id == route.id)?;
        values::at(self.config, &format!("routes[{index}]"))
    }
}

/// Those that go another way, then one of each route that is the same and changed; and how many are not told.
pub(super) fn find(old: &Config, new: &Config, routes: &Things) -> (Vec<Request>, usize) {
    let (old, new) = (Side::new(old), Side::new(new));
    let mut left_out = 0;
    let mut found: Vec<Request> = Vec::new();
    let mut add = |found: &mut Vec<Request>, request: &mut dyn FnMut() -> Option<Request>| {
        if found.len() < REQUESTS_MAX {
            found.extend(request());
        } else {
            left_out += 1;
        }
    };
    // Of two routes, or a route and a refusal, one request says what there is to say.
    let mut pairs = BTreeSet::new();
    for example in examples(&old, &new) {
        let Some((before, after)) = both(&old, &new, &example) else { continue };
        let pair = [&before, &after].map(|taken| match taken {
            Ok(route) => route.id.to_string(),
            Err(answer) => answer.clone(),
        });
        if pair[0] != pair[1] && pairs.insert(pair) {
            add(&mut found, &mut || Some(told(&old, &new, &example, (before.clone(), after.clone()))));
        }
    }
    for changed in &routes.changed {
        let Some(route) = new.config.routes.iter().find(|route| *route.id == *changed.id) else { continue };
        let Some(example) = example::one(route) else { continue };
        let Some((before, after)) = both(&old, &new, &example) else { continue };
        let is_of_both =
            [&before, &after].into_iter().all(|taken| taken.as_ref().is_ok_and(|it| it.id == route.id));
        if is_of_both {
            add(&mut found, &mut || {
                let request = told(&old, &new, &example, (before.clone(), after.clone()));
                (request.old.answer != request.new.answer
                    || !request.no_more.is_empty()
                    || !request.instead.is_empty())
                .then_some(request)
            });
        }
    }
    (found, left_out)
}

type Taken<'c> = Result<&'c Route, String>;

/// Who takes a request.
fn both<'c>(old: &Side<'c>, new: &Side<'c>, example: &Example) -> Option<(Taken<'c>, Taken<'c>)> {
    let (method, headers) = parts(example)?;
    Some((old.takes(example, (&method, &headers)), new.takes(example, (&method, &headers))))
}

fn examples(old: &Side<'_>, new: &Side<'_>) -> Vec<Example> {
    let of = |side: &Side<'_>| side.config.routes.iter().flat_map(example::of).collect::<Vec<_>>();
    let mut examples = of(new);
    examples.extend(of(old));
    examples.extend(example::contested(new.config));
    examples
}

fn parts(example: &Example) -> Option<(Method, HeaderMap)> {
    let mut headers = HeaderMap::new();
    for line in &example.headers {
        let (name, value) = line.split_once(": ")?;
        headers.append(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
    }
    Some((Method::from_bytes(example.method.as_bytes()).ok()?, headers))
}

fn told(
    old: &Side<'_>,
    new: &Side<'_>,
    example: &Example,
    (before, after): (Taken<'_>, Taken<'_>),
) -> Request {
    let (old, was) = old.outcome(example, before);
    let (new, is) = new.outcome(example, after);
    let without = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).cloned().collect()
    };
    Request { request: example.clone(), no_more: without(&was, &is), instead: without(&is, &was), old, new }
}
