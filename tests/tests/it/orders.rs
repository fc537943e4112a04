//! What becomes of orders and returns when nothing is down.

use http::Method;
use leeward_events::Envelope;
use leeward_service::identity::{ASSERTION_HEADER, Identity, Minter, Principal};
use leeward_tests::customer::new_key;
use leeward_tests::oracle::books;
use leeward_tests::{Customer, Http, Topology, files};
use serde_json::{Value, json};
use shop_contracts::provider::{OperationKind, Verdict};

use crate::on_both;
use crate::world::World;

const LAMP: &str = "desk-lamp-oak";

on_both!(orders_and_returns);

async fn orders_and_returns(topology: Topology) {
    let mut world = World::open(topology).await;
    happy(&mut world).await;
    declined(&mut world).await;
    refused_late(&mut world).await;
    slow_and_lost(&mut world).await;
    late_actions(&mut world).await;
    repeated(&mut world).await;
    tampered(&mut world).await;
    last_units(&mut world).await;
    completed_return(&mut world).await;
    refused_return(&mut world).await;
    world.must_agree().await;
}

async fn happy(world: &mut World) {
    world.case("an order from the cart to the mailbox");
    let customer = world.customer().await;
    let _cart = customer.put(LAMP, 2).await.expect(200);
    let accepted = customer.checkout(&new_key(), "tok_visa").await.unwrap().expect(202);
    let order_id = accepted.order_id();
    assert_eq!(accepted.header("location"), Some(&*format!("/api/v1/orders/{order_id}")));
    world.claims.accepted(&customer.user_id, &order_id);

    let order = customer.ended(&order_id).await;
    assert_eq!(order["status"], "confirmed", "{order}");
    assert_eq!(order["total"], accepted.json()["total"]);
    let invoice =
        customer.http.get(&format!("/invoices/{}", order["invoice_number"])).await.expect(200).json();
    assert_eq!(invoice["amount"], order["total"]);
    let code = order["tracking_code"].as_str().unwrap();
    let tracking = world.api.get(&format!("/tracking/{code}")).await.expect(200).json();
    assert_eq!(tracking["status"], "created");
    customer.until("/orders", |page| page["items"][0]["status"] == "confirmed").await;
    let kinds = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().cloned().unwrap_or_default();
        items.iter().filter_map(|item| item["kind"].as_str().map(str::to_owned)).collect()
    };
    let wanted = ["order_confirmed", "shipped", "welcome"];
    customer
        .until("/notifications", |page| wanted.iter().all(|kind| kinds(page).contains(&(*kind).to_owned())))
        .await;
    assert_eq!(world.times(&order_id, OperationKind::Capture).await, 1);
}

async fn declined(world: &mut World) {
    world.case("a declined card: the stock is released, nothing is taken");
    let (customer, product) = (world.customer().await, world.product(500, 7).await);
    let order = world.order(&customer, &product, 3, "tok_decline").await;
    assert_eq!(order["status"], "cancelled");
    assert_eq!(order["cancelled"]["code"], "card_declined");
    assert_eq!(world.level(&product).await, (7, 0));
    let charges = world.charges(order["order_id"].as_str().unwrap()).await;
    assert!(
        charges.iter().all(|charge| charge.operation.verdict == Verdict::Declined) && !charges.is_empty(),
        "{charges:?}"
    );
}

async fn refused_late(world: &mut World) {
    world.case("money set aside and not handed over: the stock is released, the authorisation voided");
    let (customer, product) = (world.customer().await, world.product(500, 7).await);
    let order = world.order(&customer, &product, 3, "tok_nocapture").await;
    assert_eq!(order["status"], "cancelled");
    assert_eq!(order["cancelled"]["code"], "capture_refused");
    assert_eq!(world.level(&product).await, (7, 0));
    let order_id = order["order_id"].as_str().unwrap();
    assert_eq!(world.times(order_id, OperationKind::Authorise).await, 1);
    assert_eq!(world.times(order_id, OperationKind::Capture).await, 0);
    let charges = world.charges(order_id).await;
    let freed = charges.iter().find(|it| it.operation.kind == OperationKind::Void).expect("no void");
    assert_eq!(freed.operation.verdict, Verdict::Approved);
    assert_eq!(freed.operation.amount.unwrap().amount_minor, 1_500);
}

async fn slow_and_lost(world: &mut World) {
    world.case("a provider that answers late, or not at all: asked after, charged once");
    let customers = Customer::crowd(&world.api, 3).await;
    let slow = world.buy(&customers[0], LAMP, 1, "tok_slow").await;
    assert_eq!(customers[0].ended(&slow).await["status"], "confirmed");

    world.shop.fault_provider(&json!({ "lost_reply_rate": 1.0 })).await;
    let lost = world.buy(&customers[1], LAMP, 1, "tok_visa").await;
    let declined = world.buy(&customers[2], LAMP, 1, "tok_decline").await;
    assert_eq!(customers[1].ended(&lost).await["status"], "confirmed");
    assert_eq!(customers[2].ended(&declined).await["status"], "cancelled");
    world.shop.fault_provider(&json!({})).await;

    // The same between two of our own services.
    world.shop.fault("payments", &json!({ "inbound": { "lost_reply_percent": 100 } })).await;
    let inside = world.buy(&customers[0], LAMP, 1, "tok_visa").await;
    world
        .soon("payments does its work and nobody hears of it", async || {
            if world.times(&inside, OperationKind::Authorise).await == 1 {
                Ok(())
            } else {
                Err("not authorised".into())
            }
        })
        .await;
    world.shop.fault("payments", &json!({})).await;
    assert_eq!(customers[0].ended(&inside).await["status"], "confirmed");

    for order_id in [&slow, &lost, &inside] {
        assert_eq!(world.times(order_id, OperationKind::Authorise).await, 1);
        assert_eq!(world.times(order_id, OperationKind::Capture).await, 1);
    }
    assert_eq!(world.times(&declined, OperationKind::Capture).await, 0);
}

/// An undo that overtakes its action leaves a tombstone, so that the action is refused when it comes. The checkout itself
/// never lets that happen, so we speak as orders does.
async fn late_actions(world: &mut World) {
    world.case("an action after its undo is refused");
    let (customer, product) = (world.customer().await, world.product(100, 1).await);
    let order = world.order(&customer, &product, 2, "tok_visa").await;
    assert_eq!(
        (&order["status"], &order["cancelled"]["code"]),
        (&json!("cancelled"), &json!("out_of_stock"))
    );
    let order_id = order["order_id"].as_str().unwrap();

    let amount = json!({ "amount_minor": 200, "currency": "EUR" });
    let key = format!("{}/late", new_key());
    let void = json!({ "authorisation_key": key, "order_id": order_id, "user_id": customer.user_id, "amount": amount });
    let payments = world.shop.service("payments").await;
    let _voided = as_orders(world, &payments, "/internal/payments/void", &new_key(), &void).await.expect(200);
    let late = json!({ "order_id": order_id, "user_id": customer.user_id, "amount": amount, "payment_token": "tok_visa" });
    let answer = as_orders(world, &payments, "/internal/payments/authorise", &key, &late).await;
    let _refused = answer.refused(409, "authorisation_voided");
    assert_eq!(world.charges(order_id).await, [], "the provider heard of it");

    // Commands travel over the bus: the release first, then the reservation that it overtook.
    let unknown = new_key();
    let lines = json!([{ "product_id": product, "quantity": 1 }]);
    send(world, "command.inventory.release_stock", &unknown, &json!({ "order_id": unknown })).await;
    send(world, "command.inventory.reserve_stock", &unknown, &json!({ "order_id": unknown, "lines": lines }))
        .await;
    let handled = format!(
        "SELECT COUNT(*) FROM outbox WHERE kind = 'reply.tests' AND CAST(body AS TEXT) LIKE '%{unknown}%'"
    );
    world
        .soon("the late reservation is answered", async || {
            let replies = files::number(&files::open(world.shop.data(), "inventory"), &handled);
            if replies == 2 { Ok(()) } else { Err(format!("{replies} replies")) }
        })
        .await;
    assert_eq!(world.level(&product).await, (1, 0), "nothing is set aside");
}

/// A call as the service orders makes it: with its key, which lies in the data folder.
async fn as_orders(
    world: &World,
    payments: &Http,
    path: &str,
    key: &str,
    body: &Value,
) -> leeward_tests::Answer {
    let identity = Identity::open(&world.shop.data().join("keys"), "orders").unwrap();
    let assertion = Minter::new(identity).mint(&Principal::Service, "payments", now_ms()).unwrap();
    let headers = [(ASSERTION_HEADER, assertion.to_str().unwrap()), ("idempotency-key", key)];
    payments.send(Method::POST, path, &headers, Some(body)).await.unwrap()
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Publishes a command as any process does that has the bus's token.
async fn send(world: &World, kind: &str, subject: &str, command: &Value) {
    let data = json!({ "key": new_key(), "reply_to": "tests", "command": command });
    let envelope = Envelope {
        id: new_key().into(),
        source: "tests".into(),
        kind: kind.into(),
        subject: subject.into(),
        time_ms: now_ms(),
        version: 1,
        traceparent: None,
        correlation_id: new_key().into(),
        causation_id: None,
        log_seq: None,
        data: serde_json::value::to_raw_value(&data).unwrap(),
    };
    world.shop.bus().await.publish(vec![envelope]).await.unwrap();
}

async fn repeated(world: &mut World) {
    world.case("a key stands for one order");
    let customer = world.customer().await;
    let _cart = customer.put(LAMP, 1).await.expect(200);
    let key = new_key();
    let at_once = (0..5).map(|_| {
        let (customer, key) = (customer.clone(), key.clone());
        tokio::spawn(async move { customer.checkout(&key, "tok_visa").await.unwrap() })
    });
    let at_once: Vec<_> = at_once.collect();
    let mut orders = std::collections::BTreeSet::new();
    for answer in at_once {
        orders.insert(answer.await.unwrap().expect(202).order_id());
    }
    assert_eq!(orders.len(), 1, "{orders:?}");
    let order_id = orders.pop_first().unwrap();
    world.claims.only(&customer.user_id, &order_id);
    let _ended = customer.ended(&order_id).await;
    assert_eq!(customer.checkout(&key, "tok_visa").await.unwrap().expect(202).order_id(), order_id);
    let _other_body =
        customer.checkout(&key, "tok_other").await.unwrap().refused(422, "idempotency_key_reused");
    let no_key = customer.http.post("/checkout", &json!({ "payment_token": "tok_visa" })).await;
    let _no_key = no_key.refused(400, "idempotency_key_required");
    // Somebody else's key of the same text is another key.
    let other = world.customer().await;
    let _empty = other.checkout(&key, "tok_visa").await.unwrap().refused(409, "cart_empty");
}

async fn tampered(world: &mut World) {
    world.case("the client does not make the price");
    let (customer, product) = (world.customer().await, world.product(1_000, 5).await);
    let _cart = customer.put(&product, 2).await.expect(200);
    let eur = |minor: i64| json!({ "amount_minor": minor, "currency": "EUR" });
    let cheap_line = json!([{ "product_id": product, "quantity": 2, "unit_price": eur(1) }]);
    for tampered in [
        json!({ "payment_token": "tok_visa", "expected_total": eur(1) }),
        json!({ "payment_token": "tok_visa", "expected_lines": cheap_line }),
    ] {
        let refused =
            customer.checkout_with(&new_key(), &tampered).await.unwrap().refused(409, "price_changed");
        assert_eq!(refused.json()["quote"]["total"], eur(2_000));
    }
    let own_price = json!({ "quantity": 2, "unit_price": eur(1) });
    let own_price = customer.http.put(&format!("/cart/items/{product}"), &own_price).await;
    assert!(own_price.status.is_client_error(), "{own_price:?}");

    let dearer = json!({ "name": "A thing", "category_id": "office", "price": eur(1_500) });
    let _changed = world.admin.http.put(&format!("/products/{product}"), &dearer).await.expect(200);
    customer.until("/cart", |cart| cart["total"] == eur(3_000)).await;
    let key = new_key();
    let silent = customer.checkout(&key, "tok_visa").await.unwrap().refused(409, "price_changed");
    assert_eq!(silent.json()["quote"]["total"], eur(3_000));
    // Whoever agrees to the new price may go on with the same key: nothing happened under it.
    let agreed = json!({ "payment_token": "tok_visa", "expected_total": eur(3_000) });
    let order_id = customer.checkout_with(&key, &agreed).await.unwrap().expect(202).order_id();
    world.claims.only(&customer.user_id, &order_id);
    assert_eq!(customer.ended(&order_id).await["total"], eur(3_000));
}

async fn last_units(world: &mut World) {
    const BUYERS: usize = 100;
    const UNITS: i64 = 10;
    world.case("100 buyers for the last 10");
    let (buyers, product) = (Customer::crowd(&world.api, BUYERS).await, world.product(700, UNITS).await);
    let mut tasks = tokio::task::JoinSet::new();
    for buyer in buyers {
        let product = product.clone();
        tasks.spawn(async move {
            let order_id = buyer.buy(&product, 1, "tok_visa").await;
            let order = buyer.ended(&order_id).await;
            (buyer, order_id, order)
        });
    }
    let mut confirmed = 0;
    for (buyer, order_id, order) in tasks.join_all().await {
        world.claims.only(&buyer.user_id, &order_id);
        match order["status"].as_str() {
            Some("confirmed") => confirmed += 1,
            _ => assert_eq!(order["cancelled"]["code"], "out_of_stock"),
        }
    }
    assert_eq!(confirmed, UNITS);
    world
        .soon("the last goods leave the shelf", async || match world.level(&product).await {
            (0, 0) => Ok(()),
            level => Err(format!("{level:?}")),
        })
        .await;
}

async fn completed_return(world: &mut World) {
    world.case("a return to its end");
    let (customer, product) = (world.customer().await, world.product(900, 3).await);
    let order = world.order(&customer, &product, 3, "tok_visa").await;
    let order_id = order["order_id"].as_str().unwrap();
    let lines = json!([{ "product_id": product, "quantity": 2 }]);
    let wanted = json!({ "order_id": order_id, "lines": lines, "reason": "two too many" });
    let entry = customer.http.post("/returns", &wanted).await.expect(201).json();
    assert_eq!(entry["refund"]["amount_minor"], 1_800);
    let more = customer.http.post("/returns", &wanted).await;
    assert!(more.status == 409 || more.status == 422, "goods come back once: {more:?}");
    receive(world, &entry).await;
    let path = format!("/returns/{}", entry["return_id"].as_str().unwrap());
    let ended =
        customer.until(&path, |entry| entry["status"] == "completed" || entry["status"] == "refused").await;
    assert_eq!(ended["status"], "completed");
    assert_eq!(world.times(order_id, OperationKind::Refund).await, 1);
    let available = |level: (i64, i64)| level.0 - level.1;
    assert_eq!(available(world.level(&product).await), 2);
}

async fn refused_return(world: &mut World) {
    world.case("a return whose refund is refused");
    let (customer, product) = (world.customer().await, world.product(900, 1).await);
    let order = world.order(&customer, &product, 1, "tok_norefund").await;
    assert_eq!(order["status"], "confirmed");
    let wanted = json!({ "order_id": order["order_id"], "reason": "" });
    let entry = customer.http.post("/returns", &wanted).await.expect(201).json();
    receive(world, &entry).await;
    let path = format!("/returns/{}", entry["return_id"].as_str().unwrap());
    let ended =
        customer.until(&path, |entry| entry["status"] == "completed" || entry["status"] == "refused").await;
    assert_eq!((&ended["status"], &ended["refusal"]), (&json!("refused"), &json!("refund_refused")));
    assert_eq!(world.level(&product).await, (0, 0), "the goods are off the shelf again");
    assert_eq!(world.times(order["order_id"].as_str().unwrap(), OperationKind::Refund).await, 0);
    assert!(!books::ledger(&world.shop.provider()).await.is_empty());
}

/// The warehouse takes the goods in, as soon as it has heard of them.
async fn receive(world: &World, entry: &Value) {
    let path = format!("/inventory/returns/{}/receive", entry["return_id"].as_str().unwrap());
    world
        .soon("the warehouse hears of the return", async || {
            match world.admin.http.send(Method::POST, &path, &[], None).await? {
                received if received.status == 204 => Ok(()),
                other => Err(format!("{} {}", other.status, other.json())),
            }
        })
        .await;
}
