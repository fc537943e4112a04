//! Signing keys and their rotation.

use std::time::Duration;

use shop_testbed::{Site, everything};

use crate::shop::{claims, open, register, session, shop};

const EMAIL: &str = "anna@shop.example";

async fn kids(site: &Site) -> Vec<String> {
    let keys = site.get("/.well-known/jwks.json").send().await.expect(200).json();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_rotation_changes_the_signer_and_keeps_old_tokens_good() {
    let (world, site) = shop().await;
    register(&site, EMAIL).await;
    let before = session(&site, EMAIL).await;
    let old = kids(&site).await;
    let admin = everything(&site, "u-admin");
    let rotated = site.post("/users/keys/rotate").by(&admin).send().await.expect(200).json();
    let now = kids(&site).await;
    assert_eq!(now, [rotated["kid"].as_str().unwrap(), &old[0]]);
    let after = session(&site, EMAIL).await;
    let kid = jsonwebtoken::decode_header(after["access_token"].as_str().unwrap()).unwrap().kid;
    assert_eq!(kid.as_deref(), Some(&*now[0]));
    assert!(claims(&site, &before).await.is_some() && claims(&site, &after).await.is_some());

    world.clock().advance(Duration::from_secs(31 * 60));
    assert_eq!(kids(&site).await, [now[0].clone()], "no token of the old key lives any more");
    assert!(claims(&site, &before).await.is_none());
    world.stop().await;
}

#[tokio::test]
async fn keys_outlive_a_restart_and_private_halves_stay_inside() {
    let (world, site) = shop().await;
    let published = site.get("/.well-known/jwks.json").send().await.expect(200);
    for key in published.json()["keys"].as_array().unwrap() {
        assert!(key.get("d").is_none() && key["kty"] == "OKP" && key["crv"] == "Ed25519", "{key}");
    }
    let before = kids(&site).await;
    world.halt(shop_users::NAME).await;
    assert_eq!(kids(&open(&world).await).await, before);
    world.stop().await;
}
