//! What the gateway answers by its configuration: redirects and fixed answers.

use http::Response;
use http::header::{self, HeaderMap};
use http::request::Parts;

use super::parse;
use super::trip::no_route;
use crate::body::Download;
use crate::config::Config;
use crate::refusal::{Refusal, Stage, code};
use crate::shared::RouteState;
use crate::target::{Redirect, Respond, Target};

/// The answer of a route that has no service.
pub(super) fn answer(
    config: &Config,
    route: &RouteState,
    head: &Parts,
    path: &str,
) -> Result<Response<Download>, Refusal> {
    let mut answer = match &route.config.target {
        Target::Redirect(redirect) => elsewhere(config, redirect, head, path)?,
        Target::Respond(respond) => fixed(respond),
        // Services answer for themselves.
        Target::Service(_) | Target::Split(_) => return Err(no_route()),
    };
    route.config.response_headers.apply(answer.headers_mut());
    Ok(answer)
}

fn elsewhere(
    config: &Config,
    redirect: &Redirect,
    head: &Parts,
    path: &str,
) -> Result<Response<Download>, Refusal> {
    let (host, query) = (parse::host_name(head), head.uri.query());
    let location = redirect.location(host, path, query, config.encoded_slash).map_err(parse::bad_path)?;
    let location = location.ok_or_else(|| {
        Refusal::bad_request(code::BAD_TARGET, Stage::Route, "the place to go to would be no header")
    })?;
    let mut answer = Response::new(Download::default());
    *answer.status_mut() = redirect.status;
    answer.headers_mut().insert(header::LOCATION, location);
    Ok(answer)
}

/// A fixed answer.
pub(super) fn fixed(respond: &Respond) -> Response<Download> {
    let mut headers = HeaderMap::new();
    let body = if respond.body.is_empty() {
        Download::default()
    } else {
        headers.insert(header::CONTENT_TYPE, respond.content_type.clone());
        Download::Own(Some(respond.body.clone()))
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = respond.status;
    *answer.headers_mut() = headers;
    answer
}
