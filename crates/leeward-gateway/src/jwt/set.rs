//! The keys of one issuer.

use serde::Deserialize;

use super::KID_BYTES_MAX;
use super::key::{Algorithm, Error, Jwk, Key, SECRET_BYTES_MIN};

/// Keys taken from a set: a current one, a next one, and room for rotations close together.
const KEYS_MAX: usize = 32;

/// Keys by their names. Those of a PEM file and a shared secret have none; of these there is one an algorithm.
#[derive(Default)]
pub(crate) struct KeySet {
    keys: Vec<(Option<Box<str>>, Key)>,
    /// Keys that cannot be used, with the reason.
    left_out: Vec<(Box<str>, Error)>,
    /// Grows with each change, so that a token verified with a withdrawn key is verified again.
    pub(crate) generation: u64,
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.keys.iter().map(|(kid, key)| (kid, key.algorithm())).collect();
        f.debug_struct("KeySet").field("keys", &names).field("generation", &self.generation).finish()
    }
}

/// Why there is no key to check a signature with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoKey {
    /// None of this name.
    Unknown,
    /// The one of this name is for another algorithm, or for one that is not allowed.
    Algorithm,
}

impl KeySet {
    /// The usable keys of a JWK set (RFC 7517), each by itself: one of an unknown kind must not hide the others. `None` when the
    /// text is no key set.
    pub(crate) fn parse(json: &[u8], generation: u64) -> Option<Self> {
        #[derive(Deserialize)]
        struct Loose {
            keys: Vec<Box<serde_json::value::RawValue>>,
        }
        let loose: Loose = serde_json::from_slice(json).ok()?;
        let mut set = Self { generation, ..Self::default() };
        for (at, text) in loose.keys.into_iter().take(KEYS_MAX).enumerate() {
            let jwk = serde_json::from_str::<Jwk>(text.get());
            let name = jwk.as_ref().ok().and_then(|jwk| jwk.kid.as_deref()).map(Box::<str>::from);
            let name = name.filter(|kid| kid.len() <= KID_BYTES_MAX);
            let key = jwk.map_err(|_| Error::Broken).and_then(|jwk| jwk.key());
            match (key, name) {
                // Of two keys of one name none is meant for certain: the first stands.
                (Ok(key), Some(kid)) if !set.has(&kid) => set.keys.push((Some(kid), key)),
                (key, name) => {
                    let label = name.unwrap_or_else(|| format!("number {}", at + 1).into());
                    set.left_out.push((label, key.err().unwrap_or(Error::Unnamed)));
                }
            }
        }
        Some(set)
    }

    /// Keys that the configuration names: a JWK set, or public keys in PEM, one an algorithm.
    ///
    /// # Errors
    /// What is wrong with them, as the end of a sentence.
    pub(crate) fn given(text: &str) -> Result<Self, String> {
        let set = if text.trim_start().starts_with('{') {
            Self::parse(text.as_bytes(), 1).ok_or("is not a JWK set, as {\"keys\": [...]}")?
        } else {
            Self::from_pem(text)?
        };
        if let Some((name, error)) = set.left_out.first() {
            return Err(format!("has a key that cannot be used ({name}): {error}"));
        }
        if set.keys.is_empty() { Err("has no key".to_owned()) } else { Ok(set) }
    }

    fn from_pem(text: &str) -> Result<Self, String> {
        let blocks =
            pem::parse_many(text).map_err(|error| format!("is neither a JWK set nor PEM: {error}"))?;
        let mut set = Self { generation: 1, ..Self::default() };
        for block in blocks.into_iter().take(KEYS_MAX) {
            if block.tag() != "PUBLIC KEY" {
                return Err(format!("has `{}`; what is taken is PUBLIC KEY", block.tag()));
            }
            let key = Key::from_spki(block.contents())
                .map_err(|error| format!("has a key that cannot be used: {error}"))?;
            if set.keys.iter().any(|(_, other)| other.algorithm() == key.algorithm()) {
                let name = key.algorithm().name();
                return Err(format!("has two keys for {name}, and PEM gives them no name: use a JWK set"));
            }
            set.keys.push((None, key));
        }
        Ok(set)
    }

    /// A secret that the issuer shares. `None` when it is too short to be one.
    pub(crate) fn of_secret(secret: &[u8]) -> Option<Self> {
        let keys = vec![(None, Key::secret(secret))];
        (secret.len() >= SECRET_BYTES_MIN).then(|| Self { keys, generation: 1, ..Self::default() })
    }

    pub(crate) fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|(own, _)| own.as_deref() == Some(kid))
    }

    /// The key of this name, or the nameless one, if it is for this algorithm.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&Key, NoKey> {
        let mut fitting =
            self.keys.iter().filter(|(own, _)| own.is_none() || own.as_deref() == kid).peekable();
        if fitting.peek().is_none() {
            return Err(NoKey::Unknown);
        }
        let found = fitting.find(|(_, key)| key.algorithm() == algorithm);
        found.map(|(_, key)| key).ok_or(NoKey::Algorithm)
    }

    /// Leaves the keys of other algorithms out.
    pub(crate) fn only(mut self, algorithms: &[Algorithm]) -> Self {
        self.keys.retain(|(_, key)| algorithms.contains(&key.algorithm()));
        self
    }

    /// Whether both hold the same keys under the same names.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.keys.len() == other.keys.len()
            && self.keys.iter().all(|(kid, key)| {
                other.keys.iter().any(|(other_kid, other)| kid == other_kid && key.is_twin(other))
            })
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Says which keys cannot be used, and why.
    pub(crate) fn report_left_out(&self) {
        for (name, error) in &self.left_out {
            tracing::warn!(key = %name, %error, "a published key is left out");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair as _,
    };
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::*;

    fn pem(der: &[u8]) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    fn spki() -> [Vec<u8>; 4] {
        let rsa = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let ed = Ed25519KeyPair::generate().unwrap();
        [
            ed.public_key().as_der().unwrap().as_ref().to_vec(),
            p256.public_key().as_der().unwrap().as_ref().to_vec(),
            rsa.public_key().as_der().unwrap().as_ref().to_vec(),
            p384.public_key().as_der().unwrap().as_ref().to_vec(),
        ]
    }

    /// The same key with the exponent 1 in place of 65537, and all lengths around it two less.
    fn with_exponent_1(rsa: &[u8]) -> Vec<u8> {
        let mut der = rsa[..rsa.len() - 5].to_vec();
        der.extend([2, 1, 1]);
        // SEQUENCE { SEQUENCE algorithm (15 bytes), BIT STRING { 0, SEQUENCE { n, e } } }
        for at in [2, 21, 26] {
            let length = u16::from_be_bytes([der[at], der[at + 1]]) - 2;
            der[at..at + 2].copy_from_slice(&length.to_be_bytes());
        }
        der
    }

    #[test]
    fn pem_says_itself_which_algorithm_a_key_is_for() {
        let [ed, p256, rsa, p384] = spki();
        let set = KeySet::given(&[pem(&ed), pem(&p256), pem(&rsa)].concat()).unwrap();
        for algorithm in Algorithm::PUBLIC {
            assert_eq!(set.find(Some("any"), algorithm).unwrap().algorithm(), algorithm);
        }
        assert_eq!(set.find(None, Algorithm::Hs256).err(), Some(NoKey::Algorithm));
        for (text, why) in [
            (pem(&p384), "not supported"),
            ([pem(&ed), pem(&ed)].concat(), "two keys for EdDSA"),
            (pem(&ed).replace("PUBLIC", "PRIVATE"), "`PRIVATE KEY`"),
            (pem(&[7; 32]), "not supported"),
            (pem(&with_exponent_1(&rsa)), "not supported"),
            ("secret".to_owned(), "no key"),
        ] {
            let error = KeySet::given(&text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    /// The numbers of an RSA key: `SEQUENCE { INTEGER n, INTEGER e }` with two bytes for each long length.
    fn rsa_jwk(size: KeySize, kid: &str) -> Value {
        let key = KeyPair::generate(size).unwrap();
        let der = key.public_key().as_ref();
        let length = usize::from(u16::from_be_bytes([der[6], der[7]]));
        let (n, e) = (&der[9..8 + length], &der[8 + length + 2..]);
        json!({"kty": "RSA", "kid": kid, "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e)})
    }

    #[test]
    fn a_published_key_is_used_for_what_it_is_or_left_out_with_a_reason() {
        let good = rsa_jwk(KeySize::Rsa2048, "rsa");
        let with = |name: &str, value: Value| {
            let mut key = good.clone();
            key[name] = value;
            key["kid"] = json!(name);
            key
        };
        let zeros = URL_SAFE_NO_PAD
            .encode([&[0][..], &URL_SAFE_NO_PAD.decode(good["n"].as_str().unwrap()).unwrap()].concat());
        let short = URL_SAFE_NO_PAD.encode([0xff_u8; 128]);
        let long = URL_SAFE_NO_PAD.encode([0xff_u8; 1_025]);
        let bad = [
            with("use", json!("enc")),
            with("key_ops", json!(["sign"])),
            with("alg", json!("HS256")),
            with("kty", json!("oct")),
            with("n", json!(zeros)),
            with("e", json!("AQ")),
            json!({"kty": "RSA", "kid": "short", "e": "AQAB", "n": short}),
            json!({"kty": "RSA", "kid": "long", "e": "AQAB", "n": long}),
            json!({"kty": "EC", "crv": "P-256", "kid": "point", "x": URL_SAFE_NO_PAD.encode([1; 32]), "y": URL_SAFE_NO_PAD.encode([1; 32])}),
            json!({"kty": "EC", "crv": "P-384", "kid": "curve", "x": "AA", "y": "AA"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "cut"}),
            json!({"kty": "OKP", "crv": "X25519", "x": URL_SAFE_NO_PAD.encode([1; 32]), "kid": "exchange"}),
            with("d", json!(1)),
        ];
        let (bad, fine) = bad.split_at(bad.len() - 1);
        let all: Vec<Value> = bad.iter().chain(fine).cloned().collect();
        let set = KeySet::parse(json!({ "keys": all }).to_string().as_bytes(), 1).unwrap();
        let left_out: Vec<&str> = set.left_out.iter().map(|(kid, _)| &**kid).collect();
        let kids: Vec<&str> = bad.iter().map(|key| key["kid"].as_str().unwrap()).collect();
        assert_eq!(left_out, kids);
        assert_eq!((set.len(), set.has("d")), (1, true), "a member that says nothing here is no reason");
        let reason = |kid: &str| set.left_out.iter().find(|(own, _)| **own == *kid).unwrap().1;
        assert_eq!(
            (reason("short"), reason("long"), reason("use")),
            (Error::Size, Error::Size, Error::Purpose)
        );
        assert!(KeySet::given(&json!({ "keys": [good, bad[0]] }).to_string()).unwrap_err().contains("(use)"));
    }

    #[test]
    fn of_two_keys_of_one_name_the_first_stands() {
        let keys =
            json!({"keys": [rsa_jwk(KeySize::Rsa2048, "a"), rsa_jwk(KeySize::Rsa2048, "a")]}).to_string();
        let set = KeySet::parse(keys.as_bytes(), 1).unwrap();
        assert_eq!((set.len(), set.left_out.len()), (1, 1));
        assert!(set.is_same(&KeySet::parse(keys.as_bytes(), 2).unwrap()));
    }

    #[test]
    fn a_secret_is_as_long_as_its_hash() {
        assert!(KeySet::of_secret(&[7; 31]).is_none());
        let set = KeySet::of_secret(&[7; 32]).unwrap();
        assert!(set.find(None, Algorithm::Hs256).is_ok() && set.find(None, Algorithm::EdDsa).is_err());
    }
}
