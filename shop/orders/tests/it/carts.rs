//! The cart: prices come from the catalog's events, and from the catalog itself when nobody told of a product.

use serde_json::json;
use shop_contracts::catalog::ProductRemoved;

use crate::world::{ANNA, BERT, World};

#[tokio::test]
async fn a_cart_is_put_shown_and_emptied() {
    let world = World::new().await;
    world.price("p-1", 1250, 1).await;
    world.price("p-2", 300, 1).await;
    assert_eq!(world.get(ANNA, "/cart").await.body, json!({"lines": []}));
    assert_eq!(world.put(ANNA, "p-1", 1).await.body["total"]["amount_minor"], 1250);
    assert_eq!(world.put(ANNA, "p-2", 2).await.body["total"]["amount_minor"], 1850);
    assert_eq!(world.put(ANNA, "p-1", 3).await.body["total"]["amount_minor"], 4350, "put, not added");
    let cart = world.get(ANNA, "/cart").await.body;
    assert_eq!(
        (&cart["lines"][0]["name"], &cart["lines"][0]["quantity"]),
        (&json!("Product p-1"), &json!(3))
    );
    assert_eq!(
        world.get(BERT, "/cart").await.body["lines"],
        json!([]),
        "each customer has a cart of its own"
    );

    let delete = |path: &'static str| world.call(ANNA, "DELETE", path, None, None);
    assert_eq!(delete("/cart/items/p-1").await.status, 204);
    assert_eq!(world.get(ANNA, "/cart").await.body["total"]["amount_minor"], 600);
    assert_eq!(delete("/cart").await.status, 204);
    assert_eq!(world.get(ANNA, "/cart").await.body["lines"], json!([]));
    world.stop().await;
}

#[tokio::test]
async fn a_product_that_nobody_told_of_is_asked_for_once() {
    let world = World::new().await;
    world.script.lock().products.insert("p-9".into(), 700);
    for _ in 0..2 {
        assert_eq!(world.put(ANNA, "p-9", 1).await.body["total"]["amount_minor"], 700);
    }
    assert_eq!(world.script.lock().asked, 1);
    assert_eq!(world.put(ANNA, "p-none", 1).await.status, 404);

    world.directory.clear("catalog");
    assert_eq!(world.put(BERT, "p-9", 1).await.status, 200, "what is known needs no catalog");
    let unknown = world.put(BERT, "p-10", 1).await;
    assert_eq!((unknown.status, unknown.code()), (503, "upstream_unavailable"));
    world.stop().await;
}

#[tokio::test]
async fn what_is_no_longer_sold_cannot_be_put() {
    let world = World::new().await;
    world.price("p-1", 1250, 1).await;
    assert_eq!(world.put(ANNA, "p-1", 1).await.status, 200);
    world.tell(ProductRemoved { product_id: "p-1".into(), version: 2 }).await;
    world.caught_up().await;
    assert_eq!(world.put(BERT, "p-1", 1).await.status, 404);
    assert_eq!(world.get(ANNA, "/cart").await.body["lines"][0]["sold"], false);
    let refused = world.checkout(ANNA, "k", json!({"payment_token": "tok_visa"})).await;
    assert_eq!((refused.status, refused.code()), (409, "product_unavailable"));
    // An older price that comes late does not bring it back.
    world.price("p-1", 1, 1).await;
    assert_eq!(world.put(BERT, "p-1", 1).await.status, 404);
    world.stop().await;
}

#[tokio::test]
async fn quantities_and_lines_are_bounded() {
    let world = World::new().await;
    world.price("p-1", 1250, 1).await;
    for quantity in [0, 100] {
        let refused = world.put(ANNA, "p-1", quantity).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["field"]), (422, &json!("quantity")));
    }
    assert_eq!(world.put(ANNA, "p-1", -1).await.status, 422);
    assert_eq!(world.put(ANNA, &"x".repeat(65), 1).await.status, 422);
    let tampered =
        world.call(ANNA, "PUT", "/cart/items/p-1", None, Some(json!({"quantity": 1, "price": 1}))).await;
    assert_eq!(tampered.status, 422, "a price in the request is refused, not ignored");
    for number in 0..50 {
        world.script.lock().products.insert(format!("q-{number}"), 1);
        assert_eq!(world.put(ANNA, &format!("q-{number}"), 1).await.status, 200);
    }
    let full = world.put(ANNA, "p-1", 1).await;
    assert_eq!((full.status, full.code()), (409, "cart_full"));
    assert_eq!(world.put(ANNA, "q-1", 5).await.status, 200, "a line that is there can be changed");
    world.stop().await;
}
