//! One token against the keys of its issuer: a pure function of (token, keys, rules, time).

use std::sync::Arc;

use super::claims::{self, Names, Verified};
use super::key::Algorithm;
use super::set::{KeySet, NoKey};
use super::token::Token;

/// What a token of one issuer must say.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The `iss` that it must have; `None`: any, or none.
    pub(crate) issuer: Option<String>,
    /// It must be for one of these; empty: for anybody.
    pub(crate) audiences: Vec<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    /// How far clocks may differ.
    pub(crate) leeway_s: i64,
    /// What is put in front of a user's id.
    pub(crate) prefix: String,
    /// What is in front of the ids of other issuers' users: this one has none that begin so.
    pub(crate) foreign_prefixes: Vec<String>,
    pub(crate) names: Names,
    /// The claims that routes ask for.
    pub(crate) attributes: Arc<[Arc<str>]>,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the token is not a signed JWT of the accepted kind")]
    Malformed,
    #[error("the token is signed with a key that is not published")]
    UnknownKey,
    #[error("the token's signature, issuer or audience is wrong")]
    Refused,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    TooEarly,
}

/// Checks a token at `now_ms`.
pub(crate) fn verify(
    token: &Token<'_>,
    keys: &KeySet,
    rules: &Rules,
    now_ms: i64,
) -> Result<Verified, Error> {
    let key = keys.find(token.kid(), token.algorithm).map_err(|none| match none {
        NoKey::Unknown => Error::UnknownKey,
        NoKey::Algorithm => Error::Refused,
    })?;
    if !rules.algorithms.contains(&key.algorithm()) || !token.is_signed_with(key) {
        return Err(Error::Refused);
    }
    let claims = &token.claims;
    // A claim that is there has its type, also where nothing is asked of it.
    let is_text_if_given = claims.get("iss").is_none_or(|issuer| issuer.is_string());
    let is_ours = rules.issuer.as_deref().is_none_or(|issuer| token.issuer() == Some(issuer));
    let is_for_us = rules.audiences.is_empty() || claims::is_for(claims, &rules.audiences);
    if !(is_text_if_given && is_ours && is_for_us) {
        return Err(Error::Refused);
    }
    let expires_at_s = claims::seconds(claims, "exp")?.filter(|exp| *exp >= 0).ok_or(Error::Refused)?;
    let expires_at_s = expires_at_s.saturating_add(rules.leeway_s);
    let now_s = now_ms.div_euclid(1_000);
    let starts = claims::seconds(claims, "nbf")?.into_iter().chain(claims::seconds(claims, "iat")?).max();
    let verified = claims::read(claims, &rules.names, &rules.prefix, &rules.attributes, expires_at_s)?;
    if rules.foreign_prefixes.iter().any(|foreign| verified.user.id.starts_with(foreign.as_str())) {
        return Err(Error::Refused);
    }
    if now_s >= expires_at_s {
        return Err(Error::Expired);
    }
    if starts.is_some_and(|start| start > now_s.saturating_add(rules.leeway_s)) {
        return Err(Error::TooEarly);
    }
    Ok(verified)
}
