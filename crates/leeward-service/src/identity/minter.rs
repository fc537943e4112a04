//! Makes assertions, once per (principal, audience) and half a minute.

use std::sync::Arc;

use http::HeaderValue;
use jsonwebtoken::{Algorithm, Header};

use super::assertion::{Act, Claims, Principal};
use super::{Identity, KeyError, LIFETIME_S, REUSE_MS};
use crate::expiring::Expiring;

/// Assertions kept: some thousands of active users times a few audiences, at about half a kilobyte each.
const CACHED_MAX: usize = 16_384;

/// Signs assertions as one service. Cheap to clone; clones share the cache.
#[derive(Debug, Clone)]
pub struct Minter {
    identity: Identity,
    header: Arc<Header>,
    cache: Arc<Expiring<(Principal, Arc<str>), HeaderValue>>,
}

impl Minter {
    /// A minter that signs as `identity`.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(identity.kid().to_owned());
        Self { identity, header: Arc::new(header), cache: Arc::new(Expiring::new(CACHED_MAX)) }
    }

    /// Who this minter signs as.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The value of `x-leeward-assertion` for a call to `audience` on behalf of `principal`.
    ///
    /// # Errors
    /// When the key does not sign, which a key that loaded never does.
    pub fn mint(
        &self,
        principal: &Principal,
        audience: &str,
        now_unix_ms: i64,
    ) -> Result<HeaderValue, KeyError> {
        let hash = self.cache.hash(&(principal, audience));
        let same = |key: &(Principal, Arc<str>)| &*key.1 == audience && key.0 == *principal;
        if let Some(value) = self.cache.get(hash, now_unix_ms, same) {
            return Ok(value);
        }
        let value = self.sign(principal, audience, now_unix_ms)?;
        let key = (principal.clone(), Arc::from(audience));
        self.cache.insert(hash, key, value.clone(), now_unix_ms + REUSE_MS, now_unix_ms);
        Ok(value)
    }

    fn sign(&self, principal: &Principal, audience: &str, now_unix_ms: i64) -> Result<HeaderValue, KeyError> {
        let iat = now_unix_ms.div_euclid(1_000);
        let claims = Claims {
            iss: self.identity.name().as_ref().into(),
            aud: audience.into(),
            iat,
            exp: iat + LIFETIME_S,
            act: Act::of(principal),
        };
        let token = jsonwebtoken::encode(&self.header, &claims, self.identity.signing())
            .map_err(|_| KeyError::Crypto)?;
        let mut value = HeaderValue::try_from(token).map_err(|_| KeyError::Crypto)?;
        // Keeps the token out of `Debug` output of header maps.
        value.set_sensitive(true);
        Ok(value)
    }
}
