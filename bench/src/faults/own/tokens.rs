//! Tokens that are signed beforehand, more than the gateway remembers.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use tempfile::NamedTempFile;

const ISSUER: &str = "bench";
/// How many verified tokens a core of the gateway remembers, and some more.
pub(super) const REMEMBERED: f64 = 1.1 * 8_192.0;
/// How long tokens live: longer than the benchmark.
const LIFE_S: u64 = 24 * 3_600;
/// Threads that sign: all that there are.
const THREADS: usize = 2;

/// The tokens, each signed with RS256 for another user.
pub(super) struct Tokens {
    /// The key that they are checked with.
    key: NamedTempFile,
    tokens: Vec<String>,
}

impl Tokens {
    /// Signs them; of 2,048 bits some thousands a second and thread.
    pub(super) fn new(count: usize, bits: u32) -> Result<Self, String> {
        let size = match bits {
            2_048 => KeySize::Rsa2048,
            3_072 => KeySize::Rsa3072,
            4_096 => KeySize::Rsa4096,
            8_192 => KeySize::Rsa8192,
            _ => return Err(format!("RSA of {bits} bits: 2048, 3072, 4096 or 8192")),
        };
        let text = |what: &str| format!("{what}: no key");
        let pair = KeyPair::generate(size).map_err(|_| text("RSA"))?;
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| text("RSA"))?;
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            BASE64_STANDARD.encode(der.as_ref())
        );
        let key = NamedTempFile::new().map_err(|error| error.to_string())?;
        std::fs::write(key.path(), pem).map_err(|error| error.to_string())?;
        let now_s =
            SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?.as_secs();
        let signed = std::thread::scope(|scope| {
            let part = |first: usize| {
                let pair = &pair;
                scope.spawn(move || {
                    (first..count).step_by(THREADS).map(|number| token(pair, number, now_s)).collect()
                })
            };
            let parts: Vec<_> = (0..THREADS).map(part).collect();
            let ended = |part: std::thread::ScopedJoinHandle<'_, Result<Vec<String>, String>>| {
                part.join().map_err(|_| "a signer panicked".to_owned())?
            };
            parts.into_iter().map(ended).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(Self { key, tokens: signed.concat() })
    }

    /// What the gateway's configuration says of them. Each user asks once: their own limit counts, and holds nobody up.
    pub(super) fn config(&self) -> String {
        let key = self.key.path().display();
        format!("jwt: {{keys: \"file:{key}\", issuer: {ISSUER}, algorithms: RS256}}\n")
    }

    /// A request with each.
    pub(super) fn messages(&self, address: SocketAddr) -> Vec<Rc<[u8]>> {
        let message = |token: &String| {
            let text = format!("GET /x HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n");
            Rc::from(text.into_bytes())
        };
        self.tokens.iter().map(message).collect()
    }
}

fn token(pair: &KeyPair, number: usize, now_s: u64) -> Result<String, String> {
    let header = json!({ "alg": "RS256", "typ": "JWT" });
    let claims = json!({
        "iss": ISSUER, "sub": format!("user-{number}"), "iat": now_s, "exp": now_s + LIFE_S,
        "jti": format!("token-{number}"), "roles": ["customer"],
    });
    let encoded = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .map_err(|_| "a token could not be signed".to_owned())?;
    Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}
