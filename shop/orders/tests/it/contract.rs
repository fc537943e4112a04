//! What every service owes.

use shop_testbed::{World, check_contract};

#[tokio::test]
async fn it_keeps_to_its_table_and_its_document() {
    let world = World::new().await;
    let service = shop_orders::build(world.kit(shop_orders::NAME).await).await.unwrap();
    let site = world.serve(service).await;
    check_contract(&site).await;
    world.stop().await;
}
