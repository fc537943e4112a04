//! What becomes of an order: confirmed, or cancelled with nothing left behind.

use serde_json::json;
use shop_contracts::expectations;

use crate::world::{ANNA, Who, World};

#[tokio::test]
async fn a_happy_order_is_confirmed() {
    let world = World::new().await;
    let id = world.confirmed(ANNA, "k", "tok_visa").await;
    let order = world.get(ANNA, &format!("/orders/{id}")).await.body;
    assert_eq!(
        (&order["status"], &order["tracking_code"], &order["invoice_number"]),
        (&json!("confirmed"), &json!("LW-1"), &json!(1))
    );
    assert_eq!(world.handled(&id), ["reserve", "ship"]);
    assert_eq!(world.ledger().await, ["authorise approved", "capture approved"]);
    world.history_says(ANNA, &id, "confirmed").await;
    let history = world.get(ANNA, "/orders").await.body;
    let entry = &history["items"][0];
    assert_eq!(
        (&entry["order_id"], &entry["status"], &entry["items"]),
        (&json!(id), &json!("confirmed"), &json!(2))
    );
    world.stop().await;
}

#[tokio::test]
async fn a_declined_card_cancels_the_order_and_frees_its_stock() {
    let world = World::new().await;
    let id = world.order(ANNA, "k", "tok_decline").await;
    let cancelled = world.hear("order.cancelled").await;
    assert_eq!((&cancelled["order_id"], &cancelled["reason"]["code"]), (&json!(id), &json!("card_declined")));
    let order = world.get(ANNA, &format!("/orders/{id}")).await.body;
    assert_eq!(
        (&order["status"], &order["cancelled"]["code"]),
        (&json!("cancelled"), &json!("card_declined"))
    );
    assert_eq!(world.handled(&id), ["reserve", "release"]);
    assert_eq!(world.ledger().await, ["authorise declined"]);
    world.stop().await;
}

#[tokio::test]
async fn a_refused_capture_undoes_all_before_it_and_cancels_the_order() {
    let world = World::new().await;
    let id = world.order(ANNA, "k", "tok_nocapture").await;
    let cancelled = world.hear("order.cancelled").await;
    assert_eq!(
        (&cancelled["order_id"], &cancelled["reason"]["code"]),
        (&json!(id), &json!("capture_refused"))
    );
    let order = world.get(ANNA, &format!("/orders/{id}")).await.body;
    assert_eq!(
        (&order["status"], &order["cancelled"]["code"]),
        (&json!("cancelled"), &json!("capture_refused"))
    );
    assert_eq!(order["invoice_number"], json!(null));
    assert_eq!(world.ledger().await, ["authorise approved", "capture refused", "void approved"]);
    assert_eq!(world.handled(&id), ["reserve", "release"]);
    world.history_says(ANNA, &id, "cancelled").await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_out_of_stock_is_never_charged() {
    let world = World::new().await;
    world.script.lock().out_of_stock = true;
    let id = world.order(ANNA, "k", "tok_visa").await;
    let cancelled = world.hear("order.cancelled").await;
    assert_eq!(cancelled["reason"]["code"], "out_of_stock");
    assert_eq!(cancelled["reason"]["detail"], "p-1: 2 wanted, 0 left");
    assert_eq!(world.handled(&id).first(), Some(&"reserve"));
    assert!(!world.handled(&id).contains(&"ship"));
    assert!(world.ledger().await.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn the_history_is_paged_newest_first() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for key in ["k-1", "k-2", "k-3", "k-4", "k-5"] {
        ids.push(world.confirmed(ANNA, key, "tok_visa").await);
    }
    world.history_says(ANNA, ids.last().unwrap(), "confirmed").await;
    let (mut path, mut seen) = (String::from("/orders?limit=2"), Vec::new());
    loop {
        let page = world.get(ANNA, &path).await.body;
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|it| it["order_id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/orders?limit=2&after={next}");
    }
    ids.reverse();
    assert_eq!(seen, ids);
    world.stop().await;
}

#[tokio::test]
async fn the_history_is_built_again_from_the_log() {
    let world = World::new().await;
    let confirmed = world.confirmed(ANNA, "k-1", "tok_visa").await;
    let cancelled = world.order(ANNA, "k-2", "tok_decline").await;
    world.hear("order.cancelled").await;
    world.history_says(ANNA, &cancelled, "cancelled").await;
    let before = world.get(ANNA, "/orders").await.body;
    assert_eq!(before["items"][1]["order_id"], confirmed);

    let path = "/_leeward/projections/orders.history/rebuild";
    assert_eq!(world.call(ANNA, "POST", path, None, Some(json!({}))).await.status, 403);
    let report = world.call(Who::Operator, "POST", path, None, Some(json!({}))).await;
    assert_eq!((report.status, &report.body["swapped"]), (200, &json!(true)), "{report:?}");
    assert_eq!((&report.body["events"], &report.body["equal"]), (&json!(4), &json!(true)), "{report:?}");
    assert_eq!(world.get(ANNA, "/orders").await.body, before);

    let third = world.confirmed(ANNA, "k-3", "tok_visa").await;
    world.history_says(ANNA, &third, "confirmed").await;
    assert_eq!(world.get(ANNA, "/orders").await.body["items"].as_array().unwrap().len(), 3);
    world.stop().await;
}

#[tokio::test]
async fn the_consumers_of_events_get_what_they_expect() {
    let world = World::new().await;
    world.confirmed(ANNA, "k-1", "tok_visa").await;
    world.order(ANNA, "k-2", "tok_decline").await;
    world.order(ANNA, "k-3", "tok_visa").await;
    let mut met = 0;
    for event in expectations::events(&["order."]).unwrap() {
        let data = world.hear(&event.kind).await;
        assert_eq!(expectations::mismatch(&event.data, &data), None, "{}", event.kind);
        met += 1;
    }
    assert_eq!(met, 3);
    world.stop().await;
}
