//! Tokens of several issuers and of every algorithm: each is checked by the key of its own issuer, in the one way that key is for.

use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};

use super::case::{Area, Table, get, seen};
use crate::rig::now_s;

/// What `legacy` shares.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The keys of all issuers, made once.
pub(crate) struct Keys {
    ec: EcdsaKeyPair,
    ec_for_der: EcdsaKeyPair,
    rsa: RsaKeyPair,
    partner: Ed25519KeyPair,
}

pub(crate) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let document = ec.to_pkcs8v1().unwrap();
        Keys {
            ec_for_der: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref()).unwrap(),
            ec,
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            partner: Ed25519KeyPair::generate().unwrap(),
        }
    })
}

impl Keys {
    /// What `users` publishes beside the keys of [`super::token::keys`].
    pub(crate) fn published(&self) -> [Value; 4] {
        let point = self.ec.public_key().as_ref();
        let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..]));
        let n = BASE64.encode(self.modulus());
        let weak = BASE64.encode([0xff_u8; 128]);
        [
            json!({"kty": "EC", "crv": "P-256", "kid": "es", "x": x, "y": y}),
            json!({"kty": "RSA", "alg": "RS256", "kid": "rs", "n": n, "e": "AQAB"}),
            json!({"kty": "RSA", "kid": "rs-1024", "n": weak, "e": "AQAB"}),
            json!({"kty": "RSA", "kid": "rs-e1", "n": n, "e": "AQ"}),
        ]
    }

    /// `SEQUENCE { INTEGER n, INTEGER e }`, of which n begins with a zero.
    fn modulus(&self) -> &[u8] {
        &self.rsa.public_key().as_ref()[9..][..256]
    }

    fn rsa_pem(&self) -> String {
        pem(self.rsa.public_key().as_der().unwrap().as_ref())
    }

    fn rs256(&self, message: &[u8], encoding: &'static dyn RsaEncoding) -> Vec<u8> {
        let mut signature = vec![0; 256];
        self.rsa.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        match algorithm {
            "ES256" => self.ec.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            "RS256" => self.rs256(message, &RSA_PKCS1_SHA256),
            "HS256" => hs256(SECRET.as_bytes(), message),
            _ => self.partner.sign(message).as_ref().to_vec(),
        }
    }
}

fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

/// The issuers, with what they need in files.
pub(crate) fn issuers() -> String {
    let folder =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("issuers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let partner = keys().partner.public_key().as_der().unwrap();
    std::fs::write(folder.join("partner.pem"), pem(partner.as_ref())).unwrap();
    std::fs::write(folder.join("legacy.secret"), SECRET).unwrap();
    let folder = folder.display();
    format!(
        "jwt:\n  - {{service: s, issuer: users, audience: shop, leeway: 0s}}\n  \
         - {{keys: \"file:{folder}/partner.pem\", issuer: partner, audience: shop, leeway: 0s, prefix: \"partner:\"}}\n  \
         - {{secret: \"file:{folder}/legacy.secret\", issuer: legacy, audience: shop, leeway: 0s, prefix: \"legacy:\"}}\n"
    )
}

/// One issuer with one algorithm.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    algorithm: &'static str,
    kid: Option<&'static str>,
    issuer: &'static str,
    user: &'static str,
}

const KINDS: [Kind; 4] = [
    Kind { name: "es256", algorithm: "ES256", kid: Some("es"), issuer: "users", user: "u1" },
    Kind { name: "rs256", algorithm: "RS256", kid: Some("rs"), issuer: "users", user: "u1" },
    Kind { name: "hs256", algorithm: "HS256", kid: None, issuer: "legacy", user: "legacy:u1" },
    Kind { name: "eddsa-pem", algorithm: "EdDSA", kid: None, issuer: "partner", user: "partner:u1" },
];

impl Kind {
    fn header(self) -> Value {
        let mut header = json!({"alg": self.algorithm, "typ": "JWT"});
        if let Some(kid) = self.kid {
            header["kid"] = json!(kid);
        }
        header
    }

    fn claims(self) -> Value {
        json!({"sub": "u1", "iss": self.issuer, "aud": "shop", "exp": now_s() + 600, "role": "customer"})
    }

    fn message(self) -> String {
        message(&self.header().to_string(), &self.claims().to_string())
    }

    /// A token of these texts with a good signature.
    fn signed(self, header: &str, claims: &str) -> String {
        let message = message(header, claims);
        let signature = keys().sign(self.algorithm, message.as_bytes());
        joined(&message, &signature)
    }

    fn with_header(self, name: &str, value: Value) -> String {
        let mut header = self.header();
        header[name] = value;
        self.signed(&header.to_string(), &self.claims().to_string())
    }

    fn with_claim(self, name: &str, value: Value) -> String {
        let mut claims = self.claims();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value;
        }
        self.signed(&self.header().to_string(), &claims.to_string())
    }
}

fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", BASE64.encode(header), BASE64.encode(claims))
}

fn joined(message: &str, signature: &[u8]) -> String {
    format!("{message}.{}", BASE64.encode(signature))
}

fn bearer(token: &str) -> String {
    get("/mine", &format!("Authorization: Bearer {token}\r\n"))
}

fn user(id: &str) -> String {
    let context =
        format!(r#"x-user-context: {{"permissions":[],"roles":["customer"],"sid":null,"sub":"{id}"}}"#);
    seen("GET /mine", &[&format!("x-user-id: {id}"), "x-user-role: customer", &context], "")
}

pub(crate) fn table() -> Table {
    let mut table = Table::new(Area::Algorithm);
    for kind in KINDS {
        of_each(&mut table, kind);
    }
    between_issuers(&mut table);
    between_algorithms(&mut table);
    signatures(&mut table);
    table
}

/// What holds for every algorithm.
fn of_each(table: &mut Table, kind: Kind) {
    let name = |case: &str| -> &'static str { Box::leak(format!("{}-{case}", kind.name).into_boxed_str()) };
    let now = now_s();
    let good = kind.signed(&kind.header().to_string(), &kind.claims().to_string());
    table.passes(name("good"), bearer(&good), [user(kind.user)]);
    table.refused(name("exp-over"), bearer(&kind.with_claim("exp", json!(now - 1))), 401, "token_expired");
    let (message, _) = good.rsplit_once('.').unwrap();
    let signature = keys().sign(kind.algorithm, message.as_bytes());
    let mut flipped = signature.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let twice = |claims: &str| {
        let exp = now + 600;
        kind.signed(
            &kind.header().to_string(),
            &format!(r#"{{"sub":"u1","iss":"{}","aud":"shop","exp":{exp},{claims}}}"#, kind.issuer),
        )
    };
    for (case, token) in [
        ("exp-missing", kind.with_claim("exp", Value::Null)),
        ("exp-is-text", kind.with_claim("exp", json!((now + 600).to_string()))),
        ("exp-is-a-fraction", kind.with_claim("exp", json!(1e300))),
        ("nbf-to-come", kind.with_claim("nbf", json!(now + 60))),
        ("iat-to-come", kind.with_claim("iat", json!(now + 60))),
        ("aud-of-another", kind.with_claim("aud", json!("other"))),
        ("aud-missing", kind.with_claim("aud", Value::Null)),
        ("aud-list-with-a-number", kind.with_claim("aud", json!(["shop", 1]))),
        ("iss-of-nobody", kind.with_claim("iss", json!("nobody"))),
        ("iss-missing", kind.with_claim("iss", Value::Null)),
        ("iss-list", kind.with_claim("iss", json!([kind.issuer]))),
        ("crit", kind.with_header("crit", json!(["exp"]))),
        ("b64", kind.with_header("crit", json!(["b64"]))),
        ("typ-of-another-kind", kind.with_header("typ", json!("logout+jwt"))),
        ("alg-none", kind.with_header("alg", json!("none"))),
        ("alg-in-other-case", kind.with_header("alg", json!(kind.algorithm.to_ascii_lowercase()))),
        ("kid-is-a-path", kind.with_header("kid", json!(["../../etc/passwd"]))),
        ("sub-twice", twice(r#""sub":"admin""#)),
        ("iss-twice", twice(r#""iss":"users""#)),
        ("exp-twice", twice(r#""exp":9999999999"#)),
        ("signature-missing", format!("{message}.")),
        ("signature-with-another-bit", joined(message, &flipped)),
        ("signature-cut", joined(message, &signature[..signature.len() - 1])),
        ("signature-with-zeros-behind", joined(message, &[&signature[..], &[0]].concat())),
        ("signature-with-zeros-in-front", joined(message, &[&[0], &signature[..]].concat())),
        ("signature-of-zeros", joined(message, &vec![0; signature.len()])),
        ("signature-of-ones", joined(message, &vec![0xff; signature.len()])),
        ("signature-twice", format!("{good}.{}", BASE64.encode(&signature))),
    ] {
        table.refused(name(case), bearer(&token), 401, "token_invalid");
    }
}

/// Who may sign for whom: nobody but themselves.
fn between_issuers(table: &mut Table) {
    for signer in KINDS {
        for victim in KINDS.into_iter().filter(|victim| victim.issuer != signer.issuer) {
            let name = format!("{}-signs-as-{}", signer.name, victim.name);
            let mut header = victim.header();
            header["alg"] = json!(signer.algorithm);
            let token = signer.signed(&header.to_string(), &victim.claims().to_string());
            table.refused(Box::leak(name.into_boxed_str()), bearer(&token), 401, "token_invalid");
        }
    }
    for (name, prefixed) in [("sub-of-another-issuer", "legacy:u1"), ("sub-with-prefix-alone", "partner:")] {
        table.refused(name, bearer(&KINDS[0].with_claim("sub", json!(prefixed))), 401, "token_invalid");
    }
    table.passes(
        "kid-where-the-key-has-none",
        bearer(&KINDS[2].with_header("kid", json!("es"))),
        [user("legacy:u1")],
    );
}

/// A key is for one algorithm, whatever the header says.
fn between_algorithms(table: &mut Table) {
    let [es, rs, ..] = KINDS;
    let point = keys().ec.public_key().as_ref().to_vec();
    let point_der = keys().ec.public_key().as_der().unwrap().as_ref().to_vec();
    let spki = keys().rsa.public_key().as_der().unwrap().as_ref().to_vec();
    for (name, kind, secret) in [
        ("rsa-key-in-pem-as-secret", rs, keys().rsa_pem().into_bytes()),
        ("rsa-key-in-pem-without-its-end-as-secret", rs, keys().rsa_pem().trim_end().as_bytes().to_vec()),
        ("rsa-key-in-der-as-secret", rs, spki),
        ("rsa-key-of-pkcs1-as-secret", rs, keys().rsa.public_key().as_ref().to_vec()),
        ("rsa-modulus-as-secret", rs, keys().modulus().to_vec()),
        ("ec-point-as-secret", es, point),
        ("ec-key-in-der-as-secret", es, point_der),
        ("shared-secret-for-published-keys", rs, SECRET.as_bytes().to_vec()),
        ("empty-secret-for-published-keys", rs, Vec::new()),
    ] {
        let mut header = kind.header();
        header["alg"] = json!("HS256");
        let message = message(&header.to_string(), &kind.claims().to_string());
        table.refused(
            name,
            bearer(&joined(&message, &hs256(&secret, message.as_bytes()))),
            401,
            "token_invalid",
        );
    }
    let claims = rs.claims().to_string();
    for (name, signer, header) in [
        ("rs256-under-the-name-of-an-ec-key", rs, json!({"alg": "RS256", "kid": "es"})),
        ("es256-under-the-name-of-an-rsa-key", es, json!({"alg": "ES256", "kid": "rs"})),
        ("rs256-said-to-be-es256", rs, json!({"alg": "ES256", "kid": "es"})),
        ("rs256-said-to-be-eddsa", rs, json!({"alg": "EdDSA", "kid": "k1"})),
        ("es256-said-to-be-eddsa", es, json!({"alg": "EdDSA", "kid": "k1"})),
        ("rs256-without-kid", rs, json!({"alg": "RS256"})),
        ("kid-of-an-rsa-key-that-is-too-short", rs, json!({"alg": "RS256", "kid": "rs-1024"})),
        ("kid-of-an-rsa-key-that-anybody-signs-with", rs, json!({"alg": "RS256", "kid": "rs-e1"})),
    ] {
        table.refused(name, bearer(&signer.signed(&header.to_string(), &claims)), 401, "token_invalid");
    }
}

/// Other signatures by the right key.
fn signatures(table: &mut Table) {
    let [es, rs, ..] = KINDS;
    let message = es.message();
    let fixed = keys().sign("ES256", message.as_bytes());
    let asn1 = keys().ec_for_der.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    let swapped = [&fixed[32..], &fixed[..32]].concat();
    for (name, signature) in
        [("es256-in-asn1", asn1.as_ref().to_vec()), ("es256-with-halves-swapped", swapped)]
    {
        table.refused(name, bearer(&joined(&message, &signature)), 401, "token_invalid");
    }
    let message = rs.message();
    for (name, encoding) in
        [("rs256-of-pss", &RSA_PSS_SHA256 as &dyn RsaEncoding), ("rs256-of-sha512", &RSA_PKCS1_SHA512)]
    {
        let signature = keys().rs256(message.as_bytes(), encoding);
        table.refused(name, bearer(&joined(&message, &signature)), 401, "token_invalid");
    }
    // The padded hash itself: what an exponent of 1 would take.
    let mut padded = vec![0xff_u8; 256];
    padded[..2].copy_from_slice(&[0, 1]);
    padded[255 - 32] = 0;
    table.refused("rs256-padded-only", bearer(&joined(&message, &padded)), 401, "token_invalid");
}
