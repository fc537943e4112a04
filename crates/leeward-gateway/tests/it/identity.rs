//! Tokens: good, bad, expired, unsigned, of another key; rules of routes; what services are told.

use std::sync::atomic::Ordering;

use leeward_service::identity::Identity;
use serde_json::json;

use crate::rig::{Rig, Upstream, claims, now_s, token, token_with};

async fn rig() -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "services:\n  users:\n    urls: [\"{}\"]\n\
         jwt: {{service: users, issuer: users, audience: shop, leeway: 0s}}\nroutes:\n  \
         - {{path: /open, service: users}}\n  \
         - {{path: /mine, service: users, access: user}}\n  \
         - {{path: /logout, service: users, access: user, forward_token: true}}\n  \
         - {{path: /admin, service: users, access: \"role:admin\"}}\n",
        upstream.url()
    );
    let identity = Identity::ephemeral("gateway").unwrap();
    (Rig::with(&yaml, |builder| builder.identity(identity)).await, upstream)
}

#[tokio::test]
async fn a_good_token_is_passed_on_as_an_assertion() {
    let (rig, _upstream) = rig().await;
    let answer = rig.get_as(&token("u1", "customer"), "/mine").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.seen("x-user-id"), "u1");
    assert_eq!(answer.seen("x-user-role"), "customer");
    assert!(answer.seen("x-user-context").contains("cart:write"));
    assert_eq!(answer.seen("authorization"), "", "the user's token stays here");
    let assertion = answer.seen("x-leeward-assertion");
    assert_eq!(assertion.split('.').count(), 3);
    let again = rig.get_as(&token("u1", "customer"), "/mine").await;
    assert_eq!(again.seen("x-leeward-assertion"), assertion, "made once, used again");
    let other = rig.get_as(&token("u2", "customer"), "/mine").await;
    assert_ne!(other.seen("x-leeward-assertion"), assertion);
    assert!(
        rig.get_as(&token("u1", "customer"), "/logout").await.seen("authorization").starts_with("Bearer ")
    );
    let keys = rig.send(rig.admin("GET", "/.well-known/leeward-keys"), "").await;
    assert_eq!((keys.status, keys.json()["keys"][0]["crv"].as_str()), (200, Some("Ed25519")));
}

#[tokio::test]
async fn a_bad_token_is_refused_and_reaches_no_service() {
    let (rig, upstream) = rig().await;
    let good = token("u1", "customer");
    let (head, signature) = good.rsplit_once('.').unwrap();
    let payload = head.split_once('.').unwrap().1;
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = claims("u1", "customer");
        claims[name] = value;
        token_with("k1", &claims)
    };
    for (name, token, code) in [
        ("expired", with("exp", json!(now_s() - 1)), "token_expired"),
        ("not yet", with("nbf", json!(now_s() + 60)), "token_invalid"),
        ("another issuer", with("iss", json!("somebody")), "token_invalid"),
        ("another audience", with("aud", json!("other")), "token_invalid"),
        ("another key", token_with("k2", &claims("u1", "customer")), "token_invalid"),
        ("alg none", format!("eyJhbGciOiJub25lIiwia2lkIjoiazEifQ.{payload}."), "token_invalid"),
        (
            "alg none, signed",
            format!("eyJhbGciOiJub25lIiwia2lkIjoiazEifQ.{payload}.{signature}"),
            "token_invalid",
        ),
        ("alg HS256", format!("eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.{payload}.{signature}"), "token_invalid"),
        ("cut", head.to_owned(), "token_invalid"),
        ("no token", "nonsense".to_owned(), "token_invalid"),
        ("very long", "a".repeat(9_000), "token_invalid"),
    ] {
        let answer = rig.get_as(&token, "/mine").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, code), "{name}");
        assert!(answer.header("www-authenticate").contains("invalid_token"), "{name}");
    }
    let answer = rig.get("/mine").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"));
    let two = rig
        .request("GET", "/mine")
        .header("authorization", format!("Bearer {good}"))
        .header("authorization", "Bearer x");
    assert_eq!(rig.send(two, "").await.status, 401);
    assert_eq!(upstream.hits(), 0);
    assert_eq!(rig.get_as(&good, "/mine").await.status, 200);
}

#[tokio::test]
async fn a_token_ends_although_it_was_verified_before() {
    let (rig, _upstream) = rig().await;
    let mut short = claims("u1", "customer");
    short["exp"] = json!(now_s() + 2);
    let token = token_with("k1", &short);
    assert_eq!(rig.get_as(&token, "/mine").await.status, 200);
    rig.until("the token ends", async || rig.get_as(&token, "/mine").await.status == 401).await;
}

#[tokio::test]
async fn routes_say_who_may() {
    let (rig, upstream) = rig().await;
    assert_eq!(rig.get("/admin").await.status, 401);
    let answer = rig.get_as(&token("u1", "customer"), "/admin").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"));
    assert_eq!(upstream.hits(), 0);
    assert_eq!(rig.get_as(&token("boss", "admin"), "/admin").await.status, 200);
    // The same canonical path is authorised that is forwarded.
    let raw = rig.raw(b"GET /open/../admin HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(raw.starts_with("HTTP/1.1 401"), "{raw}");
    assert_eq!(rig.get("/open").await.seen("x-user-id"), "");
    assert_eq!(rig.get_as("nonsense", "/open").await.status, 200, "anyone means anyone");
    assert_eq!(rig.get_as(&token("u1", "customer"), "/open").await.seen("x-user-id"), "u1");
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it() {
    let (rig, upstream) = rig().await;
    let fetches = || upstream.controls.key_fetches.load(Ordering::SeqCst);
    assert_eq!(rig.get_as(&token("u1", "customer"), "/mine").await.status, 200);
    let before = fetches();
    "k2".clone_into(&mut upstream.controls.kid.lock());
    let rotated = token_with("k2", &claims("u1", "customer"));
    assert_eq!(rig.get_as(&rotated, "/mine").await.status, 200);
    assert_eq!(fetches(), before + 1);
    assert_eq!(rig.get_as(&token("u1", "customer"), "/mine").await.status, 401, "the old key was withdrawn");
}

#[tokio::test]
async fn routes_ask_for_scopes_and_claims() {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "services:\n  users:\n    urls: [\"{}\"]\njwt: {{service: users}}\nroutes:\n  \
         - {{path: /read, service: users, access: \"scope:orders:read,orders:write\"}}\n  \
         - {{path: /tenant, service: users, access: \"claim:tenant.id=7,8\"}}\n  \
         - {{path: /both, service: users, access: [\"role:admin\", \"scope:orders:write\"]}}\n",
        upstream.url()
    );
    let rig = Rig::start(&yaml).await;
    let with = |scope: &str, tenant: i64, role: &str| {
        let mut claims = claims("u1", role);
        claims["jti"] = json!(format!("{scope} {tenant} {role}"));
        claims["scope"] = json!(scope);
        claims["tenant"] = json!({"id": tenant});
        token_with("k1", &claims)
    };
    for (path, token, status) in [
        ("/read", with("profile orders:read", 7, "customer"), 200),
        ("/read", with("orders:reader", 7, "admin"), 403),
        ("/read", with("", 7, "admin"), 403),
        ("/tenant", with("", 8, "customer"), 200),
        ("/tenant", with("", 78, "customer"), 403),
        ("/both", with("orders:write", 1, "admin"), 200),
        ("/both", with("orders:write", 1, "customer"), 403),
        ("/both", with("orders:read", 1, "admin"), 403),
    ] {
        assert_eq!(rig.get_as(&token, path).await.status, status, "{path} {token}");
    }
    assert_eq!(rig.get("/both").await.status, 401);
}

#[tokio::test]
async fn keys_are_fetched_from_a_url_and_the_issuer_picks_them() {
    let (upstream, provider) = (Upstream::start().await, Upstream::start().await);
    "idp-1".clone_into(&mut provider.controls.kid.lock());
    let yaml = format!(
        "services:\n  users:\n    urls: [\"{}\"]\njwt:\n  - {{service: users, issuer: users}}\n  \
         - {{url: \"{}/.well-known/jwks.json\", issuer: \"https://idp\", prefix: \"idp:\"}}\n\
         routes:\n  - {{path: /mine, service: users, access: user}}\n",
        upstream.url(),
        provider.url()
    );
    let rig = Rig::start(&yaml).await;
    let of = |issuer: &str, kid: &str| {
        let mut claims = claims("u1", "customer");
        claims["iss"] = json!(issuer);
        token_with(kid, &claims)
    };
    assert_eq!(rig.get_as(&of("users", "k1"), "/mine").await.seen("x-user-id"), "u1");
    assert_eq!(rig.get_as(&of("https://idp", "idp-1"), "/mine").await.seen("x-user-id"), "idp:u1");
    // A key of one issuer is none of the other, though it is the same key here.
    assert_eq!(rig.get_as(&of("https://idp", "k1"), "/mine").await.status, 401);
    assert_eq!(rig.get_as(&of("users", "idp-1"), "/mine").await.status, 401);
    assert_eq!(rig.get_as(&of("https://other", "k1"), "/mine").await.status, 401);
    // The keys of one change: what was remembered of both is checked again.
    "idp-2".clone_into(&mut provider.controls.kid.lock());
    assert_eq!(rig.get_as(&of("https://idp", "idp-2"), "/mine").await.status, 200);
    assert_eq!(rig.get_as(&of("https://idp", "idp-1"), "/mine").await.status, 401);
    assert_eq!(rig.get_as(&of("users", "k1"), "/mine").await.status, 200);
}
