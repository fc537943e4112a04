//! What becomes of an order: confirmed, or cancelled with nothing left behind.

use serde_json::{Value, json};
use shop_contracts::expectations;

use crate::world::{ANNA, BERT, Who, World};

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

/// The check of the history, and whether orders takes requests.
async fn check(world: &World) -> (Value, u16) {
    let look = async || world.get(Who::Operator, "/_leeward/health").await.body["checks"].clone();
    let of = |checks: &Value| {
        checks.as_array().unwrap().iter().find(|check| check["name"] == "orders.history").cloned().unwrap()
    };
    world.until(async || !of(&look().await)["age_ms"].is_null()).await;
    (of(&look().await)["state"].clone(), world.get(Who::Nobody, "/health/ready").await.status)
}

#[tokio::test]
async fn the_history_is_built_again_from_the_orders_where_the_log_is_cut() {
    let world = World::new().await;
    world.confirmed(ANNA, "k-1", "tok_visa").await;
    let cancelled = world.order(ANNA, "k-2", "tok_decline").await;
    world.hear("order.cancelled").await;
    world.history_says(ANNA, &cancelled, "cancelled").await;
    let before = world.get(ANNA, "/orders").await.body;

    // More of them than one page of the snapshot.
    let mut world = world
        .again(
            "INSERT INTO orders (id, user_id, status, lines, total_minor, currency, placed_at_ms, updated_at_ms)
             WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 120)
             SELECT printf('0-%03d', n), 'u-bert', 'placed', '[]', n, 'EUR', n, n FROM number",
        )
        .await;
    for cut in [
        "DELETE FROM outbox WHERE seq <= 3; UPDATE projection SET fingerprint = 0; DELETE FROM order_history",
        "DELETE FROM outbox WHERE seq < (SELECT MAX(seq) FROM outbox); UPDATE projection SET fingerprint = 0;
         DELETE FROM order_history",
    ] {
        world = world.again(cut).await;
        assert_eq!(check(&world).await, (json!("up"), 200), "{cut}");
        assert_eq!(world.get(ANNA, "/orders").await.body, before, "{cut}");
        let others = world.get(BERT, "/orders?limit=100").await.body;
        let rest = world.get(BERT, "/orders?limit=100&after=0-021").await.body;
        let ends = (&others["items"][0]["order_id"], &others["next"], &rest["items"][19]["order_id"]);
        assert_eq!(ends, (&json!("0-120"), &json!("0-021"), &json!("0-001")), "{cut}");
        let path = "/_leeward/projections/orders.history/rebuild";
        let report = world.call(Who::Operator, "POST", path, None, Some(json!({}))).await;
        assert_eq!((report.status, &report.body["swapped"]), (200, &json!(true)), "{report:?}");
        assert_eq!(world.get(ANNA, "/orders").await.body, before, "{cut}");
    }
    let third = world.order(ANNA, "k-3", "tok_visa").await;
    world.history_says(ANNA, &third, "confirmed").await;
    assert_eq!(world.get(ANNA, "/orders").await.body["items"].as_array().unwrap().len(), 3);
    world.stop().await;
}

#[tokio::test]
async fn orders_start_and_are_shown_without_a_history_that_cannot_be_built() {
    let world = World::new().await;
    let first = world.confirmed(ANNA, "k-1", "tok_visa").await;
    world.history_says(ANNA, &first, "confirmed").await;
    let before = world.get(ANNA, "/orders").await.body;
    let damaged =
        "UPDATE outbox SET body = x'00'; UPDATE projection SET fingerprint = 0; DROP TABLE order_history";
    let world = world.again(damaged).await;
    assert_eq!(check(&world).await, (json!("degraded"), 200));
    assert_eq!(world.get(ANNA, "/orders").await.body, before);
    let second = world.order(ANNA, "k-2", "tok_visa").await;
    world.history_says(ANNA, &second, "confirmed").await;
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
