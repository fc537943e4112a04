//! The inventory over real HTTP and a real bus.
#![allow(clippy::unwrap_used, reason = "tests")]

mod levels;
mod reservations;
mod returns;

use shop_contracts::inventory::StockLine;
use shop_testbed::{Peer, Site, World, everything};

/// The inventory with ten lamps and five kettles, and orders beside it.
async fn shop() -> (World, Site, Peer) {
    let world = World::new().await;
    let orders = world.peer("orders").await;
    let first = vec![("kettle".into(), 5), ("lamp".into(), 10)];
    let service = shop_inventory::build(world.kit(shop_inventory::NAME).await, first).await.unwrap();
    let site = world.serve(service).await;
    (world, site, orders)
}

fn line(product: &str, quantity: u32) -> StockLine {
    StockLine { product_id: product.into(), quantity }
}

/// On the shelf, and set aside.
async fn level(site: &Site, product: &str) -> (i64, i64) {
    let by = everything(site, "u-admin");
    let level = site.get(&format!("/inventory/{product}")).by(&by).send().await.expect(200).json();
    (level["on_hand"].as_i64().unwrap(), level["reserved"].as_i64().unwrap())
}
