//! Notifications over real HTTP and a real bus.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::Value;
use shop_contracts::orders::OrderConfirmed;
use shop_contracts::users::{Channel, UserErased, UserPreferencesChanged, UserRegistered};
use shop_contracts::{Currency, Money};
use shop_testbed::{Peer, Site, World, check_contract, eventually, user};

async fn shop() -> (World, Site, Peer) {
    let world = World::new().await;
    let users = world.peer("users").await;
    let service = shop_notifications::build(world.kit(shop_notifications::NAME).await).await.unwrap();
    let site = world.serve(service).await;
    (world, site, users)
}

fn confirmed(order: &str, of: &str) -> OrderConfirmed {
    OrderConfirmed {
        order_id: order.into(),
        user_id: of.into(),
        total: Money::new(2_500, Currency::EUR),
        payment_id: "pay-1".into(),
        shipment_id: "s-1".into(),
        tracking_code: "code".into(),
        confirmed_at_ms: 1,
    }
}

fn wish(of: &str, version: i64, channels: Vec<Channel>, language: &str) -> UserPreferencesChanged {
    UserPreferencesChanged { user_id: of.into(), channels, language: language.into(), version }
}

/// The mailbox, newest first.
async fn mailbox(site: &Site, of: &str) -> Vec<Value> {
    let page = site.get("/notifications").by(&user(of)).send().await.expect(200).json();
    page["items"].as_array().unwrap().clone()
}

/// Waits until everything told before has been handled: one consumer takes the events in their order.
async fn settled(site: &Site, users: &Peer) {
    let marker = format!("u-marker-{}", shop_contracts::UserId::generate());
    users.tell(UserRegistered { user_id: marker.as_str().into(), registered_at_ms: 1 }).await;
    eventually("the marker", async || (!mailbox(site, &marker).await.is_empty()).then_some(())).await;
}

#[tokio::test]
async fn it_keeps_to_its_table_and_its_document() {
    let (world, site, _users) = shop().await;
    check_contract(&site).await;
    world.stop().await;
}

#[tokio::test]
async fn preferences_are_honoured_and_an_older_one_does_not_override() {
    let (world, site, users) = shop().await;
    users.tell(confirmed("o-1", "u-anna")).await;
    users.tell(wish("u-anna", 2, vec![Channel::Sms, Channel::Push], "de")).await;
    users.tell(wish("u-anna", 1, vec![Channel::Email], "en")).await;
    users.tell(confirmed("o-2", "u-anna")).await;
    users.tell(wish("u-ben", 1, Vec::new(), "en")).await;
    users.tell(confirmed("o-3", "u-ben")).await;
    settled(&site, &users).await;
    let hers = mailbox(&site, "u-anna").await;
    let seen: Vec<_> = hers.iter().map(|entry| (&entry["reference"], &entry["channel"])).collect();
    let (o1, o2) = (&Value::from("o-1"), &Value::from("o-2"));
    let (email, sms, push) = (&Value::from("email"), &Value::from("sms"), &Value::from("push"));
    assert_eq!(seen, [(o2, push), (o2, sms), (o1, email)]);
    assert_eq!(hers[1]["body"], "Bestellung o-2 angenommen: 25.00 EUR.");
    assert!(mailbox(&site, "u-ben").await.is_empty(), "silence was wished for");
    world.stop().await;
}

#[tokio::test]
async fn an_event_that_comes_twice_makes_one_message() {
    let (world, site, users) = shop().await;
    users.tell(confirmed("o-1", "u-anna")).await;
    let (_, envelope) = world.heard(|told: &OrderConfirmed| told.order_id.as_str() == "o-1").await;
    world.bus().publish(vec![envelope.clone(), envelope]).await.unwrap();
    settled(&site, &users).await;
    assert_eq!(mailbox(&site, "u-anna").await.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn nobody_is_written_to_after_their_erasure() {
    let (world, site, users) = shop().await;
    users.tell(confirmed("o-1", "u-anna")).await;
    users.tell(UserErased { user_id: "u-anna".into() }).await;
    users.tell(confirmed("o-2", "u-anna")).await;
    users.tell(wish("u-anna", 9, vec![Channel::Email], "en")).await;
    users.tell(confirmed("o-3", "u-anna")).await;
    settled(&site, &users).await;
    assert!(mailbox(&site, "u-anna").await.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_mailbox_is_read_page_by_page_and_by_its_owner() {
    let (world, site, users) = shop().await;
    for number in 0..3 {
        users.tell(confirmed(&format!("o-{number}"), "u-anna")).await;
    }
    settled(&site, &users).await;
    let page = site.get("/notifications?limit=2").by(&user("u-anna")).send().await.expect(200);
    assert_eq!(page.column("reference"), ["o-2", "o-1"]);
    let next = format!("/notifications?limit=2&after={}", page.json()["next"].as_str().unwrap());
    let next = site.get(&next).by(&user("u-anna")).send().await.expect(200);
    assert_eq!((next.column("reference"), next.json().get("next").is_none()), (vec!["o-0".into()], true));
    assert!(mailbox(&site, "u-ben").await.is_empty());
    site.get("/notifications?after=x").by(&user("u-anna")).send().await.refused(400, "malformed");
    world.stop().await;
}
