//! Logins, their throttle, refresh and logout.

use std::time::Duration;

use serde_json::{Value, json};
use shop_contracts::users::TokenRevoked;

use crate::shop::{PASSWORD, claims, login, logout, refresh, register, session, shop};

const EMAIL: &str = "anna@shop.example";

fn token_id(claims: &Value) -> Option<String> {
    claims["jti"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_login_gives_a_token_that_the_published_keys_confirm() {
    let (world, site) = shop().await;
    let anna = register(&site, EMAIL).await;
    let tokens = session(&site, " ANNA@shop.example").await;
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&"Bearer".into(), &900.into()));
    let claims = claims(&site, &tokens).await.unwrap();
    assert_eq!((claims["sub"].as_str(), &claims["role"]), (Some(&*anna.id), &"customer".into()));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
    assert!(!claims.to_string().contains('@'), "no address in a token: {claims}");
    world.stop().await;
}

#[tokio::test]
async fn an_unknown_address_is_answered_as_a_wrong_password_is() {
    let (world, site) = shop().await;
    register(&site, EMAIL).await;
    for _ in 0..5 {
        let wrong = login(&site, EMAIL, "wrong password").await.refused(401, "credentials_wrong");
        let unknown =
            login(&site, "nobody@shop.example", "wrong password").await.refused(401, "credentials_wrong");
        assert_eq!(wrong.body, unknown.body);
    }
    for email in [EMAIL, "nobody@shop.example"] {
        login(&site, email, "wrong password").await.refused(429, "login_throttled");
    }
    world.stop().await;
}

#[tokio::test]
async fn too_many_wrong_passwords_pause_the_account_and_no_other() {
    let (world, site) = shop().await;
    register(&site, EMAIL).await;
    register(&site, "ben@shop.example").await;
    for _ in 0..5 {
        login(&site, EMAIL, "wrong password").await.refused(401, "credentials_wrong");
    }
    let paused = login(&site, EMAIL, PASSWORD).await.refused(429, "login_throttled");
    assert_eq!(paused.header("retry-after"), Some("2"));
    login(&site, "ben@shop.example", PASSWORD).await.expect(200);

    world.clock().advance(Duration::from_secs(3));
    login(&site, EMAIL, "wrong password").await.refused(401, "credentials_wrong");
    let longer = login(&site, EMAIL, PASSWORD).await.refused(429, "login_throttled");
    assert_eq!(longer.header("retry-after"), Some("4"));

    world.clock().advance(Duration::from_secs(5));
    login(&site, EMAIL, PASSWORD).await.expect(200);
    for _ in 0..4 {
        login(&site, EMAIL, "wrong password").await.refused(401, "credentials_wrong");
    }
    login(&site, EMAIL, PASSWORD).await.expect(200);
    world.stop().await;
}

#[tokio::test]
async fn guesses_side_by_side_are_no_more_than_guesses_in_a_row() {
    let (world, site) = shop().await;
    register(&site, EMAIL).await;
    let guesses = (0..12).map(|_| login(&site, EMAIL, "wrong password"));
    let answers = futures_util::future::join_all(guesses).await;
    let looked_at = answers.iter().filter(|answer| answer.code() == "credentials_wrong").count();
    assert_eq!(looked_at, 5);
    assert!(answers.iter().all(|answer| [401, 429].contains(&answer.status.as_u16())));
    world.stop().await;
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_keeps_the_session() {
    let (world, site) = shop().await;
    register(&site, EMAIL).await;
    let first = session(&site, EMAIL).await;
    let second = refresh(&site, &first).await.expect(200).json();
    let third = refresh(&site, &second).await.expect(200).json();
    let (one, three) = (claims(&site, &first).await.unwrap(), claims(&site, &third).await.unwrap());
    assert_eq!(one["sid"], three["sid"]);
    assert_ne!(one["jti"], three["jti"]);
    refresh(&site, &json!({ "refresh_token": "never issued" })).await.refused(401, "refresh_refused");
    world.clock().advance(Duration::from_secs(31 * 24 * 60 * 60));
    refresh(&site, &third).await.refused(401, "refresh_refused");
    world.stop().await;
}

#[tokio::test]
async fn a_refresh_token_used_twice_ends_the_session_and_no_other() {
    let (world, site) = shop().await;
    let anna = register(&site, EMAIL).await;
    let (stolen, other) = (session(&site, EMAIL).await, session(&site, EMAIL).await);
    let next = refresh(&site, &stolen).await.expect(200).json();
    refresh(&site, &stolen).await.refused(401, "refresh_refused");
    refresh(&site, &next).await.refused(401, "refresh_refused");
    for tokens in [&stolen, &next] {
        let id = token_id(&claims(&site, tokens).await.unwrap());
        let (told, _) = world.heard(|told: &TokenRevoked| told.token_id == id).await;
        assert_eq!(told.user_id.as_str(), &*anna.id);
    }
    refresh(&site, &other).await.expect(200);
    assert_eq!(world.said::<TokenRevoked>().len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn a_logout_revokes_the_tokens_of_its_session_that_still_live() {
    let (world, site) = shop().await;
    register(&site, EMAIL).await;
    let first = session(&site, EMAIL).await;
    let over = token_id(&claims(&site, &first).await.unwrap());
    world.clock().advance(Duration::from_secs(16 * 60));
    let second = refresh(&site, &first).await.expect(200).json();
    let alive = token_id(&claims(&site, &second).await.unwrap());
    logout(&site, &second).await.expect(204);
    let (told, _) = world.heard(|told: &TokenRevoked| told.token_id == alive).await;
    assert!(told.expires_at_ms >= told.revoked_at_ms + 900_000, "{told:?}");
    assert!(world.said::<TokenRevoked>().iter().all(|told| told.token_id != over));
    refresh(&site, &second).await.refused(401, "refresh_refused");
    logout(&site, &second).await.expect(204);
    assert_eq!(world.said::<TokenRevoked>().len(), 1);
    world.stop().await;
}
