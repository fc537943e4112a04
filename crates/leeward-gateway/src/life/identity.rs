//! Who it is and what they may.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use leeward_resilience::Instant;

use super::{Core, Peer};
use crate::address;
use crate::config::{Revocation, Rule};
use crate::credentials::{self, Accepted, Busy, Login, Presented, Unreadable};
use crate::decisions::{Ruling, Setting};
use crate::jwt::{self, Authentication, NotVerified, Subject};
use crate::limits::Seen;
use crate::refusal::{Refusal, Stage, code};
use crate::shared::{RouteState, Shared};

/// Whoever the request says it is for. A route for anyone takes who is not known for nobody; a route whose answers may be kept
/// for others learns nobody's name at all.
pub(super) async fn authenticate(
    core: &Rc<Core>,
    route: &RouteState,
    head: &Parts,
    (client, now): (IpAddr, Instant),
) -> Result<Option<Arc<Subject>>, Refusal> {
    let accepted = &core.shared.accepted;
    if !accepted.is_any() || route.config.stale_if_error.is_some() {
        return Ok(None);
    }
    let found = match credentials::presented(&head.headers, accepted) {
        Ok(Presented::Nothing) => Ok(None),
        Ok(Presented::Token(token)) => subject(core, token, now).await.map(Some),
        Ok(Presented::Key(key)) => holder(&core.shared, key).map(Some),
        Ok(Presented::Password(login)) => account(core, login, client).await.map(Some),
        Err(Unreadable::Both) => return Err(unreadable(Unreadable::Both)),
        Err(error) => Err(unreadable(error)),
    };
    match (&route.config.access, found) {
        (Rule::Anyone, found) => Ok(found.unwrap_or(None)),
        (_, Ok(None)) => Err(nobody(accepted)),
        (_, found) => found,
    }
}

/// Whose key it is.
fn holder(shared: &Shared, key: &str) -> Result<Arc<Subject>, Refusal> {
    let found = shared.api_keys.as_ref().and_then(|keys| keys.now().holders().holder(key).cloned());
    let subject = found.ok_or_else(|| unreadable(Unreadable::Key))?;
    if shared.clock.unix_ms() >= subject.expires_at_s.saturating_mul(1_000) {
        let detail = "the API key's time is over: ask the operator for another one";
        return Err(Refusal::unauthorised(code::KEY_EXPIRED, Stage::Authenticate, detail));
    }
    Ok(subject)
}

/// Whose name and password it is. What was right a moment ago is not computed again.
async fn account(core: &Rc<Core>, text: &str, client: IpAddr) -> Result<Arc<Subject>, Refusal> {
    let (shared, bad) = (&core.shared, || unreadable(Unreadable::Password));
    let basic = shared.basic.as_ref().ok_or_else(bad)?;
    let accounts = Arc::clone(&basic.store.now());
    let (mark, generation, now_ms) = (basic.checks.mark(text), accounts.generation(), shared.clock.unix_ms());
    let known = mark.as_ref().and_then(|mark| core.tokens.borrow_mut().get(mark, generation, now_ms));
    if let Some(subject) = known {
        return Ok(subject);
    }
    let login = Login::read(text).ok_or_else(bad)?;
    // A place is taken before the check, so that no more guesses run than may be made; only a wrong one keeps it.
    let address = address::limit_key(client);
    basic.attempts.check(&address, shared.clock.now(), &mut Seen::default())?;
    let checked = basic.checks.holder(accounts, login).await;
    let found = checked.map_err(|Busy| {
        basic.attempts.give_back(&address);
        let detail = "too many passwords are checked at the moment";
        Refusal::unavailable(code::CHECKS_BUSY, Stage::Authenticate, detail).hint("basic.checks")
    })?;
    let subject =
        found.filter(|subject| now_ms < subject.expires_at_s.saturating_mul(1_000)).ok_or_else(bad)?;
    basic.attempts.give_back(&address);
    if let Some(mark) = mark {
        core.tokens.borrow_mut().put(&mark, generation, Arc::clone(&subject));
    }
    Ok(subject)
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

async fn subject(core: &Rc<Core>, token: &str, mut now: Instant) -> Result<Arc<Subject>, Refusal> {
    let shared = &core.shared;
    let authentication = shared.authentication.as_ref().ok_or_else(|| bad_token(jwt::Error::Refused))?;
    let now_ms = shared.clock.unix_ms();
    let generation = authentication.generation();
    let known = core.tokens.borrow_mut().get(token, generation, now_ms);
    let subject = match known {
        Some(subject) => subject,
        None => {
            let subject = verified(core, authentication, token, generation, now_ms).await?;
            // It may have waited for keys.
            now = shared.clock.now();
            subject
        }
    };
    if shared.revocations.contains(subject.token_id.as_deref(), &subject.id, subject.issued_at_ms) {
        return Err(Refusal::unauthorised(
            code::TOKEN_REVOKED,
            Stage::Revoked,
            "the token was revoked: log in again",
        ));
    }
    match &shared.config.revocation {
        Some(options) if !options.unsafe_fail_open => heard_lately(shared, options, now)?,
        _ => {}
    }
    Ok(subject)
}

/// A token that may have been revoked without anybody having heard of it opens nothing.
fn heard_lately(shared: &Shared, options: &Revocation, now: Instant) -> Result<(), Refusal> {
    if !shared.revocations.is_stale(now, options.stale_after) {
        return Ok(());
    }
    let mut ruling = Ruling::by(Setting::Top("revocation.stale_after"))
        .number("stale_after_ms", options.stale_after.as_millis());
    if let Some(age) = shared.revocations.age(now) {
        ruling = ruling.number("age_ms", age.as_millis());
    }
    let detail = "which tokens were revoked lately is not known now";
    Err(Refusal::unavailable(code::REVOCATIONS_STALE, Stage::Revoked, detail)
        .hint("the bus or the file of `revocation`: see `revocation_view` in the health")
        .ruled(ruling))
}

async fn verified(
    core: &Rc<Core>,
    authentication: &Authentication,
    token: &str,
    generation: u64,
    now_ms: i64,
) -> Result<Arc<Subject>, Refusal> {
    let verified = authentication.verify(token, now_ms).await.map_err(|not| match not {
        NotVerified::Bad(error) => bad_token(error),
        NotVerified::KeysUnavailable => Refusal::unavailable(
            code::KEYS_UNAVAILABLE,
            Stage::Authenticate,
            "the keys that tokens are checked with cannot be had now",
        ),
    })?;
    let subject = Arc::new(Subject::new(verified).ok_or_else(|| bad_token(jwt::Error::Refused))?);
    // A token that waited for keys is remembered under those from before it asked: at worst it is verified once more.
    core.tokens.borrow_mut().put(token, generation, Arc::clone(&subject));
    Ok(subject)
}

fn bad_token(error: jwt::Error) -> Refusal {
    let code = if error == jwt::Error::Expired { code::TOKEN_EXPIRED } else { code::TOKEN_INVALID };
    Refusal::unauthorised(code, Stage::Authenticate, error.to_string())
}

/// What would let the request in.
pub(crate) fn nobody(accepted: &Accepted) -> Refusal {
    let detail = format!("this needs a user: send {}", accepted.ways());
    Refusal::unauthorised(code::UNAUTHENTICATED, Stage::Authenticate, detail)
}

pub(crate) fn unreadable(error: Unreadable) -> Refusal {
    let (code, detail) = match error {
        Unreadable::Both => {
            let detail = "an API key and an Authorization header: one request has one speaker";
            return Refusal::bad_request(code::TWO_SPEAKERS, Stage::Authenticate, detail);
        }
        Unreadable::Key => (code::KEY_INVALID, "the API key is not one that is known here"),
        Unreadable::Password => (code::PASSWORD_INVALID, "the name or the password is wrong"),
        Unreadable::Token(jwt::BearerError::Several) => {
            (code::TOKEN_INVALID, "several Authorization headers")
        }
        Unreadable::Token(jwt::BearerError::Malformed) => {
            (code::TOKEN_INVALID, "the Authorization header is not `Bearer TOKEN`")
        }
        Unreadable::Token(jwt::BearerError::TooLong) => (code::TOKEN_INVALID, "the token is too long"),
    };
    Refusal::unauthorised(code, Stage::Authenticate, detail)
}
