//! Registration, profile, preferences, erasure.

use serde_json::json;
use shop_contracts::users::{Channel, TokenRevoked, UserErased, UserPreferencesChanged, UserRegistered};
use shop_testbed::user;

use crate::shop::{PASSWORD, login, open, refresh, register, session, shop};

const EMAIL: &str = "anna@shop.example";

#[tokio::test]
async fn a_registration_is_told_and_an_address_is_taken_once() {
    let (world, site) = shop().await;
    let anna = register(&site, EMAIL).await;
    world.heard(|told: &UserRegistered| told.user_id.as_str() == &*anna.id).await;
    let again = json!({ "email": " ANNA@shop.example ", "password": PASSWORD, "name": "Anna" });
    site.post("/auth/register").json(&again).send().await.refused(409, "account_exists");
    let profile = site.get("/users/me").by(&anna).send().await.expect(200).json();
    assert_eq!((&profile["email"], &profile["role"]), (&EMAIL.into(), &"customer".into()));
    assert!(profile.get("password").is_none());
    world.stop().await;
}

#[tokio::test]
async fn every_mistake_of_a_registration_is_named() {
    let (world, site) = shop().await;
    let wrong = json!({ "email": "no address", "password": "short", "name": " " });
    let answer = site.post("/auth/register").json(&wrong).send().await.refused(422, "invalid").json();
    let fields: Vec<_> =
        answer["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!(fields, ["email", "password", "name"]);
    assert!(!answer.to_string().contains("short"), "a password is never said back");
    world.stop().await;
}

#[tokio::test]
async fn a_profile_is_changed_by_its_owner_alone() {
    let (world, site) = shop().await;
    let (anna, ben) = (register(&site, EMAIL).await, register(&site, "ben@shop.example").await);
    let renamed =
        site.patch("/users/me").by(&anna).json(&json!({ "name": " Anna B. " })).send().await.expect(200);
    assert_eq!(renamed.json()["name"], "Anna B.");
    assert_eq!(site.get("/users/me").by(&ben).send().await.expect(200).json()["name"], "Anna");
    site.patch("/users/me").by(&anna).json(&json!({ "name": "" })).send().await.refused(422, "invalid");
    site.get("/users/me").by(&user("u-nobody")).send().await.refused(404, "not_found");
    world.stop().await;
}

#[tokio::test]
async fn preferences_are_kept_and_told_with_a_growing_version() {
    let (world, site) = shop().await;
    let anna = register(&site, EMAIL).await;
    let path = "/users/me/preferences";
    let first = site.get(path).by(&anna).send().await.expect(200).json();
    assert_eq!(first, json!({ "channels": ["email"], "language": "en" }));
    for (version, channels) in [(1, json!(["sms", "push"])), (2, json!([]))] {
        let wanted = json!({ "channels": channels, "language": "de" });
        site.put(path).by(&anna).json(&wanted).send().await.expect(200);
        assert_eq!(site.get(path).by(&anna).send().await.expect(200).json(), wanted);
        let (told, _) = world.heard(|told: &UserPreferencesChanged| told.version == version).await;
        assert_eq!((told.channels.len(), &*told.language), (channels.as_array().unwrap().len(), "de"));
        assert!(told.channels.iter().all(|channel| *channel != Channel::Email));
    }
    for wrong in
        [json!({ "channels": ["sms", "sms"], "language": "de" }), json!({ "channels": [], "language": "DE" })]
    {
        site.put(path).by(&anna).json(&wrong).send().await.refused(422, "invalid");
    }
    let unknown = json!({ "channels": ["fax"], "language": "de" });
    site.put(path).by(&anna).json(&unknown).send().await.refused(422, "invalid");
    world.stop().await;
}

#[tokio::test]
async fn erasure_leaves_nothing_that_names_the_person() {
    let (world, site) = shop().await;
    let anna = register(&site, EMAIL).await;
    let tokens = session(&site, EMAIL).await;
    login(&site, EMAIL, "wrong password").await.refused(401, "credentials_wrong");
    let wanted = json!({ "channels": ["sms"], "language": "de" });
    site.put("/users/me/preferences").by(&anna).json(&wanted).send().await.expect(200);

    site.delete("/users/me").by(&anna).send().await.expect(204);
    world.heard(|erased: &UserErased| erased.user_id.as_str() == &*anna.id).await;
    let all_of_hers = |told: &TokenRevoked| told.user_id.as_str() == &*anna.id && told.token_id.is_none();
    world.heard(all_of_hers).await;

    refresh(&site, &tokens).await.refused(401, "refresh_refused");
    login(&site, EMAIL, PASSWORD).await.refused(401, "credentials_wrong");
    // Her assertion may live on for a minute, and must write nothing.
    for answer in [
        site.get("/users/me").by(&anna).send().await,
        site.patch("/users/me").by(&anna).json(&json!({ "name": "Anna" })).send().await,
        site.put("/users/me/preferences").by(&anna).json(&wanted).send().await,
        site.delete("/users/me").by(&anna).send().await,
    ] {
        answer.refused(404, "not_found");
    }
    // The address is free again, for a new account that knows nothing of the old one.
    let again = register(&site, EMAIL).await;
    assert_ne!(again.id, anna.id);
    let fresh = site.get("/users/me/preferences").by(&again).send().await.expect(200).json();
    assert_eq!(fresh["channels"], json!(["email"]));
    world.stop().await;
}

#[tokio::test]
async fn first_accounts_are_made_once() {
    let (world, site) = shop().await;
    let anna = register(&site, EMAIL).await;
    world.halt(shop_users::NAME).await;
    let site = open(&world).await;
    let admin = shop_testbed::everything(&site, "u-admin");
    assert_eq!(site.get("/users").by(&admin).send().await.expect(200).column("user_id").len(), 2);
    assert_eq!(site.get("/users/me").by(&anna).send().await.expect(200).json()["email"], EMAIL);
    world.stop().await;
}
