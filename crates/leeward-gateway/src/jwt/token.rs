//! A signed token taken apart (RFC 7519), and nothing of it believed yet.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::key::{Algorithm, Key};
use super::verify::Error;
use super::{KID_BYTES_MAX, json};

/// What a token says.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    kid: Option<Box<str>>,
    pub(super) claims: Map<String, Value>,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Reads a token of three parts. Where it says its key is to be had (`jku`, `x5u`, `jwk`) means nothing; a critical extension, an
    /// encryption, a compression, and a name that stands twice are refused.
    pub(crate) fn read(text: &'a str) -> Result<Self, Error> {
        let (signed, signature) = text.rsplit_once('.').ok_or(Error::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Error::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::Malformed);
        let header = json::object(&decode(header)?).ok_or(Error::Malformed)?;
        if ["crit", "enc", "zip"].iter().any(|name| header.contains_key(*name))
            || !is_typed(header.get("typ"))
        {
            return Err(Error::Malformed);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::parse);
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= KID_BYTES_MAX => Some(kid.as_str().into()),
            Some(_) => return Err(Error::Malformed),
        };
        Ok(Self {
            algorithm: algorithm.ok_or(Error::Malformed)?,
            kid,
            claims: json::object(&decode(claims)?).ok_or(Error::Malformed)?,
            signed,
            signature: decode(signature)?,
        })
    }

    /// The key that it names.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whose token it says it is.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    pub(super) fn is_signed_with(&self, key: &Key) -> bool {
        key.has_signed(self.signed.as_bytes(), &self.signature)
    }
}

/// A token for one purpose is none for another (RFC 8725, 3.11).
fn is_typed(typ: Option<&Value>) -> bool {
    match typ {
        None => true,
        Some(Value::String(typ)) => typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt"),
        Some(_) => false,
    }
}
