//! Who it is and what they may.

use std::rc::Rc;

use http::request::Parts;

use super::{Core, Peer};
use crate::config::Rule;
use crate::jwt::{self, Authentication, NotVerified, Subject};
use crate::refusal::{Refusal, Stage, code};
use crate::shared::RouteState;

/// The subject of the request's token. A route for anyone takes a bad token for none; a route whose answers may be kept
/// for others learns nobody's name at all.
pub(super) async fn authenticate(
    core: &Rc<Core>,
    route: &RouteState,
    head: &Parts,
) -> Result<Option<Rc<Subject>>, Refusal> {
    let Some(authentication) = &core.shared.authentication else { return Ok(None) };
    if route.config.stale_if_error.is_some() {
        return Ok(None);
    }
    let found = match jwt::token(&head.headers, authentication.token_bytes_max) {
        Ok(Some(token)) => subject(core, authentication, token).await.map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(not_a_token(error)),
    };
    match (&route.config.access, found) {
        (Rule::Anyone, found) => Ok(found.unwrap_or(None)),
        (_, Ok(None)) => Err(no_token()),
        (_, found) => found,
    }
}

/// Whether the client presented the certificate that the route wants.
pub(super) fn certified(route: &RouteState, peer: &Peer) -> Result<(), Refusal> {
    let Some(wanted) = &route.config.client_certificate else { return Ok(()) };
    if peer.certificate.as_ref().is_some_and(|certificate| certificate.is(wanted)) {
        return Ok(());
    }
    let detail = match peer.certificate {
        Some(_) => "the client's certificate is not one for this route",
        None => "this needs a client certificate",
    };
    let refusal =
        Refusal::new(http::StatusCode::FORBIDDEN, code::CERTIFICATE_REQUIRED, Stage::Authenticate, detail);
    Err(refusal.hint("the route's `client_certificate`"))
}

/// Whether the route's rule lets the subject through.
pub(super) fn authorise(route: &RouteState, subject: Option<&Subject>) -> Result<(), Refusal> {
    let allowed = is_allowed(&route.config.access, subject);
    if allowed {
        return Ok(());
    }
    let status = http::StatusCode::FORBIDDEN;
    let refusal = Refusal::new(status, code::FORBIDDEN, Stage::Authorise, "the user may not use this route");
    Err(refusal.hint("the route's `access`"))
}

fn is_allowed(rule: &Rule, subject: Option<&Subject>) -> bool {
    match rule {
        Rule::Anyone => true,
        Rule::User => subject.is_some(),
        Rule::Roles(roles) => subject.is_some_and(|subject| subject.has_one_of(roles)),
        Rule::Scopes(scopes) => subject.is_some_and(|subject| subject.has_scope(scopes)),
        Rule::Claim { name, values } => subject.is_some_and(|subject| subject.has_claim(name, values)),
        Rule::All(rules) => subject.is_some() && rules.iter().all(|rule| is_allowed(rule, subject)),
    }
}

async fn subject(
    core: &Rc<Core>,
    authentication: &Authentication,
    token: &str,
) -> Result<Rc<Subject>, Refusal> {
    let shared = &core.shared;
    let now_ms = shared.clock.unix_ms();
    let generation = authentication.generation();
    let known = core.tokens.borrow_mut().get(token, generation, now_ms);
    let subject = match known {
        Some(subject) => subject,
        None => verified(core, authentication, token, generation, now_ms).await?,
    };
    if shared.revocations.contains(subject.token_id.as_deref(), &subject.id, subject.issued_at_ms) {
        return Err(Refusal::unauthorised(
            code::TOKEN_REVOKED,
            Stage::Revoked,
            "the token was revoked: log in again",
        ));
    }
    Ok(subject)
}

async fn verified(
    core: &Rc<Core>,
    authentication: &Authentication,
    token: &str,
    generation: u64,
    now_ms: i64,
) -> Result<Rc<Subject>, Refusal> {
    let verified = authentication.verify(token, now_ms).await.map_err(|not| match not {
        NotVerified::Bad(error) => bad_token(error),
        NotVerified::KeysUnavailable => Refusal::unavailable(
            code::KEYS_UNAVAILABLE,
            Stage::Authenticate,
            "the keys that tokens are checked with cannot be had now",
        ),
    })?;
    let subject = Rc::new(Subject::new(verified).ok_or_else(|| bad_token(jwt::Error::Refused))?);
    // A token that waited for keys is remembered under those from before it asked: at worst it is verified once more.
    core.tokens.borrow_mut().put(token, generation, Rc::clone(&subject));
    Ok(subject)
}

fn bad_token(error: jwt::Error) -> Refusal {
    let code = if error == jwt::Error::Expired { code::TOKEN_EXPIRED } else { code::TOKEN_INVALID };
    Refusal::unauthorised(code, Stage::Authenticate, error.to_string())
}

pub(crate) fn no_token() -> Refusal {
    let detail = "this needs a user: send `Authorization: Bearer TOKEN`";
    Refusal::unauthorised(code::UNAUTHENTICATED, Stage::Authenticate, detail)
}

pub(crate) fn not_a_token(error: jwt::BearerError) -> Refusal {
    let detail = match error {
        jwt::BearerError::Several => "several Authorization headers",
        jwt::BearerError::Malformed => "the Authorization header is not `Bearer TOKEN`",
        jwt::BearerError::TooLong => "the token is too long",
    };
    Refusal::unauthorised(code::TOKEN_INVALID, Stage::Authenticate, detail)
}
