//! The checkout's answer: prices, keys, and what is on disk when it comes.

use std::time::Duration;

use serde_json::json;

use crate::world::{ANNA, BERT, World};

#[tokio::test]
async fn a_checkout_is_accepted_and_the_order_is_there() {
    let world = World::new().await;
    world.price("p-1", 1250, 1).await;
    world.put(ANNA, "p-1", 2).await;
    let accepted = world.checkout(ANNA, "k-1", json!({"payment_token": "tok_visa"})).await;
    let id = accepted.body["order_id"].as_str().unwrap();
    assert_eq!(accepted.status, 202);
    assert_eq!(accepted.location, Some(format!("/api/v1/orders/{id}")));
    assert_eq!(
        (&accepted.body["status"], &accepted.body["total"]["amount_minor"]),
        (&json!("placed"), &json!(2500))
    );
    let order = world.get(ANNA, &format!("/orders/{id}")).await;
    assert_eq!((order.status, &order.body["lines"][0]["unit_price"]["amount_minor"]), (200, &json!(1250)));
    assert_eq!(world.get(BERT, &format!("/orders/{id}")).await.status, 404, "nobody sees another's order");
    assert_eq!(world.get(ANNA, "/cart").await.body["lines"], json!([]), "what is ordered is out of the cart");
    let placed = world.hear("order.placed").await;
    assert_eq!((&placed["order_id"], &placed["user_id"]), (&json!(id), &json!("u-anna")));
    world.stop().await;
}

#[tokio::test]
async fn a_key_stands_for_one_checkout_for_a_day() {
    let world = World::new().await;
    world.price("p-1", 1250, 1).await;
    world.put(ANNA, "p-1", 1).await;
    let body = json!({"payment_token": "tok_visa"});
    let one = || world.checkout(ANNA, "k", body.clone());
    let racing = tokio::join!(one(), one(), one(), one());
    let first = racing.0;
    assert_eq!(first.status, 202);
    for again in [racing.1, racing.2, racing.3, one().await] {
        assert_eq!(again, first);
    }
    let other = world.checkout(ANNA, "k", json!({"payment_token": "tok_master"})).await;
    assert_eq!((other.status, other.code()), (422, "idempotency_key_reused"));

    world.put(BERT, "p-1", 1).await;
    let his = world.checkout(BERT, "k", body.clone()).await;
    assert_eq!(his.status, 202);
    assert_ne!(his.body["order_id"], first.body["order_id"], "a key is its user's own");

    world.clock.advance(Duration::from_secs(24 * 3600));
    let refused = one().await;
    assert_eq!(refused.code(), "cart_empty", "after a day it is a new checkout, of a cart that is empty");
    world.put(ANNA, "p-1", 1).await;
    assert_ne!(one().await.body["order_id"], first.body["order_id"]);
    world.stop().await;
}

#[tokio::test]
async fn a_refused_checkout_leaves_its_key_free() {
    let world = World::new().await;
    let body = json!({"payment_token": "tok_visa"});
    let empty = world.checkout(ANNA, "k", body.clone()).await;
    assert_eq!((empty.status, empty.code()), (409, "cart_empty"));
    world.price("p-1", 1250, 1).await;
    world.put(ANNA, "p-1", 1).await;
    assert_eq!(world.checkout(ANNA, "k", body).await.status, 202);
    world.stop().await;
}

#[tokio::test]
async fn a_price_that_the_client_does_not_know_is_a_409_with_the_quote() {
    let world = World::new().await;
    world.price("p-1", 1250, 1).await;
    world.put(ANNA, "p-1", 2).await;
    world.price("p-1", 1300, 2).await;
    let with = |expected: serde_json::Value| {
        let mut body = json!({"payment_token": "tok_visa"});
        body.as_object_mut().unwrap().extend(expected.as_object().unwrap().clone());
        body
    };
    let total = |minor: i64| with(json!({"expected_total": {"amount_minor": minor, "currency": "EUR"}}));
    for stale in [with(json!({})), total(2500), total(1)] {
        let refused = world.checkout(ANNA, "k", stale).await;
        assert_eq!((refused.status, refused.code()), (409, "price_changed"));
        let quote = &refused.body["quote"];
        assert_eq!(quote["total"]["amount_minor"], 2600);
        assert_eq!(quote["lines"][0]["price_when_put"]["amount_minor"], 1250);
    }
    let accepted = world.checkout(ANNA, "k", total(2600)).await;
    assert_eq!((accepted.status, &accepted.body["total"]["amount_minor"]), (202, &json!(2600)));
    world.stop().await;
}

#[tokio::test]
async fn malformed_checkouts_name_what_is_wrong() {
    let world = World::new().await;
    world.price("p-1", 1250, 1).await;
    world.put(ANNA, "p-1", 1).await;
    let body = json!({"payment_token": "tok_visa"});
    let long = "k".repeat(129);
    for key in [None, Some(long.as_str())] {
        let refused = world.call(ANNA, "POST", "/checkout", key, Some(body.clone())).await;
        assert_eq!((refused.status, refused.code()), (400, "idempotency_key_required"));
    }
    let card = world.checkout(ANNA, "k", json!({"payment_token": "4111111111111111"})).await;
    assert_eq!((card.status, &card.body["errors"][0]["field"]), (422, &json!("payment_token")));
    for wrong in [json!({}), json!({"payment_token": "tok_visa", "total": 1}), json!([])] {
        assert_eq!(world.checkout(ANNA, "k", wrong).await.status, 422);
    }
    assert_eq!(world.get(ANNA, "/orders").await.body["items"], json!([]));
    world.stop().await;
}
