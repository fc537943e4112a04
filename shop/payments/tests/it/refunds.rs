//! Goods are back on the shelf: the money goes back, or it is said why not.

use serde_json::json;
use shop_contracts::inventory::{StockLine, StockReturned};
use shop_contracts::{Currency, Money};

use crate::world::{Who, World};

fn returned(id: &str, order: &str, amount_minor: i64) -> StockReturned {
    StockReturned {
        return_id: id.into(),
        order_id: order.into(),
        user_id: "u-anna".into(),
        lines: vec![StockLine { product_id: "p-1".into(), quantity: 1 }],
        refund: Money::new(amount_minor, Currency::EUR),
    }
}

async fn refunded_minor(world: &World, payment_id: &str) -> i64 {
    let (status, payment) =
        world.call(&Who::User("u-anna"), "GET", &format!("/payments/{payment_id}"), None, None).await;
    assert_eq!(status, 200);
    payment["refunded"]["amount_minor"].as_i64().unwrap()
}

#[tokio::test]
async fn money_goes_back_once_and_never_more_than_was_taken() {
    let world = World::new().await;
    let id = world.captured("o-1", "tok_visa").await;
    world.tell(returned("r-1", "o-1", 1000)).await;
    world.tell(returned("r-1", "o-1", 1000)).await;
    let event = world.hear("payment.refunded").await;
    assert_eq!((&event["return_id"], &event["amount"]["amount_minor"]), (&json!("r-1"), &json!(1000)));
    assert_eq!(refunded_minor(&world, &id).await, 1000);

    world.tell(returned("r-2", "o-1", 1501)).await;
    let event = world.hear("payment.refund_refused").await;
    assert_eq!((&event["return_id"], &event["code"]), (&json!("r-2"), &json!("exceeds_captured")));
    world.tell(returned("r-3", "o-1", 1500)).await;
    assert_eq!(world.hear("payment.refunded").await["return_id"], "r-3", "and r-1 was refunded once");
    assert_eq!(refunded_minor(&world, &id).await, 2500);
    let refunds = world.ledger().await.iter().filter(|(kind, _)| kind == "refund").count();
    assert_eq!(refunds, 2);
    world.stop().await;
}

#[tokio::test]
async fn a_refund_that_the_provider_refuses_is_told_and_can_be_tried_in_another_return() {
    let world = World::new().await;
    let id = world.captured("o-1", "tok_norefund").await;
    for return_id in ["r-1", "r-2"] {
        world.tell(returned(return_id, "o-1", 2500)).await;
        let event = world.hear("payment.refund_refused").await;
        assert_eq!((&event["return_id"], &event["code"]), (&json!(return_id), &json!("refund_refused")));
    }
    assert_eq!(refunded_minor(&world, &id).await, 0);
    world.stop().await;
}

#[tokio::test]
async fn what_was_not_taken_is_not_given_back() {
    let world = World::new().await;
    world.authorise("o-1", "tok_visa").await;
    world.tell(returned("r-1", "o-1", 1)).await;
    assert_eq!(world.hear("payment.refund_refused").await["code"], "no_payment");
    world.stop().await;
}

#[tokio::test]
async fn a_refund_survives_an_outage_of_the_provider() {
    let world = World::new().await;
    world.captured("o-1", "tok_visa").await;
    world.faults(json!({"lost_reply_rate": 1.0})).await;
    world.tell(returned("r-1", "o-1", 2500)).await;
    while !world.ledger().await.iter().any(|(kind, _)| kind == "refund") {
        tokio::task::yield_now().await;
    }
    world.faults(json!({})).await;
    assert_eq!(world.hear("payment.refunded").await["return_id"], "r-1");
    assert_eq!(world.ledger().await.iter().filter(|(kind, _)| kind == "refund").count(), 1);
    world.stop().await;
}
