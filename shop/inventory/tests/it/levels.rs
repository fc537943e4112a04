//! Levels, what administrators do with them, and what others hear of them.

use serde_json::json;
use shop_contracts::expectations::{CATALOG_OF_INVENTORY, Saved};
use shop_contracts::inventory::{ReserveStock, StockChanged};
use shop_testbed::{check_contract, check_expectations, everything};

use crate::{line, shop};

#[tokio::test]
async fn it_keeps_to_its_table_and_its_document() {
    let (world, site, _orders) = shop().await;
    check_contract(&site).await;
    world.stop().await;
}

#[tokio::test]
async fn its_log_is_what_the_catalog_builds_its_shelf_from() {
    let (world, site, _orders) = shop().await;
    for product in ["kettle", "lamp"] {
        world.heard(|told: &StockChanged| told.product_id.as_str() == product).await;
    }
    check_expectations(&site, CATALOG_OF_INVENTORY, &world.peer("catalog").await, &Saved::default()).await;
    world.stop().await;
}

#[tokio::test]
async fn a_shelf_is_counted_and_never_below_what_is_set_aside() {
    let (world, site, orders) = shop().await;
    let admin = everything(&site, "u-admin");
    let set = async |product: &str, on_hand: i64| {
        let path = format!("/inventory/{product}");
        site.put(&path).by(&admin).json(&json!({ "on_hand": on_hand })).send().await
    };
    orders.ask(ReserveStock { order_id: "o-1".into(), lines: vec![line("lamp", 4)] }, "k").await;
    set("lamp", 3).await.refused(409, "conflict");
    assert_eq!(set("lamp", 4).await.expect(200).json()["available"], 0);
    set("sofa", 2).await.expect(200);
    set("sofa", -1).await.refused(422, "invalid");
    site.get("/inventory/bed").by(&admin).send().await.refused(404, "not_found");
    let page = site.get("/inventory?limit=2").by(&admin).send().await.expect(200);
    assert_eq!(
        (page.column("product_id"), &page.json()["next"]),
        (vec!["kettle".into(), "lamp".into()], &"lamp".into())
    );
    let rest = site.get("/inventory?limit=2&after=lamp").by(&admin).send().await.expect(200);
    assert_eq!((rest.column("product_id"), rest.json().get("next").is_none()), (vec!["sofa".into()], true));
    world.stop().await;
}

#[tokio::test]
async fn new_levels_are_told_with_a_growing_version() {
    let (world, _site, orders) = shop().await;
    let is_lamp = |told: &StockChanged| told.product_id.as_str() == "lamp";
    let (first, _) = world.heard(|told: &StockChanged| is_lamp(told) && told.reserved == 0).await;
    orders.ask(ReserveStock { order_id: "o-1".into(), lines: vec![line("lamp", 4)] }, "k").await;
    let (then, _) = world.heard(|told: &StockChanged| is_lamp(told) && told.reserved == 4).await;
    assert!(then.version > first.version && then.on_hand == 10);
    world.stop().await;
}
