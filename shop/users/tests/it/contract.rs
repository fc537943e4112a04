//! What every service owes, and what this one's consumers expect.

use serde_json::json;
use shop_contracts::expectations::{GATEWAY_OF_USERS, Saved};
use shop_testbed::{check_contract, check_events, check_expectations};

use crate::shop::{login, logout, register, session, shop};

#[tokio::test]
async fn it_keeps_to_its_table_and_its_document() {
    let (world, site) = shop().await;
    check_contract(&site).await;
    let gateway = world.peer("edge").await;
    check_expectations(&site, GATEWAY_OF_USERS, &gateway, &Saved::default()).await;
    world.stop().await;
}

#[tokio::test]
async fn its_events_are_what_others_read() {
    let (world, site) = shop().await;
    let anna = register(&site, "anna@shop.example").await;
    let wanted = json!({ "channels": ["sms"], "language": "de" });
    site.put("/users/me/preferences").by(&anna).json(&wanted).send().await.expect(200);
    logout(&site, &session(&site, "anna@shop.example").await).await.expect(204);
    site.delete("/users/me").by(&anna).send().await.expect(204);
    assert_eq!(check_events(&world, &["user.", "token."]).await, 4);
    world.stop().await;
}

#[tokio::test]
async fn no_event_names_a_person() {
    let (world, site) = shop().await;
    let anna = register(&site, "anna.secret@shop.example").await;
    login(&site, "anna.secret@shop.example", "wrong password").await.refused(401, "credentials_wrong");
    let tokens = session(&site, "anna.secret@shop.example").await;
    logout(&site, &tokens).await.expect(204);
    site.delete("/users/me").by(&anna).send().await.expect(204);
    world.heard(|erased: &shop_contracts::users::UserErased| erased.user_id.as_str() == &*anna.id).await;
    let said = world.envelopes();
    assert!(said.len() >= 4);
    for envelope in said {
        let text = String::from_utf8(envelope.to_json().unwrap()).unwrap();
        assert!(!text.contains('@') && !text.contains("secret") && !text.contains("Anna"), "{text}");
    }
    world.stop().await;
}
