#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jsonwebtoken::{Algorithm as Theirs, EncodingKey, Header};
use leeward_resilience::TokioClock;
use leeward_runtime::Stop;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::claims::Names;
use super::key::Algorithm as Ours;
use super::token::Token;
use super::verify::{Rules, verify};
use super::*;

/// A fixed key pair: PKCS#8 of the RFC 8410 example, and its public half.
const PRIVATE: &str = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";
const PUBLIC: &str = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE";
const NOW_MS: i64 = 1_800_000_000_500;

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes() {
        let value = ALPHABET.iter().position(|a| *a == byte).unwrap();
        bits = bits << 6 | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 255).unwrap());
        }
    }
    out
}

fn jwks(kid: &str) -> Vec<u8> {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": PUBLIC});
    let other = json!({"kty": "NEW", "kid": "odd"});
    json!({ "keys": [other, key] }).to_string().into_bytes()
}

fn claims() -> Value {
    json!({"sub": "u1", "iss": "users", "aud": "shop", "exp": 1_800_000_100, "iat": 1_800_000_000, "role": "admin"})
}

fn sign(header: &Header, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_ed_der(&base64(PRIVATE))).unwrap()
}

fn header(kid: &str) -> Header {
    Header { kid: Some(kid.to_owned()), ..Header::new(Theirs::EdDSA) }
}

fn rules() -> Rules {
    Rules {
        issuer: Some("users".to_owned()),
        audiences: vec!["shop".to_owned()],
        algorithms: Ours::PUBLIC.to_vec(),
        leeway_s: 5,
        prefix: String::new(),
        foreign_prefixes: Vec::new(),
        names: Names::default(),
        attributes: [Arc::from("tenant.id")].into(),
    }
}

fn check(header: &Header, claims: &Value) -> Result<Verified, Error> {
    check_text(&sign(header, claims), &rules())
}

fn check_text(text: &str, rules: &Rules) -> Result<Verified, Error> {
    verify(&Token::read(text)?, &KeySet::parse(&jwks("k1"), 1).unwrap(), rules, NOW_MS)
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

#[test]
fn a_good_token_says_who_it_is() {
    let verified = check(&header("k1"), &claims()).unwrap();
    let subject = Subject::new(verified).unwrap();
    assert_eq!(subject.id_header, "u1");
    assert_eq!(subject.role_header, "admin");
    assert!(subject.has_one_of(&["admin".to_owned()]) && !subject.has_one_of(&["owner".to_owned()]));
}

#[test]
fn whatever_is_not_right_about_a_token_is_refused() {
    for (name, value, want) in [
        ("exp", json!(1_799_999_995), Error::Expired),
        ("exp", Value::Null, Error::Refused),
        ("exp", json!("soon"), Error::Refused),
        ("nbf", json!(1_800_000_006), Error::TooEarly),
        ("iat", json!(1_800_000_006), Error::TooEarly),
        ("iss", json!("somebody"), Error::Refused),
        ("iss", Value::Null, Error::Refused),
        ("aud", json!("other"), Error::Refused),
        ("aud", Value::Null, Error::Refused),
        ("sub", Value::Null, Error::Refused),
        ("sub", json!(""), Error::Refused),
        ("sub", json!("u 1"), Error::Refused),
        ("role", json!("a,admin"), Error::Refused),
    ] {
        assert_eq!(check(&header("k1"), &with(name, value.clone())), Err(want), "{name} = {value}");
    }
    // Within the leeway.
    assert!(check(&header("k1"), &with("exp", json!(1_799_999_996))).is_ok());
    assert!(check(&header("k1"), &with("nbf", json!(1_800_000_005))).is_ok());
    assert!(check(&header("k1"), &with("aud", json!(["other", "shop"]))).is_ok());
}

#[test]
fn the_header_cannot_choose_how_it_is_checked() {
    let mut critical = header("k1");
    critical.crit = Some(vec!["b64".to_owned()]);
    assert_eq!(check(&critical, &claims()), Err(Error::Malformed));
    assert_eq!(check(&header("other"), &claims()), Err(Error::UnknownKey));
    assert_eq!(check(&Header::new(Theirs::EdDSA), &claims()), Err(Error::UnknownKey));
    let mut typed = header("k1");
    typed.typ = Some("JWE".to_owned());
    assert_eq!(check(&typed, &claims()), Err(Error::Malformed));
    // {"alg":"none","kid":"k1"}, and {"alg":"HS256","kid":"k1"}: no key of that name is for it.
    for (head, want) in [
        ("eyJhbGciOiJub25lIiwia2lkIjoiazEifQ", Error::Malformed),
        ("eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0", Error::Refused),
    ] {
        let good = sign(&header("k1"), &claims());
        let rest = good.split_once('.').unwrap().1;
        assert_eq!(check_text(&format!("{head}.{rest}"), &rules()), Err(want), "{head}");
        let unsigned = format!("{head}.{}.", rest.split_once('.').unwrap().0);
        assert_eq!(check_text(&unsigned, &rules()), Err(want), "{head}");
    }
    for text in ["", "a", "a.b", "a.b.c", "..", "a.b.c.d"] {
        assert_eq!(check_text(text, &rules()), Err(Error::Malformed), "{text}");
    }
}

#[test]
fn claims_are_found_by_name_or_by_their_way() {
    let mut rules = rules();
    rules.names.roles = vec!["realm_access.roles".to_owned(), "https://shop.example/roles".to_owned()];
    let mut claims = claims();
    claims["realm_access"] = json!({"roles": ["staff"]});
    claims["https://shop.example/roles"] = json!("owner");
    claims["scope"] = json!("orders:read  orders:write");
    claims["scp"] = json!(["more"]);
    claims["tenant"] = json!({"id": [7, "eight", true, null, {}]});
    let subject = Subject::new(check_text(&sign(&header("k1"), &claims), &rules).unwrap()).unwrap();
    assert_eq!(subject.role_header, "staff,owner");
    let one_of = |name: &str| [name.to_owned()];
    assert!(["orders:read", "orders:write", "more"].iter().all(|scope| subject.has_scope(&one_of(scope))));
    assert!(!subject.has_scope(&one_of("orders")) && !subject.has_scope(&one_of("")));
    assert!(["7", "eight", "true"].iter().all(|value| subject.has_claim("tenant.id", &one_of(value))));
    assert!(!subject.has_claim("tenant.id", &one_of("null")) && !subject.has_claim("scope", &one_of("more")));
}

#[test]
fn users_of_several_issuers_are_kept_apart() {
    let token = |sub: &str| sign(&header("k1"), &with("sub", json!(sub)));
    let ours = Rules { foreign_prefixes: vec!["partner:".to_owned()], ..rules() };
    assert_eq!(check_text(&token("u1"), &ours).unwrap().user.id.as_ref(), "u1");
    assert_eq!(check_text(&token("partner:u1"), &ours), Err(Error::Refused));
    let theirs = Rules { prefix: "partner:".to_owned(), ..rules() };
    assert_eq!(check_text(&token("u1"), &theirs).unwrap().user.id.as_ref(), "partner:u1");
}

#[test]
fn a_changed_token_is_not_the_token() {
    let token = sign(&header("k1"), &claims());
    let rules = Rules { issuer: None, audiences: Vec::new(), ..rules() };
    let (head, signature) = token.rsplit_once('.').unwrap();
    let mut other = signature.to_owned();
    other.replace_range(4..5, if &other[4..5] == "A" { "B" } else { "A" });
    assert_eq!(check_text(&format!("{head}.{other}"), &rules), Err(Error::Refused));
    assert!(check_text(&token, &rules).is_ok());
}

#[test]
fn the_time_of_issue_is_exact_when_the_token_id_knows_it() {
    let at = |jti: &str| check(&header("k1"), &with("jti", json!(jti))).unwrap().issued_at_ms;
    // 1_800_000_000_321 ms as UUID v7.
    let ms = format!("{:012x}", 1_800_000_000_321_u64);
    let exact = format!("{}-{}-7000-8000-000000000000", &ms[..8], &ms[8..]);
    assert_eq!(at(&exact), 1_800_000_000_321);
    assert_eq!(at("something"), 1_800_000_000_000);
    // An id that claims another second is not believed.
    let ms = format!("{:012x}", 1_800_000_009_321_u64);
    assert_eq!(at(&format!("{}-{}-7000-8000-000000000000", &ms[..8], &ms[8..])), 1_800_000_000_000);
}

fn store() -> Arc<KeyStore> {
    Arc::new(KeyStore::new(Duration::from_secs(300), Duration::from_secs(3_600), Arc::new(TokioClock)))
}

/// A store with its fetcher running on paused time, and the number of fetches.
fn fetching(
    store: &Arc<KeyStore>,
    answer: impl Fn(usize) -> Result<Vec<u8>, String> + 'static,
) -> (tokio::task::JoinHandle<()>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let (store, counter) = (Arc::clone(store), Arc::clone(&count));
    let task = tokio::task::spawn_local(async move {
        let fetch = || async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            answer(counter.fetch_add(1, Ordering::SeqCst))
        };
        store.run(Stop::never(), fetch).await;
    });
    (task, count)
}

async fn on_paused_time(test: impl Future<Output = ()>) {
    tokio::time::pause();
    tokio::task::LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn many_requests_with_a_new_key_cause_one_fetch() {
    on_paused_time(async {
        let store = store();
        let (task, count) = fetching(&store, |n| Ok(if n == 0 { jwks("old") } else { jwks("new") }));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(count.load(Ordering::SeqCst), 1);
        let lookups: Vec<_> = (0..20)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::task::spawn_local(async move { store.lookup("new").await })
            })
            .collect();
        for lookup in lookups {
            assert!(matches!(lookup.await.unwrap(), Lookup::Known(_)));
        }
        assert_eq!(count.load(Ordering::SeqCst), 2);
        task.abort();
    })
    .await;
}

#[tokio::test]
async fn made_up_keys_cost_few_fetches() {
    on_paused_time(async {
        let store = store();
        let (task, count) = fetching(&store, |_| Ok(jwks("k1")));
        tokio::time::sleep(Duration::from_secs(2)).await;
        for _ in 0..50 {
            assert!(matches!(store.lookup("made-up").await, Lookup::Unknown));
        }
        assert_eq!(count.load(Ordering::SeqCst), 2, "the answer is remembered");
        let before = tokio::time::Instant::now();
        for n in 0..10 {
            assert!(matches!(store.lookup(&format!("other-{n}")).await, Lookup::Unknown));
        }
        let fetches = count.load(Ordering::SeqCst) - 2;
        let seconds = before.elapsed().as_secs();
        assert!(u64::try_from(fetches).unwrap() <= seconds + 2, "{fetches} fetches in {seconds} s");
        task.abort();
    })
    .await;
}

#[tokio::test]
async fn the_last_good_keys_stay_while_the_issuer_is_down() {
    on_paused_time(async {
        let store = store();
        let (task, _) = fetching(&store, |n| if n == 0 { Ok(jwks("k1")) } else { Err("down".to_owned()) });
        tokio::time::sleep(Duration::from_secs(3_000)).await;
        assert!(matches!(store.lookup("k1").await, Lookup::Known(_)));
        assert!(matches!(store.lookup("k2").await, Lookup::Unavailable));
        tokio::time::sleep(Duration::from_secs(3_000)).await;
        assert!(matches!(store.lookup("k1").await, Lookup::Unavailable), "not for ever");
        task.abort();
    })
    .await;
}

#[tokio::test]
async fn whoever_waits_for_keys_gets_those_that_are_fetched_under_other_times() {
    on_paused_time(async {
        let store = store();
        let waits = Arc::clone(&store);
        let waiting =
            tokio::task::spawn_local(async move { matches!(waits.lookup("k1").await, Lookup::Known(_)) });
        tokio::task::yield_now().await;
        let next = Arc::new(store.after(Duration::from_secs(60), Duration::from_secs(60)));
        let (task, _) = fetching(&next, |_| Ok(jwks("k1")));
        assert!(waiting.await.unwrap());
        assert!(store.is_same(&next) && !store.is_same(&self::store()));
        task.abort();
    })
    .await;
}

#[tokio::test]
async fn the_same_keys_again_keep_verified_tokens() {
    on_paused_time(async {
        let store = store();
        let (task, count) = fetching(&store, |n| Ok(if n < 2 { jwks("k1") } else { jwks("k2") }));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let first = store.generation();
        tokio::time::sleep(Duration::from_secs(310)).await;
        assert_eq!((count.load(Ordering::SeqCst), store.generation()), (2, first));
        tokio::time::sleep(Duration::from_secs(310)).await;
        assert_ne!(store.generation(), first);
        task.abort();
    })
    .await;
}

proptest! {
    /// Whatever stands in the header is no token, or one within its limit.
    #[test]
    fn any_authorization_is_a_token_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80), bearer in any::<bool>()) {
        let text = [if bearer { &b"Bearer "[..] } else { b"" }, &bytes].concat();
        if let Ok(value) = HeaderValue::from_bytes(&text) {
            let headers = http::HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
            if let Ok(Some(token)) = token(&headers, 40) {
                prop_assert!(!token.is_empty() && token.len() <= 40 && token.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }

    /// No text is taken for a token by accident, in whichever alphabet.
    #[test]
    fn any_text_is_refused_as_a_token(
        parts in prop::collection::vec(prop_oneof!["[A-Za-z0-9_-]{0,60}", "eyJ[A-Za-z0-9_-]{0,60}", "\\PC{0,20}"], 0..6),
    ) {
        let text = parts.join(".");
        let rules = Rules { issuer: None, audiences: Vec::new(), ..rules() };
        prop_assert!(check_text(&text, &rules).is_err());
    }

    /// A good token with one byte changed is none, whichever byte.
    #[test]
    fn a_good_token_with_another_byte_is_refused(at in any::<prop::sample::Index>(), byte in any::<char>()) {
        let good = sign(&header("k1"), &claims());
        let at = at.index(good.len());
        let changed = format!("{}{byte}{}", &good[..at], &good[at + 1..]);
        prop_assume!(changed != good);
        prop_assert!(check_text(&changed, &rules()).is_err(), "{changed}");
    }

    /// A set of keys is one, or is not.
    #[test]
    fn any_text_is_a_key_set_or_none(text in "\\PC{0,200}") {
        prop_assert!(KeySet::parse(text.as_bytes(), 1).is_none_or(|keys| keys.len() <= 32));
    }
}
