//! A key and the one algorithm that it is for.
//!
//! A key is made of exactly one kind, and a signature is checked by the key's own algorithm: what a token's header says is compared
//! with it and decides nothing. A public key can thus never serve as a shared secret.

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The shortest shared secret, in bytes: as long as the hash that is made of it (RFC 7518, 3.2).
pub(crate) const SECRET_BYTES_MIN: usize = 32;

/// How a token may be signed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037), which headers call `EdDSA` or `Ed25519`.
    EdDsa,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// RSA with PKCS#1 v1.5 and SHA-256, of 2,048 to 8,192 bits.
    Rs256,
    /// HMAC with SHA-256, of a secret that is shared with the issuer.
    Hs256,
}

impl Algorithm {
    /// Those of published keys.
    pub const PUBLIC: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Rs256];

    /// The name in headers and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Hs256 => "HS256",
        }
    }

    /// By the name in a header or a key set; case counts (RFC 7515, 4.1.1).
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            "ES256" => Some(Self::Es256),
            "RS256" => Some(Self::Rs256),
            "HS256" => Some(Self::Hs256),
            _ => None,
        }
    }
}

/// Why a key cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("it is of a kind or a curve that is not supported; Ed25519, P-256 and RSA are")]
    Kind,
    #[error("it is no point, or no number, of its kind")]
    Broken,
    #[error("an RSA key has 2048 to 8192 bits")]
    Size,
    #[error("it is not for checking signatures, or for another algorithm")]
    Purpose,
    #[error("it has no `kid`, or one of more than 128 bytes")]
    Unnamed,
}

/// A key.
pub(crate) enum Key {
    Public(Algorithm, ParsedPublicKey),
    /// For HS256.
    Secret(Box<hmac::Key>),
}

impl Key {
    pub(super) fn secret(secret: &[u8]) -> Self {
        Self::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    fn ed25519(bytes: &[u8]) -> Result<Self, Error> {
        let key = ParsedPublicKey::new(&ED25519, bytes).map_err(|_| Error::Broken)?;
        Ok(Self::Public(Algorithm::EdDsa, key))
    }

    fn p256(bytes: &[u8]) -> Result<Self, Error> {
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes).map_err(|_| Error::Broken)?;
        Ok(Self::Public(Algorithm::Es256, key))
    }

    fn rsa(n: &[u8], e: &[u8]) -> Result<Self, Error> {
        // RFC 7518, 6.3.1: no zeros in front. With an exponent of 1 everybody can sign, which the library does not mind where it gets the numbers.
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
        if n.first() == Some(&0) || e.first() == Some(&0) || e == [1] || !is_odd(n) || !is_odd(e) {
            return Err(Error::Broken);
        }
        let parts = RsaPublicKeyComponents { n, e };
        let key = parts.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).map_err(|_| Error::Broken)?;
        let _of_a_fine_size: PublicEncryptingKey = parts.try_into().map_err(|_| Error::Size)?;
        Ok(Self::Public(Algorithm::Rs256, key))
    }

    /// Of a `SubjectPublicKeyInfo` (RFC 5280), which says itself of which kind the key is.
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, Error> {
        // Raw keys are taken for what they are by their length alone: those have no place here.
        if der.first() != Some(&0x30) {
            return Err(Error::Kind);
        }
        if let Ok(key) = Self::ed25519(der).or_else(|_| Self::p256(der)) {
            return Ok(key);
        }
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).map_err(|_| Error::Kind)?;
        PublicEncryptingKey::from_der(der).map_err(|_| Error::Size)?;
        Ok(Self::Public(Algorithm::Rs256, key))
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Public(algorithm, _) => *algorithm,
            Self::Secret(_) => Algorithm::Hs256,
        }
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Public(_, key) => key.verify_sig(message, signature).is_ok(),
            Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }

    /// Whether both are the same published key.
    pub(super) fn is_twin(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Public(one, key), Self::Public(two, twin)) => one == two && key.as_ref() == twin.as_ref(),
            _ => false,
        }
    }
}

/// A key as a set publishes it. A member that stands twice is refused by the parser, one that is not known here says nothing.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    pub(super) kid: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
}

impl Jwk {
    /// The key, if it may check signatures. A secret has no place among published keys.
    pub(super) fn key(&self) -> Result<Key, Error> {
        let part = |text: &Option<String>| {
            URL_SAFE_NO_PAD.decode(text.as_ref().ok_or(Error::Broken)?).map_err(|_| Error::Broken)
        };
        let key = match (self.kty.as_str(), self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => Key::ed25519(&of_32_bytes(part(&self.x)?)?)?,
            ("EC", Some("P-256")) => {
                let (x, y) = (of_32_bytes(part(&self.x)?)?, of_32_bytes(part(&self.y)?)?);
                Key::p256(&[&[4_u8][..], &x, &y].concat())?
            }
            ("RSA", _) => Key::rsa(&part(&self.n)?, &part(&self.e)?)?,
            _ => return Err(Error::Kind),
        };
        let is_for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        let may_verify = self.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
        let is_for_this =
            self.alg.as_deref().is_none_or(|alg| Algorithm::parse(alg) == Some(key.algorithm()));
        if is_for_signatures && may_verify && is_for_this { Ok(key) } else { Err(Error::Purpose) }
    }
}

fn of_32_bytes(bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    if bytes.len() == 32 { Ok(bytes) } else { Err(Error::Broken) }
}
