//! One token against a set of keys: a pure function of (token, keys, rules, time).
//!
//! Only EdDSA is accepted, whatever the token says; the key is found by `kid` among the published ones and never by
//! anything else in the header (`jku`, `x5u`, `jwk` are ignored); `exp` is required; a critical extension, an
//! encryption or a compression is refused. A claim that stands twice is refused by the parser.

use std::collections::HashMap;
use std::sync::Arc;

use jsonwebtoken::jwk::{JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use leeward_service::identity::User;
use serde::Deserialize;

/// Longest key id looked at, in bytes: published ids are thumbprints of 43.
pub(crate) const KID_BYTES_MAX: usize = 128;
/// Longest user id, in bytes: it travels in a header and in every assertion.
const SUBJECT_BYTES_MAX: usize = 128;
/// Keys taken from a set: a current one, a next one, and room for rotations close together.
const KEYS_MAX: usize = 32;

/// What a token must say.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    validation: Validation,
    leeway_s: i64,
}

impl Rules {
    pub(crate) fn new(issuer: Option<&str>, audience: Option<&str>, leeway_s: i64) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        let mut required = vec!["exp", "sub"];
        // The time is checked here, against the clock that everything else uses.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        match audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.push("aud");
            }
            None => validation.validate_aud = false,
        }
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        Self { validation, leeway_s }
    }
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

/// Published keys by their id.
#[derive(Clone, Default)]
pub(crate) struct KeySet {
    keys: HashMap<Box<str>, DecodingKey>,
    /// Grows with each change, so that a token verified with a withdrawn key is verified again.
    pub(crate) generation: u64,
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kids: Vec<&str> = self.keys.keys().map(|kid| &**kid).collect();
        f.debug_struct("KeySet").field("kids", &kids).field("generation", &self.generation).finish()
    }
}

impl KeySet {
    /// The Ed25519 signature keys of a JWK set; others are left out. `None` when the text is no key set.
    pub(crate) fn parse(json: &[u8], generation: u64) -> Option<Self> {
        // Each key by itself: one of an unknown kind must not hide the others.
        #[derive(Deserialize)]
        struct Loose {
            keys: Vec<serde_json::Value>,
        }
        let loose: Loose = serde_json::from_slice(json).ok()?;
        let keys = loose.keys.into_iter().take(KEYS_MAX).filter_map(|key| {
            let set: JwkSet = serde_json::from_value(serde_json::json!({ "keys": [key] })).ok()?;
            let key = set.keys.into_iter().next()?;
            let for_signatures = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
            // What the set does not know by name is judged by the key itself: `Ed25519` is EdDSA under a newer name.
            let for_eddsa = matches!(
                key.common.key_algorithm,
                None | Some(KeyAlgorithm::EdDSA | KeyAlgorithm::UNKNOWN_ALGORITHM)
            );
            let operations = key.common.key_operations.as_ref();
            let may_verify = operations.is_none_or(|all| all.contains(&KeyOperations::Verify));
            let decoding = DecodingKey::from_jwk(&key).ok()?;
            let ed25519 = decoding.family() == jsonwebtoken::AlgorithmFamily::Ed;
            let kid = key.common.key_id.filter(|kid| kid.len() <= KID_BYTES_MAX)?;
            (for_signatures && may_verify && for_eddsa && ed25519).then(|| (kid.into_boxed_str(), decoding))
        });
        Some(Self { keys: keys.collect(), generation })
    }

    pub(crate) fn has(&self, kid: &str) -> bool {
        self.keys.contains_key(kid)
    }

    /// Whether both hold the same keys: an id is a thumbprint, or at least the issuer's name for one key.
    pub(crate) fn same_ids(&self, other: &Self) -> bool {
        self.keys.len() == other.keys.len()
            && self.keys.iter().all(|(kid, key)| {
                let twin = other.keys.get(kid).and_then(|key| key.try_get_as_bytes().ok());
                twin.is_some() && twin == key.try_get_as_bytes().ok()
            })
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// What a good token says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Verified {
    pub(crate) user: User,
    pub(crate) session: Option<String>,
    pub(crate) token_id: Option<Arc<str>>,
    pub(crate) issued_at_ms: i64,
    pub(crate) expires_at_s: i64,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// One issuer, or none where none is asked for: the library takes a list, and one of it that fits.
    #[serde(default, rename = "iss")]
    _iss: Option<String>,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    iat: Option<i64>,
    #[serde(default)]
    jti: Option<String>,
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    permissions: Vec<String>,
}

/// The key id that a token names.
pub(crate) fn kid(token: &str) -> Result<String, Error> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| Error::Malformed)?;
    let plain = header.crit.is_none() && header.enc.is_none() && header.zip.is_none();
    let typed = header
        .typ
        .as_deref()
        .is_none_or(|typ| typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt"));
    if header.alg != Algorithm::EdDSA || !plain || !typed {
        return Err(Error::Malformed);
    }
    header.kid.filter(|kid| kid.len() <= KID_BYTES_MAX).ok_or(Error::Malformed)
}

/// Checks a token at `now_ms`.
pub(crate) fn verify(
    token: &str,
    kid: &str,
    keys: &KeySet,
    rules: &Rules,
    now_ms: i64,
) -> Result<Verified, Error> {
    let key = keys.keys.get(kid).ok_or(Error::UnknownKey)?;
    let data = jsonwebtoken::decode::<Claims>(token, key, &rules.validation).map_err(|_| Error::Refused)?;
    let claims = data.claims;
    let now_s = now_ms.div_euclid(1_000);
    if now_s >= claims.exp.saturating_add(rules.leeway_s) {
        return Err(Error::Expired);
    }
    let starts = claims.nbf.into_iter().chain(claims.iat).max();
    if starts.is_some_and(|start| start > now_s.saturating_add(rules.leeway_s)) {
        return Err(Error::TooEarly);
    }
    let visible = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    let roles: Vec<String> = claims.role.into_iter().chain(claims.roles).collect();
    let names_fine = roles.iter().chain(&claims.permissions).all(|name| visible(name) && !name.contains(','));
    if claims.sub.len() > SUBJECT_BYTES_MAX || !visible(&claims.sub) || !names_fine {
        return Err(Error::Refused);
    }
    let issued_at_ms = issued_at_ms(claims.iat, claims.jti.as_deref());
    let mut user = User::new(claims.sub);
    user.roles = roles.into_iter().map(Arc::from).collect();
    user.permissions = claims.permissions.into_iter().map(Arc::from).collect();
    Ok(Verified {
        user,
        session: claims.sid,
        token_id: claims.jti.map(Arc::from),
        issued_at_ms,
        expires_at_s: claims.exp.saturating_add(rules.leeway_s),
    })
}

/// When the token was issued. `iat` counts seconds, too coarse to say whether a token of the same second came before
/// or after "revoke all"; a `jti` that is a UUID of version 7 made in that second knows the millisecond.
fn issued_at_ms(iat: Option<i64>, jti: Option<&str>) -> i64 {
    let Some(iat) = iat else { return 0 };
    let exact = jti.and_then(uuid_v7_ms).filter(|ms| ms.div_euclid(1_000) == iat);
    exact.unwrap_or_else(|| iat.saturating_mul(1_000))
}

fn uuid_v7_ms(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 || bytes[8] != b'-' || bytes[13] != b'-' || bytes[14] != b'7' {
        return None;
    }
    i64::from_str_radix(&format!("{}{}", text.get(..8)?, text.get(9..13)?), 16).ok()
}
