//! Users' tokens: EdDSA, as the shop's users service makes them, and the set of keys that they are checked with.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;

/// Who signs.
pub(super) const ISSUER: &str = "bench-users";
/// For whom.
pub(super) const AUDIENCE: &str = "bench";

/// Distinct tokens of the warm engines: fewer than any of them remembers.
const WARM: usize = 1_000;

/// Distinct tokens of the cold engines, one after the other: more than any of them remembers, so that by the time a token
/// comes again it is forgotten.
const COLD: usize = 40_000;

/// How long tokens live: longer than the benchmark.
const LIFE_S: u64 = 24 * 3_600;

/// The tokens and their keys.
#[derive(Debug)]
pub(super) struct Tokens {
    /// The set of keys, as JSON.
    pub(super) keys: String,
    pub(super) warm: Vec<String>,
    pub(super) cold: Vec<String>,
    /// One whose signature is wrong.
    pub(super) bad: String,
}

impl Tokens {
    /// Makes and signs all tokens; those of the cold engines only when asked for.
    pub(super) fn new(with_cold: bool) -> Result<Self, String> {
        let pair = Ed25519KeyPair::generate().map_err(|error| error.to_string())?;
        let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let key =
            json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "bench", "x": x });
        let now_s =
            SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?.as_secs();
        let make = |number: usize| token(&pair, number, now_s);
        let cold = if with_cold { COLD } else { 0 };
        let bad = token(&pair, 0, now_s);
        let bad = format!("{}{}", &bad[..bad.len() - 8], "AAAAAAAA");
        Ok(Self {
            keys: json!({ "keys": [key] }).to_string(),
            warm: (0..WARM).map(make).collect(),
            cold: (WARM..WARM + cold).map(make).collect(),
            bad,
        })
    }
}

fn token(pair: &Ed25519KeyPair, number: usize, now_s: u64) -> String {
    let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": "bench" });
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": format!("user-{number}"), "iat": now_s, "exp": now_s + LIFE_S,
        "jti": format!("token-{number}"), "sid": format!("session-{number}"), "roles": ["customer"],
    });
    let encoded = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes()).as_ref());
    format!("{signed}.{signature}")
}
