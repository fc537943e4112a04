//! Shipping over real HTTP and a real bus.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;
use shop_contracts::inventory::StockLine;
use shop_contracts::shipping::{CreateShipment, ShipmentCreated, ShipmentOpened};
use shop_testbed::{Peer, Site, World, check_contract, check_events, everything, user};

async fn shop() -> (World, Site, Peer) {
    let world = World::new().await;
    let orders = world.peer("orders").await;
    let service = shop_shipping::build(world.kit(shop_shipping::NAME).await).await.unwrap();
    let site = world.serve(service).await;
    (world, site, orders)
}

async fn ship(orders: &Peer, order: &str, owner: &str, key: &str) -> ShipmentOpened {
    let lines = vec![StockLine { product_id: "lamp".into(), quantity: 1 }];
    orders.ask(CreateShipment { order_id: order.into(), user_id: owner.into(), lines }, key).await
}

#[tokio::test]
async fn it_keeps_to_its_table_and_its_document() {
    let (world, site, _orders) = shop().await;
    check_contract(&site).await;
    world.stop().await;
}

#[tokio::test]
async fn a_repeated_command_finds_the_same_shipment() {
    let (world, site, orders) = shop().await;
    let first = ship(&orders, "o-1", "u-anna", "o-1/create-shipment/1").await;
    for key in ["o-1/create-shipment/1", "o-1/create-shipment/2"] {
        assert_eq!(ship(&orders, "o-1", "u-anna", key).await, first);
    }
    let other = ship(&orders, "o-2", "u-anna", "o-2/create-shipment/1").await;
    assert!(other.shipment_id != first.shipment_id && other.tracking_code != first.tracking_code);
    world.heard(|told: &ShipmentCreated| told.order_id.as_str() == "o-2").await;
    assert_eq!(world.said::<ShipmentCreated>().len(), 2);
    assert_eq!(check_events(&world, &["shipment."]).await, 1);
    let list = site.get("/shipments").by(&user("u-anna")).send().await.expect(200);
    assert_eq!(list.column("order_id"), ["o-1", "o-2"]);
    world.stop().await;
}

#[tokio::test]
async fn owners_see_their_shipments_and_anyone_with_the_code_how_far_it_is() {
    let (world, site, orders) = shop().await;
    let hers = ship(&orders, "o-1", "u-anna", "k1").await;
    ship(&orders, "o-2", "u-anna", "k2").await;
    ship(&orders, "o-3", "u-ben", "k3").await;
    let path = format!("/shipments/{}", hers.shipment_id);
    assert_eq!(site.get(&path).by(&user("u-anna")).send().await.expect(200).json()["order_id"], "o-1");
    site.get(&path).by(&user("u-ben")).send().await.refused(404, "not_found");
    let page = site.get("/shipments?limit=1").by(&user("u-anna")).send().await.expect(200);
    let next = format!("/shipments?limit=1&after={}", page.json()["next"].as_str().unwrap());
    let next = site.get(&next).by(&user("u-anna")).send().await.expect(200);
    assert_eq!((next.column("order_id"), next.json().get("next").is_none()), (vec!["o-2".into()], true));

    let tracking = site.get(&format!("/tracking/{}", hers.tracking_code)).send().await.expect(200);
    assert_eq!(tracking.json()["status"], "created");
    let text = String::from_utf8_lossy(&tracking.body).into_owned();
    assert!(!text.contains("u-anna") && !text.contains("o-1"), "{text}");
    site.get("/tracking/none").send().await.refused(404, "not_found");
    world.stop().await;
}

#[tokio::test]
async fn a_shipment_only_goes_forward() {
    let (world, site, orders) = shop().await;
    let shipment = ship(&orders, "o-1", "u-anna", "k").await;
    let (admin, path) = (everything(&site, "u-admin"), format!("/shipments/{}/status", shipment.shipment_id));
    let set = async |status: &str| site.put(&path).by(&admin).json(&json!({ "status": status })).send().await;
    for status in ["dispatched", "dispatched", "delivered"] {
        set(status).await.expect(204);
    }
    set("created").await.refused(409, "conflict");
    set("lost").await.refused(422, "invalid");
    let tracking = site.get(&format!("/tracking/{}", shipment.tracking_code)).send().await.expect(200);
    assert_eq!(tracking.json()["status"], "delivered");
    world.stop().await;
}
