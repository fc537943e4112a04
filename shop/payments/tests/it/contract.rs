//! What every service owes.

use std::sync::Arc;

use shop_payments::HttpProvider;
use shop_testbed::{World, check_contract};

#[tokio::test]
async fn it_keeps_to_its_table_and_its_document() {
    let world = World::new().await;
    let kit = world.kit(shop_payments::NAME).await;
    let provider = Arc::new(HttpProvider::new(shop_payments::provider_client(&kit).unwrap()));
    let service = shop_payments::build(kit, provider).await.unwrap();
    let site = world.serve(service).await;
    check_contract(&site).await;
    world.stop().await;
}
