//! Checks assertions, and remembers those it has checked.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Header, Validation};
use leeward_resilience::Clock;

use super::assertion::{Act, Caller, Claims, Principal, User};
use super::{FetchError, LIFETIME_S, PeerKeys};
use crate::expiring::Expiring;

/// Verified assertions kept: as many as a busy service sees within their life, at about a kilobyte each.
const CACHED_MAX: usize = 8_192;
/// An assertion with a hundred roles stays below this; anything longer is refused unread.
const TOKEN_BYTES_MAX: usize = 4_096;
/// How far the issuer's clock may be ahead of ours.
const SKEW_S: i64 = 5;

/// Why an assertion is not believed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Not a token of the form that we make.
    #[error("the assertion is malformed: {0}")]
    Malformed(&'static str),
    /// Signed by a key that its issuer does not publish, or not correctly.
    #[error("the assertion is not signed by its issuer")]
    BadSignature,
    /// For another service.
    #[error("the assertion is for another audience")]
    WrongAudience,
    /// Past its end.
    #[error("the assertion has expired")]
    Expired,
    /// It claims a longer life, or a later start, than any issuer of ours gives.
    #[error("the assertion's times are not plausible")]
    ImplausibleTimes,
    /// The issuer may not speak for an operator.
    #[error("the issuer may not speak for an operator")]
    NotAnOperator,
    /// The issuer's keys are not at hand.
    #[error(transparent)]
    Keys(#[from] FetchError),
}

impl Error {
    /// Whether the same assertion may be believed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Keys(FetchError::Unreachable(_)))
    }
}

/// Verifies assertions for one audience. Cheap to clone; clones share the cache.
#[derive(Debug, Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    audience: Arc<str>,
    gateways: Vec<Arc<str>>,
    keys: PeerKeys,
    clock: Arc<dyn Clock>,
    validation: Validation,
    cache: Expiring<Box<[u8]>, Caller>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("audience", &self.audience)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    /// Verifies for `audience`. Only the issuers in `gateways` may speak for an operator or say what a user may do:
    /// otherwise any service that is taken over would operate all the others, or be an administrator there.
    #[must_use]
    pub fn new(
        audience: impl Into<Arc<str>>,
        gateways: Vec<Arc<str>>,
        keys: PeerKeys,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Arc::new(Inner {
            audience: audience.into(),
            gateways,
            keys,
            clock,
            validation: signature_only(),
            cache: Expiring::new(CACHED_MAX),
        }))
    }

    /// The caller that `token` vouches for.
    ///
    /// # Errors
    /// When it does not, with the reason.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn verify(&self, token: &[u8]) -> Result<Caller, Error> {
        let inner = &*self.0;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Error::Malformed("too long"));
        }
        let now_ms = inner.clock.unix_ms();
        let hash = inner.cache.hash(token);
        if let Some(caller) = inner.cache.get(hash, now_ms, |own| &**own == token) {
            return Ok(caller);
        }
        let (caller, expires_ms) = inner.verify_in_full(token, now_ms).await?;
        inner.cache.insert(hash, token.into(), caller.clone(), expires_ms, now_ms);
        Ok(caller)
    }
}

impl Inner {
    async fn verify_in_full(&self, token: &[u8], now_ms: i64) -> Result<(Caller, i64), Error> {
        let kid = key_id(token)?;
        // The issuer is read before it is proved, only to know whose keys to ask for.
        let issuer = jsonwebtoken::dangerous::insecure_decode_claims::<Claims<'_>>(token)
            .map_err(|_| Error::Malformed("the claims cannot be read"))?
            .iss;
        let key = self.keys.key(&issuer, &kid).await?.ok_or(Error::BadSignature)?;
        let claims = jsonwebtoken::decode::<Claims<'_>>(token, &key, &self.validation)
            .map_err(|_| Error::BadSignature)?
            .claims;
        self.judge(claims, now_ms)
    }

    /// The rules for claims whose signature holds.
    fn judge(&self, claims: Claims<'_>, now_ms: i64) -> Result<(Caller, i64), Error> {
        let now_s = now_ms.div_euclid(1_000);
        if *claims.aud != *self.audience {
            return Err(Error::WrongAudience);
        }
        let expires_ms = claims.exp.checked_mul(1_000).ok_or(Error::ImplausibleTimes)?;
        if expires_ms <= now_ms {
            return Err(Error::Expired);
        }
        let life = claims.exp.checked_sub(claims.iat).ok_or(Error::ImplausibleTimes)?;
        if claims.iat > now_s + SKEW_S || !(1..=LIFETIME_S).contains(&life) {
            return Err(Error::ImplausibleTimes);
        }
        let by_gateway = self.gateways.iter().any(|gateway| **gateway == *claims.iss);
        let principal = match Act::into_principal(claims.act) {
            Principal::Operator if !by_gateway => return Err(Error::NotAnOperator),
            Principal::User(user) if !by_gateway => Principal::User(User::new(user.id)),
            believed => believed,
        };
        Ok((Caller::new(&*claims.iss, principal), expires_ms))
    }
}

/// Times and audience are judged here, by our own clock and with our own errors; the library checks the signature and
/// pins the algorithm.
fn signature_only() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    validation
}

fn key_id(token: &[u8]) -> Result<String, Error> {
    let header: Header =
        jsonwebtoken::decode_header(token).map_err(|_| Error::Malformed("the header cannot be read"))?;
    if header.alg != Algorithm::EdDSA {
        return Err(Error::Malformed("the algorithm is not EdDSA"));
    }
    if header.crit.is_some() {
        return Err(Error::Malformed("it has critical extensions"));
    }
    header.kid.ok_or(Error::Malformed("it names no key"))
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
