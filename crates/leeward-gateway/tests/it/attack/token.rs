//! Tokens that say more, less or something else than they may.

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::algorithm;
use super::case::{Area, Table, get, seen};
use crate::rig::{PRIVATE, PUBLIC, claims, now_s};

/// Where the gateway fetches the keys.
pub(crate) const JWKS: &str = "/.well-known/jwks.json";

/// What the upstream publishes: one good key, and the same key under names that do not allow signatures to be checked with it.
pub(crate) fn keys() -> String {
    let ed = |kid: &str| json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": PUBLIC});
    let with = |kid: &str, name: &str, value: Value| {
        let mut key = ed(kid);
        key[name] = value;
        key
    };
    let oct = json!({"kty": "oct", "alg": "HS256", "kid": "oct", "k": PUBLIC});
    let [ec, rsa, short, bare] = algorithm::keys().published();
    json!({"keys": [
        ec, rsa, short, bare,
        with("k1", "use", json!("sig")),
        with("enc", "use", json!("enc")),
        with("ops", "key_ops", json!(["encrypt"])),
        with("alg", "alg", json!("HS256")),
        oct,
    ]})
    .to_string()
}

pub(crate) fn table() -> Table {
    let mut table = Table::new(Area::Token);
    headers_of_tokens(&mut table);
    signatures(&mut table);
    claims_of_tokens(&mut table);
    claims_that_stand_twice(&mut table);
    schemes(&mut table);
    table
}

fn mine(authorization: &str) -> String {
    get("/mine", &format!("Authorization: {authorization}\r\n"))
}

fn bearer(token: &str) -> String {
    mine(&format!("Bearer {token}"))
}

fn good_header() -> Value {
    json!({"alg": "EdDSA", "kid": "k1", "typ": "JWT"})
}

fn good_claims() -> Value {
    claims("u1", "customer")
}

/// A token of these texts with a good signature.
fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
    let key = EncodingKey::from_ed_der(&PRIVATE);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).unwrap();
    format!("{message}.{signature}")
}

fn with_header(name: &str, value: Value) -> String {
    let mut header = good_header();
    header[name] = value;
    signed(&header.to_string(), &good_claims().to_string())
}

fn with_claim(name: &str, value: Value) -> String {
    let mut claims = good_claims();
    claims[name] = value;
    signed(&good_header().to_string(), &claims.to_string())
}

fn without_claim(name: &str) -> String {
    let mut claims = good_claims();
    claims.as_object_mut().unwrap().remove(name);
    signed(&good_header().to_string(), &claims.to_string())
}

fn user() -> String {
    seen(
        "GET /mine",
        &[
            "x-user-id: u1",
            "x-user-role: customer",
            "x-user-context: {\"permissions\":[\"cart:write\"],\"roles\":[\"customer\"],\"sid\":\"s1\",\"sub\":\"u1\"}",
        ],
        "",
    )
}

fn headers_of_tokens(table: &mut Table) {
    let claims = good_claims().to_string();
    for (name, header) in [
        ("alg-none", r#"{"alg":"none","kid":"k1"}"#),
        ("alg-none-in-upper-case", r#"{"alg":"NONE","kid":"k1"}"#),
        ("alg-in-lower-case", r#"{"alg":"eddsa","kid":"k1"}"#),
        ("alg-missing", r#"{"kid":"k1"}"#),
        ("alg-empty", r#"{"alg":"","kid":"k1"}"#),
        ("alg-null", r#"{"alg":null,"kid":"k1"}"#),
        ("alg-list", r#"{"alg":["EdDSA","none"],"kid":"k1"}"#),
        ("alg-twice", r#"{"alg":"none","alg":"EdDSA","kid":"k1"}"#),
        ("alg-es256", r#"{"alg":"ES256","kid":"k1"}"#),
        ("alg-rs256", r#"{"alg":"RS256","kid":"k1"}"#),
        ("alg-es384", r#"{"alg":"ES384","kid":"k1"}"#),
        ("alg-ps256", r#"{"alg":"PS256","kid":"k1"}"#),
        ("alg-with-blank", r#"{"alg":"EdDSA ","kid":"k1"}"#),
        ("kid-null", r#"{"alg":"EdDSA","kid":null}"#),
        ("typ-is-a-list", r#"{"alg":"EdDSA","kid":"k1","typ":["JWT"]}"#),
        ("unknown-header-twice", r#"{"alg":"EdDSA","kid":"k1","x":1,"x":2}"#),
        ("kid-twice", r#"{"alg":"EdDSA","kid":"k2","kid":"k1"}"#),
        ("kid-missing", r#"{"alg":"EdDSA"}"#),
        ("kid-is-a-number", r#"{"alg":"EdDSA","kid":1}"#),
        ("kid-is-a-list", r#"{"alg":"EdDSA","kid":["k1"]}"#),
        ("header-is-a-list", r#"["EdDSA"]"#),
        ("header-is-no-json", r#"{alg:EdDSA}"#),
        ("header-with-text-behind", r#"{"alg":"EdDSA","kid":"k1"}{}"#),
    ] {
        table.refused(name, bearer(&signed(header, &claims)), 401, "token_invalid");
    }
    for (name, kid) in [
        ("kid-unknown", "k2"),
        ("kid-is-a-path", "../../../../dev/null"),
        ("kid-is-a-file", "file:///etc/passwd"),
        ("kid-is-a-url", "http://127.0.0.1:1/keys"),
        ("kid-is-sql", "k1' UNION SELECT 'x' --"),
        ("kid-is-a-command", "k1|/usr/bin/id"),
        ("kid-with-nul", "k1\u{0}"),
        ("kid-empty", ""),
        ("kid-in-upper-case", "K1"),
        ("kid-with-blank", "k1 "),
        (
            "kid-very-long",
            "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk",
        ),
        ("kid-of-a-key-for-encryption", "enc"),
        ("kid-of-a-key-for-other-operations", "ops"),
        ("kid-of-a-key-of-another-algorithm", "alg"),
        ("kid-of-a-shared-secret", "oct"),
    ] {
        table.refused(name, bearer(&with_header("kid", json!(kid))), 401, "token_invalid");
    }
    for (name, header, value) in [
        ("crit-unknown", "crit", json!(["x"])),
        ("crit-of-b64", "crit", json!(["b64"])),
        ("crit-empty", "crit", json!([])),
        ("zip", "zip", json!("DEF")),
        ("enc", "enc", json!("A256GCM")),
        ("typ-of-another-kind", "typ", json!("dpop+jwt")),
        ("typ-of-an-id", "typ", json!("secevent+jwt")),
    ] {
        table.refused(name, bearer(&with_header(header, value)), 401, "token_invalid");
    }
    // Where a token says its key is to be had is not where the key comes from.
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"});
    for (name, header, value) in [
        ("jku-is-ignored", "jku", json!("http://127.0.0.1:1/keys")),
        ("x5u-is-ignored", "x5u", json!("http://127.0.0.1:1/cert")),
        ("jwk-is-ignored", "jwk", jwk),
        ("typ-of-an-access-token", "typ", json!("at+jwt")),
    ] {
        table.passes(name, bearer(&with_header(header, value)), [user()]);
    }
}

fn signatures(table: &mut Table) {
    let good = signed(&good_header().to_string(), &good_claims().to_string());
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = [parts[0], parts[1], parts[2]];
    table.passes("good-token", bearer(&good), [user()]);
    let none = base64(br#"{"alg":"none"}"#);
    let hs = base64(br#"{"alg":"HS256","kid":"k1"}"#);
    let hs_oct = base64(br#"{"alg":"HS256","kid":"oct"}"#);
    let hmac = |header: &str, secret: &[u8]| {
        let message = format!("{header}.{payload}");
        let key = EncodingKey::from_secret(secret);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    };
    let key = decode(PUBLIC);
    let admin = base64(claims("admin", "admin").to_string().as_bytes());
    let mut raw = decode(signature);
    raw[63] ^= 1;
    let flipped = base64(&raw);
    // The same point with the group's order added to the scalar: a second signature for one message, if nobody looks.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut raised = decode(signature);
    let mut carry = 0_u16;
    for (byte, more) in raised[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    let raised = base64(&raised);
    // 64 bytes end in a character of which four bits say nothing: they must be zero.
    let last = signature.chars().next_back().unwrap();
    let next = char::from(u8::try_from(last).unwrap() + 1);
    let loose = format!("{}{next}", &signature[..signature.len() - 1]);
    let no_point = base64(&[0_u8; 64]);
    for (name, token) in [
        ("unsigned", format!("{none}.{payload}.")),
        ("unsigned-with-signature", format!("{none}.{payload}.{signature}")),
        ("signature-missing", format!("{header}.{payload}.")),
        ("signature-part-missing", format!("{header}.{payload}")),
        ("signature-of-nothing", format!("{header}.{payload}.{no_point}")),
        ("signature-cut", format!("{header}.{payload}.{}", &signature[..signature.len() - 4])),
        ("signature-with-another-bit", format!("{header}.{payload}.{flipped}")),
        ("signature-with-raised-scalar", format!("{header}.{payload}.{raised}")),
        ("signature-with-loose-bits", format!("{header}.{payload}.{loose}")),
        ("signature-padded", format!("{header}.{payload}.{signature}==")),
        ("signature-of-another-payload", format!("{header}.{admin}.{signature}")),
        ("public-key-as-secret", hmac(&hs, &key)),
        ("public-key-text-as-secret", hmac(&hs, PUBLIC.as_bytes())),
        ("published-secret", hmac(&hs_oct, &key)),
        ("empty-secret", hmac(&hs, b"")),
        ("two-parts", format!("{header}.{payload}")),
        ("four-parts", format!("{good}.{signature}")),
        ("five-parts", format!("{header}.{payload}.{signature}.{payload}.{signature}")),
        ("empty-parts", "..".to_owned()),
        ("one-point", ".".to_owned()),
        ("payload-empty", signed(&good_header().to_string(), "")),
        ("payload-is-a-list", signed(&good_header().to_string(), "[]")),
        ("payload-is-null", signed(&good_header().to_string(), "null")),
    ] {
        table.refused(name, bearer(&token), 401, "token_invalid");
    }
}

fn claims_of_tokens(table: &mut Table) {
    let now = now_s();
    for (name, token) in
        [("exp-over", with_claim("exp", json!(now - 1))), ("exp-zero", with_claim("exp", json!(0)))]
    {
        table.refused(name, bearer(&token), 401, "token_expired");
    }
    for (name, token) in [
        ("exp-missing", without_claim("exp")),
        ("exp-negative", with_claim("exp", json!(-1))),
        ("exp-null", with_claim("exp", Value::Null)),
        ("exp-is-text", with_claim("exp", json!((now + 600).to_string()))),
        ("exp-is-a-list", with_claim("exp", json!([now + 600]))),
        ("exp-is-true", with_claim("exp", json!(true))),
        (
            "exp-of-65-bits",
            signed(
                &good_header().to_string(),
                r#"{"sub":"u1","iss":"users","aud":"shop","exp":99999999999999999999}"#,
            ),
        ),
        ("nbf-to-come", with_claim("nbf", json!(now + 60))),
        ("nbf-is-text", with_claim("nbf", json!((now - 60).to_string()))),
        ("iat-to-come", with_claim("iat", json!(now + 60))),
        ("iat-is-text", with_claim("iat", json!("yesterday"))),
        ("iss-missing", without_claim("iss")),
        ("iss-of-another", with_claim("iss", json!("evil"))),
        ("iss-in-upper-case", with_claim("iss", json!("USERS"))),
        ("iss-list", with_claim("iss", json!(["users", "evil"]))),
        ("iss-with-suffix", with_claim("iss", json!("users.evil"))),
        ("iss-null", with_claim("iss", Value::Null)),
        ("aud-missing", without_claim("aud")),
        ("aud-of-another", with_claim("aud", json!("admin"))),
        ("aud-empty-list", with_claim("aud", json!([]))),
        ("aud-is-a-number", with_claim("aud", json!(1))),
        ("aud-within-text", with_claim("aud", json!("shop admin"))),
        ("sub-missing", without_claim("sub")),
        ("sub-empty", with_claim("sub", json!(""))),
        ("sub-is-a-number", with_claim("sub", json!(1))),
        ("sub-with-line-break", with_claim("sub", json!("u1\r\nX-User-Role: admin"))),
        ("sub-with-blank", with_claim("sub", json!("u 1"))),
        ("sub-with-foreign-letter", with_claim("sub", json!("\u{fc}1"))),
        ("sub-too-long", with_claim("sub", json!("u".repeat(129)))),
        ("role-with-comma", with_claim("role", json!("customer,admin"))),
        ("role-with-line-break", with_claim("role", json!("customer\nadmin"))),
        ("role-is-a-number", with_claim("role", json!(1))),
        ("role-is-an-object", with_claim("role", json!({"admin": true}))),
        ("roles-is-a-list-of-lists", with_claim("roles", json!([["admin"]]))),
        ("roles-with-blank", with_claim("roles", json!("customer admin"))),
        ("jti-is-a-number", with_claim("jti", json!(1))),
    ] {
        table.refused(name, bearer(&token), 401, "token_invalid");
    }
    table.passes("aud-list-with-ours", bearer(&with_claim("aud", json!(["other", "shop"]))), [user()]);
    let nested = with_claim("x", json!({"sub": "admin", "role": "admin"}));
    table.passes("claims-within-claims-say-nothing", bearer(&nested), [user()]);
    let admin = get("/admin", &format!("Authorization: Bearer {}\r\n", with_claim("role", json!("Admin"))));
    table.refused("role-in-other-case", admin, 403, "forbidden");
}

fn claims_that_stand_twice(table: &mut Table) {
    let exp = now_s() + 600;
    for (name, claims) in [
        ("sub-twice", format!(r#"{{"sub":"admin","sub":"u1","iss":"users","aud":"shop","exp":{exp}}}"#)),
        ("exp-twice", format!(r#"{{"sub":"u1","iss":"users","aud":"shop","exp":1,"exp":{exp}}}"#)),
        ("aud-twice", format!(r#"{{"sub":"u1","iss":"users","aud":"admin","aud":"shop","exp":{exp}}}"#)),
        ("iss-twice", format!(r#"{{"sub":"u1","iss":"evil","iss":"users","aud":"shop","exp":{exp}}}"#)),
        (
            "sub-twice-once-escaped",
            format!(r#"{{"sub":"admin","s\u0075b":"u1","iss":"users","aud":"shop","exp":{exp}}}"#),
        ),
        (
            "claim-twice-within-another",
            format!(r#"{{"sub":"u1","iss":"users","aud":"shop","exp":{exp},"x":[{{"a":1,"a":2}}]}}"#),
        ),
        ("claims-with-text-behind", format!(r#"{{"sub":"u1","iss":"users","aud":"shop","exp":{exp}}}{{}}"#)),
    ] {
        table.refused(name, bearer(&signed(&good_header().to_string(), &claims)), 401, "token_invalid");
    }
}

fn schemes(table: &mut Table) {
    let good = signed(&good_header().to_string(), &good_claims().to_string());
    table.passes("scheme-in-lower-case", mine(&format!("bearer {good}")), [user()]);
    table.passes("scheme-and-several-blanks", mine(&format!("Bearer   {good}")), [user()]);
    for (name, authorization) in [
        ("no-token", "Bearer".to_owned()),
        ("two-tokens", format!("Bearer {good} {good}")),
        ("two-tokens-with-comma", format!("Bearer {good}, Bearer {good}")),
        ("token-with-comma", format!("Bearer {good},")),
        ("token-quoted", format!("Bearer \"{good}\"")),
        ("token-with-tab", format!("Bearer \t{good}")),
        ("token-with-foreign-byte", format!("Bearer {good}\u{e9}")),
    ] {
        table.refused(name, mine(&authorization), 401, "token_invalid");
    }
    for (name, authorization) in [
        ("scheme-missing", good.clone()),
        ("scheme-and-tab", format!("Bearer\t{good}")),
        ("scheme-with-colon", format!("Bearer: {good}")),
        ("scheme-of-another", format!("Token {good}")),
        ("basic", "Basic YTpi".to_owned()),
        ("authorization-empty", String::new()),
    ] {
        table.refused(name, mine(&authorization), 401, "unauthenticated");
    }
    let twice = format!("Authorization: Bearer {good}\r\nAuthorization: Bearer x\r\n");
    table.refused("authorization-twice", get("/mine", &twice), 401, "token_invalid");
    let mixed = format!("Authorization: Basic YTpi\r\nAuthorization: Bearer {good}\r\n");
    table.refused("authorization-of-two-schemes", get("/mine", &mixed), 401, "token_invalid");
    for (name, request) in [
        ("token-in-query", get(&format!("/mine?access_token={good}"), "")),
        ("token-in-cookie", get("/mine", &format!("Cookie: access_token={good}\r\n"))),
        ("token-in-another-header", get("/mine", &format!("X-Authorization: Bearer {good}\r\n"))),
        ("token-in-alias", get("/mine", &format!("Author.ization: Bearer {good}\r\n"))),
        ("token-for-proxies", get("/mine", &format!("Proxy-Authorization: Bearer {good}\r\n"))),
        ("token-nominated", get("/mine", "Connection: Authorization\r\n")),
        (
            "identity-without-token",
            get("/mine", "X-User-Id: u1\r\nX-User-Role: admin\r\nX-Leeward-Assertion: a.b.c\r\n"),
        ),
    ] {
        table.refused(name, request, 401, "unauthenticated");
    }
    let trailer = format!(
        "POST /mine HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer {good}\r\n\r\n"
    );
    table.refused("token-in-trailer", trailer, 401, "unauthenticated");
    // Where anybody may come, a bad token is none, and no claim of it goes on.
    let bad = with_claim("exp", json!(1));
    table.passes(
        "bad-token-where-anybody-may",
        get("/open", &format!("Authorization: Bearer {bad}\r\n")),
        [seen("GET /open", &[], "")],
    );
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Without padding, and with an alphabet that URLs take.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]));
        }
    }
    text
}

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text.bytes() {
        let value = DIGITS.iter().position(|own| *own == digit).unwrap();
        bits = bits << 6 | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_le_bytes()[0]);
        }
    }
    bytes
}
