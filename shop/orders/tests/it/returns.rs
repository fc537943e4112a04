//! Returns: asked for, followed, and seen when they take too long.

use std::time::Duration;

use serde_json::json;
use shop_contracts::expectations;
use shop_contracts::inventory::{ReturnReceived, StockReturnUndone, StockReturned};
use shop_contracts::{Currency, Money};

use crate::http::metric;
use crate::world::{ANNA, BERT, Who, World};

/// What the warehouse tells of a return.
struct Warehouse<'a> {
    world: &'a World,
    return_id: String,
    order_id: String,
}

impl Warehouse<'_> {
    async fn receives(&self) {
        let (return_id, order_id) = (self.return_id.as_str().into(), self.order_id.as_str().into());
        self.world.tell(ReturnReceived { return_id, order_id, user_id: "u-anna".into() }).await;
    }

    async fn restocks(&self, amount_minor: i64) {
        self.world
            .tell(StockReturned {
                return_id: self.return_id.as_str().into(),
                order_id: self.order_id.as_str().into(),
                user_id: "u-anna".into(),
                lines: Vec::new(),
                refund: Money::new(amount_minor, Currency::EUR),
            })
            .await;
    }

    async fn undoes(&self) {
        let (return_id, order_id) = (self.return_id.as_str().into(), self.order_id.as_str().into());
        self.world.tell(StockReturnUndone { return_id, order_id, lines: Vec::new() }).await;
    }

    async fn status(&self) -> String {
        let found = self.world.get(ANNA, &format!("/returns/{}", self.return_id)).await;
        found.body["status"].as_str().unwrap().to_owned()
    }

    async fn waits_for(&self, status: &str) {
        let waiting = async {
            while self.status().await != status {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect(status);
    }
}

async fn opened<'a>(world: &'a World, token: &str) -> Warehouse<'a> {
    let order_id = world.confirmed(ANNA, "k", token).await;
    let opened = world.call(ANNA, "POST", "/returns", None, Some(json!({"order_id": order_id}))).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let return_id = opened.body["return_id"].as_str().unwrap().to_owned();
    assert_eq!(opened.location, Some(format!("/api/v1/returns/{return_id}")));
    let requested = world.hear("return.requested").await;
    assert_eq!(
        (&requested["return_id"], &requested["refund"]["amount_minor"]),
        (&json!(return_id), &json!(2500))
    );
    Warehouse { world, return_id, order_id }
}

#[tokio::test]
async fn a_return_to_its_end() {
    let world = World::new().await;
    let warehouse = opened(&world, "tok_visa").await;
    warehouse.receives().await;
    warehouse.waits_for("received").await;
    warehouse.restocks(2500).await;
    let completed = world.hear("return.completed").await;
    assert_eq!(
        (&completed["return_id"], &completed["refund"]["amount_minor"]),
        (&json!(warehouse.return_id), &json!(2500))
    );
    assert_eq!(warehouse.status().await, "completed");
    assert_eq!(world.ledger().await, ["authorise approved", "capture approved", "refund approved"]);
    world.stop().await;
}

#[tokio::test]
async fn a_return_whose_refund_is_refused_ends_where_it_began() {
    let world = World::new().await;
    let warehouse = opened(&world, "tok_norefund").await;
    warehouse.receives().await;
    warehouse.restocks(2500).await;
    warehouse.waits_for("refund_refused").await;
    warehouse.undoes().await;
    let refused = world.hear("return.refused").await;
    assert_eq!(
        (&refused["return_id"], &refused["code"]),
        (&json!(warehouse.return_id), &json!("refund_refused"))
    );
    let found = world.get(ANNA, &format!("/returns/{}", warehouse.return_id)).await.body;
    assert_eq!((&found["status"], &found["refusal"]), (&json!("refused"), &json!("refund_refused")));
    assert_eq!(world.ledger().await.last().unwrap(), "refund refused");

    // The goods are the customer's again: another return of them may be asked for.
    let again =
        world.call(ANNA, "POST", "/returns", None, Some(json!({"order_id": warehouse.order_id}))).await;
    assert_eq!(again.status, 201);
    world.stop().await;
}

#[tokio::test]
async fn goods_are_returned_once_and_only_by_their_buyer() {
    let world = World::new().await;
    let order_id = world.confirmed(ANNA, "k", "tok_visa").await;
    let one =
        json!({"order_id": order_id, "lines": [{"product_id": "p-1", "quantity": 1}], "reason": "too loud"});
    let post = |who: Who, key: Option<&'static str>, body: serde_json::Value| {
        world.call(who, "POST", "/returns", key, Some(body))
    };
    assert_eq!(post(BERT, None, one.clone()).await.status, 404);
    let first = post(ANNA, Some("r-1"), one.clone()).await;
    assert_eq!((first.status, &first.body["refund"]["amount_minor"]), (201, &json!(1250)));
    assert_eq!(post(ANNA, Some("r-1"), one.clone()).await, first, "the same key is the same return");
    assert_eq!(post(ANNA, Some("r-1"), json!({"order_id": order_id})).await.code(), "idempotency_key_reused");
    assert_eq!(post(ANNA, None, one.clone()).await.status, 201);
    let third = post(ANNA, None, one).await;
    assert_eq!((third.status, third.code()), (409, "return_exists"));
    for lines in
        [json!([{"product_id": "p-2", "quantity": 1}]), json!([{"product_id": "p-1", "quantity": 0}])]
    {
        let refused = post(ANNA, None, json!({"order_id": order_id, "lines": lines})).await;
        assert!(refused.status == 422 || refused.status == 409, "{refused:?}");
    }
    let listed = world.get(ANNA, "/returns").await.body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    assert_eq!(world.get(BERT, "/returns").await.body["items"], json!([]));
    world.stop().await;
}

#[tokio::test]
async fn only_what_was_delivered_comes_back() {
    let world = World::new().await;
    let id = world.order(ANNA, "k", "tok_decline").await;
    world.hear("order.cancelled").await;
    let refused = world.call(ANNA, "POST", "/returns", None, Some(json!({"order_id": id}))).await;
    assert_eq!((refused.status, refused.code()), (409, "order_status"));
    let long = json!({"order_id": id, "reason": "x".repeat(501)});
    assert_eq!(world.call(ANNA, "POST", "/returns", None, Some(long)).await.status, 422);
    world.stop().await;
}

#[tokio::test]
async fn a_return_that_takes_too_long_is_seen() {
    let world = World::new().await;
    let warehouse = opened(&world, "tok_visa").await;
    let overdue =
        async || world.get(Who::Admin, "/returns/overdue").await.body["items"].as_array().unwrap().len();
    assert_eq!(overdue().await, 0);
    world.clock.advance(Duration::from_secs(14 * 24 * 3600 + 1));
    assert_eq!(overdue().await, 1);
    let page = world.get(Who::Admin, "/returns/overdue").await.body;
    assert_eq!(
        (&page["items"][0]["return_id"], &page["items"][0]["user_id"]),
        (&json!(warehouse.return_id), &json!("u-anna"))
    );
    assert_eq!(world.get(ANNA, "/returns/overdue").await.status, 403);
    warehouse.restocks(2500).await;
    warehouse.waits_for("completed").await;
    assert_eq!(overdue().await, 0);
    world.stop().await;
}

#[tokio::test]
async fn operators_see_how_many_returns_are_overdue() {
    let world = World::new().await;
    opened(&world, "tok_visa").await;
    let counted = async |world: &World, overdue: f64| {
        let is_so = async || metric(world.orders, "shop_returns_overdue{").await == Some(overdue);
        world.until(is_so).await;
    };
    counted(&world, 0.0).await;
    // They are counted at the start, and then now and again.
    let world = world.again("UPDATE returns SET due_at_ms = 0").await;
    counted(&world, 1.0).await;
    world.stop().await;
}

#[tokio::test]
async fn the_consumers_of_events_get_what_they_expect() {
    let world = World::new().await;
    let order_id = world.confirmed(ANNA, "k", "tok_norefund").await;
    let open = async |quantity: u32| {
        let body = json!({"order_id": order_id, "lines": [{"product_id": "p-1", "quantity": quantity}]});
        world.call(ANNA, "POST", "/returns", None, Some(body)).await.body["return_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let warehouse = Warehouse { world: &world, return_id: open(1).await, order_id: order_id.clone() };
    warehouse.restocks(1250).await;
    warehouse.waits_for("refund_refused").await;
    warehouse.undoes().await;
    let expected = expectations::events(&["return."]).unwrap();
    for event in
        expected.iter().filter(|event| ["return.requested", "return.refused"].contains(&event.kind.as_str()))
    {
        let data = world.hear(&event.kind).await;
        assert_eq!(expectations::mismatch(&event.data, &data), None, "{}", event.kind);
    }
    world.stop().await;
}
