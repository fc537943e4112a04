//! Access tokens: EdDSA JWTs, the keys that sign them, and their rotation.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};

/// Who signs: the `iss` of every access token.
pub const ISSUER: &str = "leeward-shop-users";
/// For whom: the `aud` of every access token.
pub const AUDIENCE: &str = "leeward-shop";
/// How long an access token lives: short, since a gateway that lost its revocation list would honour it this long.
pub const ACCESS_TTL: Duration = Duration::from_secs(15 * 60);
/// How long a refresh token lives.
pub(crate) const REFRESH_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// What a checker may grant to clocks that differ: a revocation is remembered this much longer than the token lives.
pub(crate) const LEEWAY: Duration = Duration::from_secs(60);
/// How long a key that signs no longer stays published: every token that it signed has ended by then, with room for
/// clocks that differ.
pub(crate) const RETIRED_KEY_TTL: Duration = Duration::from_secs(ACCESS_TTL.as_secs() * 2);

/// Why a key or a token was not usable.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Error(String);

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// Who signed it.
    pub(crate) iss: String,
    /// For whom.
    pub(crate) aud: String,
    /// The user's id.
    pub(crate) sub: String,
    /// The user's role.
    pub(crate) role: String,
    /// What the role may do.
    pub(crate) permissions: Vec<String>,
    /// This token's own id: what a logout revokes.
    pub(crate) jti: String,
    /// The session (one login and all its refreshes).
    pub(crate) sid: String,
    /// When it was signed, Unix seconds.
    pub(crate) iat: i64,
    /// When it ends, Unix seconds.
    pub(crate) exp: i64,
}

/// One Ed25519 signing key.
#[derive(Clone)]
pub(crate) struct SigningKey {
    kid: Arc<str>,
    private: EncodingKey,
    x: Arc<str>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// One entry of the published key set (RFC 8037).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct PublicKey {
    /// Always `OKP`.
    pub(crate) kty: String,
    /// Always `Ed25519`.
    pub(crate) crv: String,
    /// Always `EdDSA`.
    pub(crate) alg: String,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub(crate) usage: String,
    /// Which key.
    pub(crate) kid: String,
    /// The public key, base64url.
    pub(crate) x: String,
}

impl SigningKey {
    /// A new PKCS#8 document of an Ed25519 key.
    ///
    /// # Errors
    /// When the platform gives no randomness.
    pub(crate) fn generate() -> Result<Vec<u8>, Error> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| Error("the platform gave no randomness for a signing key".into()))?;
        Ok(document.as_ref().to_vec())
    }

    /// The key `kid` held in a PKCS#8 document.
    ///
    /// # Errors
    /// When the document holds no Ed25519 key.
    pub(crate) fn from_pkcs8(kid: &str, document: &[u8]) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_pkcs8(document)
            .map_err(|error| Error(format!("the signing key {kid} is not Ed25519 in PKCS#8: {error}")))?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        Ok(Self { kid: kid.into(), private: EncodingKey::from_ed_der(document), x: x.into() })
    }

    /// Which key this is.
    #[must_use]
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// The published half.
    #[must_use]
    pub(crate) fn public(&self) -> PublicKey {
        PublicKey {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            alg: "EdDSA".into(),
            usage: "sig".into(),
            kid: self.kid.to_string(),
            x: self.x.to_string(),
        }
    }

    /// Signs `claims`.
    ///
    /// # Errors
    /// When signing fails, which a key that was read cannot cause.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, Error> {
        let header = Header { kid: Some(self.kid.to_string()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &self.private).map_err(|error| Error(error.to_string()))
    }
}

/// What the database keeps of a secret that has 256 bits of randomness, or of an address.
pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec()
}

/// 256 random bits as base64url.
///
/// # Errors
/// When the platform gives no randomness.
pub(crate) fn random_token() -> Result<String, Error> {
    let mut bytes = [0_u8; 32];
    fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The id of a token made at `now_ms`: a UUID of version 7, by whose time a checker tells whether the token is older than
/// "revoke all", which seconds in `iat` cannot.
///
/// # Errors
/// When the platform gives no randomness.
pub(crate) fn token_id(now_ms: i64) -> Result<String, Error> {
    let mut bytes = [0_u8; 10];
    fill(&mut bytes)?;
    let now_ms = u64::try_from(now_ms).unwrap_or(0);
    Ok(uuid::Builder::from_unix_timestamp_millis(now_ms, &bytes).into_uuid().to_string())
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| Error("the platform gave no randomness".into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    fn claims(exp: i64) -> Claims {
        Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: "u1".into(),
            role: "customer".into(),
            permissions: Vec::new(),
            jti: "t1".into(),
            sid: "s1".into(),
            iat: exp - 900,
            exp,
        }
    }

    fn key(kid: &str) -> SigningKey {
        SigningKey::from_pkcs8(kid, &SigningKey::generate().unwrap()).unwrap()
    }

    /// What a gateway does with a token and a published key.
    fn check(key: &SigningKey, token: &str) -> Option<Claims> {
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[AUDIENCE]);
        let public = DecodingKey::from_ed_components(&key.public().x).unwrap();
        jsonwebtoken::decode::<Claims>(token, &public, &rules).ok().map(|data| data.claims)
    }

    #[test]
    fn a_token_is_read_back_by_its_key_and_by_no_other() {
        let (one, other) = (key("one"), key("other"));
        let token = one.sign(&claims(4_000_000_000)).unwrap();
        assert_eq!(check(&one, &token), Some(claims(4_000_000_000)));
        assert_eq!(check(&other, &token), None);
    }

    #[test]
    fn an_ended_token_is_refused() {
        let key = key("one");
        assert_eq!(check(&key, &key.sign(&claims(1_000)).unwrap()), None);
    }

    #[test]
    fn refresh_tokens_differ_and_are_stored_as_hashes() {
        let (a, b) = (random_token().unwrap(), random_token().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), 43);
        assert_eq!(sha256(a.as_bytes()).len(), 32);
    }

    #[test]
    fn the_id_of_a_token_tells_its_millisecond() {
        let id = token_id(1_767_225_600_123).unwrap();
        let (seconds, nanos) = uuid::Uuid::parse_str(&id).unwrap().get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanos / 1_000_000), (1_767_225_600, 123));
    }
}
