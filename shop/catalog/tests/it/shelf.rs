//! The catalog's own view of the stock.

use shop_contracts::inventory::StockChanged;
use shop_testbed::{Peer, Site, eventually};

use crate::{found, shop};

async fn available(site: &Site, product: &str) -> Option<i64> {
    site.get(&format!("/products/{product}")).send().await.expect(200).json()["available"].as_i64()
}

async fn tell(inventory: &Peer, product: &str, on_hand: i64, reserved: i64, version: i64) {
    inventory.tell(StockChanged { product_id: product.into(), on_hand, reserved, version }).await;
}

#[tokio::test]
async fn the_shelf_follows_the_inventory_and_never_goes_back() {
    let (world, site) = shop().await;
    let inventory = world.peer("inventory").await;
    assert_eq!(available(&site, "kettle").await, None);
    tell(&inventory, "kettle", 10, 3, 2).await;
    tell(&inventory, "kettle", 10, 0, 1).await;
    tell(&inventory, "lamp-oak", 4, 4, 1).await;
    eventually("the lamp", async || (available(&site, "lamp-oak").await == Some(0)).then_some(())).await;
    assert_eq!(available(&site, "kettle").await, Some(7), "an older level came later");
    assert_eq!(found(&site, "?in_stock=true").await, ["kettle"]);
    world.stop().await;
}

#[tokio::test]
async fn the_shelf_is_built_again_from_the_inventorys_log() {
    let (world, site) = shop().await;
    let inventory = world.peer("inventory").await;
    tell(&inventory, "kettle", 10, 3, 1).await;
    tell(&inventory, "lamp-oak", 4, 4, 1).await;
    eventually("the lamp", async || (available(&site, "lamp-oak").await == Some(0)).then_some(())).await;
    let path = "/_leeward/projections/catalog.shelf/rebuild";
    site.post(path).send().await.refused(401, "unauthenticated");
    let report = site.post(path).by_operator().send().await.expect(200).json();
    assert_eq!(
        (&report["events"], &report["swapped"], &report["equal"]),
        (&2.into(), &true.into(), &true.into())
    );
    assert_eq!(available(&site, "kettle").await, Some(7));
    tell(&inventory, "kettle", 20, 3, 2).await;
    eventually("news after the swap", async || (available(&site, "kettle").await == Some(17)).then_some(()))
        .await;
    world.stop().await;
}
