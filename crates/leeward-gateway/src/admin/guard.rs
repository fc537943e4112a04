//! Who may use the admin API.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use leeward_service::Problem;
use leeward_service::identity::{ASSERTION_HEADER, Principal};

use super::Admin;

/// Where services ask who is where.
pub(super) const WHO_IS_WHERE: &str = "/v1/services";

/// Refuses what is not an operator's own doing, nor a service's question who is where.
pub(super) async fn check(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let Some(refused) = refusal(&admin, request.headers(), request.uri().host()) else {
        return next.run(request).await;
    };
    let asks_who_is_where = request.method() == Method::GET && request.uri().path() == WHO_IS_WHERE;
    let assertion = request.headers().get(ASSERTION_HEADER).filter(|_| asks_who_is_where).cloned();
    match assertion {
        Some(assertion) if is_service(&admin, &assertion).await => next.run(request).await,
        _ => refused,
    }
}

/// What is to be said to those who are no operator.
fn refusal(admin: &Admin, headers: &HeaderMap, target: Option<&str>) -> Option<Response> {
    let shared = admin.shared();
    let options = &shared.config.admin;
    let Some(host) = host(headers).or(target) else {
        return Some(Problem::malformed("the Host header is missing").into_response());
    };
    let own = options.listen.ip().to_string();
    if !is_loopback(host) && host != own && !options.hosts.iter().any(|name| name == host) {
        // A name that a stranger's DNS points here: the browser thinks that the page and this API are one site.
        return Some(Problem::forbidden("this name is not in `admin.hosts`").into_response());
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let same =
            origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == authority_of(headers));
        if !same && !options.origins.iter().any(|known| known == origin) {
            return Some(Problem::forbidden("this origin is not in `admin.origins`").into_response());
        }
    }
    if let Some(token) = &options.token
        && !bearer(headers).is_some_and(|given| same_text(given, token.secret.reveal()))
    {
        let mut response =
            Problem::unauthenticated("send `Authorization: Bearer` with the admin token").into_response();
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Some(response);
    }
    None
}

/// Whether a service of the directory speaks for itself. No page in a browser can: it has no key.
async fn is_service(admin: &Admin, assertion: &HeaderValue) -> bool {
    match admin.verifier.verify(assertion.as_bytes()).await {
        Ok(caller) => *caller.principal() == Principal::Service,
        Err(error) => {
            tracing::debug!(%error, "somebody asked who is where and is no service that is known");
            false
        }
    }
}

fn authority_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

/// The host without its port.
fn host(headers: &HeaderMap) -> Option<&str> {
    let authority = authority_of(headers)?;
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map(|(host, _)| host);
    }
    Some(authority.rsplit_once(':').map_or(authority, |(host, _)| host))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares in a time that depends on the lengths alone, so that a guess cannot be improved byte by byte.
fn same_text(given: &str, wanted: &str) -> bool {
    let difference = given.bytes().zip(wanted.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    !wanted.is_empty() && given.len() == wanted.len() && difference == 0
}
