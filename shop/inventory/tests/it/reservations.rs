//! Reserving, releasing and shipping.

use futures_util::future::join_all;
use shop_contracts::inventory::{
    ReleaseStock, ReserveStock, ShortLine, StockLine, StockReleased, StockReservation, StockReserved,
};
use shop_contracts::shipping::ShipmentCreated;
use shop_testbed::{Peer, eventually};

use crate::{level, line, shop};

async fn reserve(orders: &Peer, order: &str, lines: Vec<StockLine>, key: &str) -> StockReservation {
    orders.ask(ReserveStock { order_id: order.into(), lines }, key).await
}

async fn release(orders: &Peer, order: &str, key: &str) -> bool {
    orders.ask(ReleaseStock { order_id: order.into() }, key).await.released
}

#[tokio::test]
async fn a_reservation_is_made_once_and_given_back_once() {
    let (world, site, orders) = shop().await;
    for key in ["o-1/reserve/1", "o-1/reserve/1", "o-1/reserve/2"] {
        assert_eq!(reserve(&orders, "o-1", vec![line("lamp", 3)], key).await, StockReservation::Reserved);
        assert_eq!(level(&site, "lamp").await, (10, 3));
    }
    assert!(release(&orders, "o-1", "o-1/release/1").await);
    assert!(!release(&orders, "o-1", "o-1/release/1").await);
    assert_eq!(level(&site, "lamp").await, (10, 0));
    world.heard(|told: &StockReleased| told.order_id.as_str() == "o-1").await;
    assert_eq!((world.said::<StockReserved>().len(), world.said::<StockReleased>().len()), (1, 1));
    world.stop().await;
}

#[tokio::test]
async fn a_reservation_that_comes_after_its_release_is_refused() {
    let (world, site, orders) = shop().await;
    assert!(!release(&orders, "o-1", "o-1/release/1").await);
    assert_eq!(reserve(&orders, "o-1", vec![line("lamp", 3)], "k").await, StockReservation::Released);
    assert_eq!(level(&site, "lamp").await, (10, 0));
    assert!(world.said::<StockReserved>().is_empty());
    world.stop().await;
}

#[tokio::test]
async fn all_lines_or_none_and_a_repeat_hears_the_same() {
    let (world, site, orders) = shop().await;
    let lines = || vec![line("lamp", 2), line("kettle", 4), line("kettle", 2), line("sofa", 1)];
    let short = vec![
        ShortLine { product_id: "kettle".into(), wanted: 6, available: 5 },
        ShortLine { product_id: "sofa".into(), wanted: 1, available: 0 },
    ];
    let first = reserve(&orders, "o-1", lines(), "k1").await;
    assert_eq!(first, StockReservation::OutOfStock { short });
    assert_eq!(reserve(&orders, "o-2", vec![line("kettle", 5)], "k2").await, StockReservation::Reserved);
    assert_eq!(reserve(&orders, "o-1", lines(), "k1").await, first);
    assert_eq!((level(&site, "lamp").await, level(&site, "kettle").await), ((10, 0), (5, 5)));
    assert!(!release(&orders, "o-1", "k3").await);
    assert_eq!(reserve(&orders, "o-1", lines(), "k1").await, StockReservation::Released);
    world.stop().await;
}

#[tokio::test]
async fn a_hundred_buyers_share_the_last_ten() {
    let (world, site, orders) = shop().await;
    let buyers = (0..100).map(|number| {
        let (orders, order) = (orders.clone(), format!("o-{number}"));
        async move { reserve(&orders, &order, vec![line("lamp", 1)], &order).await }
    });
    let answers = join_all(buyers).await;
    let reserved = answers.iter().filter(|answer| **answer == StockReservation::Reserved).count();
    assert_eq!((reserved, level(&site, "lamp").await), (10, (10, 10)));
    world.stop().await;
}

#[tokio::test]
async fn a_shipment_takes_the_goods_off_the_shelf_once() {
    let (world, site, orders) = shop().await;
    reserve(&orders, "o-1", vec![line("lamp", 3)], "k").await;
    let shipped = ShipmentCreated {
        shipment_id: "s-1".into(),
        order_id: "o-1".into(),
        user_id: "u-anna".into(),
        tracking_code: "code".into(),
        lines: vec![line("lamp", 3)],
    };
    let shipping = world.peer("shipping").await;
    // The same news as two events: the inventory's own rule must hold, not its inbox alone.
    shipping.tell(shipped.clone()).await;
    shipping.tell(shipped).await;
    eventually("the goods leave", async || (level(&site, "lamp").await == (7, 0)).then_some(())).await;
    assert_eq!(reserve(&orders, "o-1", vec![line("lamp", 3)], "late").await, StockReservation::Reserved);
    assert_eq!(level(&site, "lamp").await, (7, 0));
    world.stop().await;
}
