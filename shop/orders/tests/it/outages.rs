//! Others are down, slow or lose replies: the checkout is accepted all the same, and the order comes to its end.

use leeward_discovery::Endpoint;
use serde_json::json;

use crate::world::{ANNA, World};

#[tokio::test]
async fn payments_down_delays_an_order_and_no_more() {
    let world = World::new().await;
    world.directory.clear("payments");
    let id = world.order(ANNA, "k", "tok_visa").await;
    while world.handled(&id).is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.get(ANNA, &format!("/orders/{id}")).await.body["status"], "placed");
    world.directory.set("payments", [Endpoint::from(world.payments)]);
    assert_eq!(world.hear("order.confirmed").await["order_id"], id);
    assert_eq!(world.ledger().await, ["authorise approved", "capture approved"]);
    world.stop().await;
}

#[tokio::test]
async fn a_provider_that_loses_replies_charges_once() {
    let world = World::new().await;
    world.faults(json!({"lost_reply_rate": 1.0})).await;
    let id = world.order(ANNA, "k", "tok_visa").await;
    while world.ledger().await.is_empty() {
        tokio::task::yield_now().await;
    }
    world.faults(json!({})).await;
    assert_eq!(world.hear("order.confirmed").await["order_id"], id);
    assert_eq!(world.ledger().await, ["authorise approved", "capture approved"]);
    world.stop().await;
}

#[tokio::test]
async fn a_shipment_after_the_pivot_is_waited_for() {
    let world = World::new().await;
    world.script.lock().deaf_to = Some("ship");
    let id = world.order(ANNA, "k", "tok_visa").await;
    while world.ledger().await.len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.get(ANNA, &format!("/orders/{id}")).await.body["status"], "placed");
    world.script.lock().deaf_to = None;
    assert_eq!(world.hear("order.confirmed").await["order_id"], id);
    assert_eq!(world.handled(&id), ["reserve", "ship"]);
    world.stop().await;
}
