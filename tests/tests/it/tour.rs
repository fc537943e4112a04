//! A walk past every public operation, so that each is seen to answer well at least once.

use http::Method;
use leeward_tests::customer::new_key;
use leeward_tests::{Answer, Customer, Http};
use serde_json::{Value, json};

use crate::world::World;

const LAMP: &str = "desk-lamp-oak";

/// Calls every public operation.
pub(crate) async fn tour(world: &mut World) {
    world.case("every public operation");
    accounts(world).await;
    shelves(world).await;
    let customer = world.customer().await;
    purchases(world, &customer).await;
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

async fn call(http: &Http, method: Method, path: &str, body: Option<Value>) -> Answer {
    http.send(method, path, &[], body.as_ref()).await.unwrap()
}

async fn accounts(world: &World) {
    let (customer, admin) = (world.customer().await, &world.admin.http);
    let _keys = world.api.get("/.well-known/jwks.json").await.expect(200);
    let refreshed = world
        .api
        .post("/auth/refresh", &json!({ "refresh_token": customer.refresh_token }))
        .await
        .expect(200);
    let me = world.api.with_token(text(&refreshed.json()["access_token"]));
    let _renamed =
        call(&me, Method::PATCH, "/users/me", Some(json!({ "name": "Someone else" }))).await.expect(200);
    let _wishes = me.get("/users/me/preferences").await.expect(200);
    let silence = json!({ "channels": ["sms", "push"], "language": "de" });
    assert_eq!(me.put("/users/me/preferences", &silence).await.expect(200).json(), silence);
    let users = admin.get("/users?limit=1").await.expect(200).json();
    let next = admin.get(&format!("/users?limit=1&after={}", text(&users["next"]))).await.expect(200).json();
    assert_ne!(users["items"], next["items"]);
    let _audit = admin.get("/users/audit").await.expect(200);
    let _roles = admin.get("/users/roles").await.expect(200);
    let role = format!("/users/{}/role", customer.user_id);
    let _other_role = admin.put(&role, &json!({ "role": "admin" })).await.expect(204);

    let gone = world.customer().await;
    let _erased = gone.http.delete("/users/me").await.expect(204);
    let over = world.customer().await;
    let _over =
        over.http.post("/auth/logout", &json!({ "refresh_token": over.refresh_token })).await.expect(204);

    // Tokens of a retired key stay good, and those of the new one are good at once.
    let before = world.customer().await;
    let _rotated = admin.post("/users/keys/rotate", &json!({})).await.expect(200);
    let after = world.customer().await;
    for customer in [before, after] {
        let _me = customer.http.get("/users/me").await.expect(200);
    }
}

async fn shelves(world: &World) {
    let admin = &world.admin.http;
    let _category = admin.put("/categories/odds", &json!({ "name": "Odds and ends" })).await.expect(200);
    let _categories = world.api.get("/categories").await.expect(200);
    let found = world.api.get("/products?search=lamp&limit=3&in_stock=true").await.expect(200).json();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(3), "{found}");
    let product = world.product(100, 1).await;
    let draft =
        json!({ "name": "Odd", "category_id": "odds", "price": { "amount_minor": 5, "currency": "EUR" } });
    let changed = admin.put(&format!("/products/{product}"), &draft).await.expect(200).json();
    assert_eq!(
        world.api.get(&format!("/products/{product}")).await.expect(200).json()["name"],
        changed["name"]
    );
    let _removed = admin.delete(&format!("/products/{product}")).await.expect(204);
    let _levels = admin.get("/inventory?limit=2").await.expect(200);
    let _level = admin.get(&format!("/inventory/{LAMP}")).await.expect(200);
}

async fn purchases(world: &mut World, customer: &Customer) {
    let (mine, admin) = (customer.http.clone(), world.admin.http.clone());
    let _line = customer.put(LAMP, 1).await.expect(200);
    let _other = customer.put("kettle-steel", 1).await.expect(200);
    let _out = mine.delete("/cart/items/kettle-steel").await.expect(204);
    assert_eq!(mine.get("/cart").await.expect(200).json()["lines"].as_array().map(Vec::len), Some(1));
    let _empty = mine.delete("/cart").await.expect(204);
    let _no_cart = customer.checkout(&new_key(), "tok_visa").await.unwrap().refused(409, "cart_empty");
    let order = world.order(customer, LAMP, 2, "tok_visa").await;
    let order_id = text(&order["order_id"]);
    let _orders = mine.get("/orders").await.expect(200);
    let _payments = mine.get("/payments").await.expect(200);
    let _payment = mine.get(&format!("/payments/{}", text(&order["payment_id"]))).await.expect(200);
    let _invoices = mine.get("/invoices").await.expect(200);
    let _invoice = mine.get(&format!("/invoices/{}", order["invoice_number"])).await.expect(200);
    let _all = admin.get("/payments?limit=1").await.expect(200);
    let shipment = text(&order["shipment_id"]);
    let _shipments = mine.get("/shipments").await.expect(200);
    let _shipment = mine.get(&format!("/shipments/{shipment}")).await.expect(200);
    let sent = json!({ "status": "dispatched" });
    let _sent = admin.put(&format!("/shipments/{shipment}/status"), &sent).await.expect(204);
    let tracking =
        world.api.get(&format!("/tracking/{}", text(&order["tracking_code"]))).await.expect(200).json();
    assert_eq!(tracking["status"], "dispatched");
    let _mailbox = mine.get("/notifications").await.expect(200);

    let wanted = json!({ "order_id": order_id, "lines": [{ "product_id": LAMP, "quantity": 1 }] });
    let entry = mine.post("/returns", &wanted).await.expect(201).json();
    let return_id = text(&entry["return_id"]);
    let _returns = mine.get("/returns").await.expect(200);
    let _overdue = admin.get("/returns/overdue").await.expect(200);
    let receive = format!("/inventory/returns/{return_id}/receive");
    world
        .soon("the warehouse hears of the return", async || {
            match call(&admin, Method::POST, &receive, None).await {
                received if received.status == 204 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    let _expected = admin.get("/inventory/returns").await.expect(200);
    let _ended =
        customer.until(&format!("/returns/{return_id}"), |entry| entry["status"] == "completed").await;

    // Nobody sees what belongs to somebody else.
    let stranger = world.customer().await.http;
    for path in [
        format!("/orders/{order_id}"),
        format!("/returns/{return_id}"),
        format!("/payments/{}", text(&order["payment_id"])),
        format!("/invoices/{}", order["invoice_number"]),
        format!("/shipments/{shipment}"),
    ] {
        let _hidden = stranger.get(&path).await.refused(404, "not_found");
    }
}
