//! Goods that come back: held, freed, or taken off again.

use shop_contracts::inventory::{ReturnReceived, StockReturnUndone, StockReturned};
use shop_contracts::payments::{PaymentRefundRefused, PaymentRefunded};
use shop_contracts::returns::ReturnRequested;
use shop_contracts::{Currency, Money};
use shop_testbed::{Peer, Site, World, check_events, eventually, everything};

use crate::{level, line, shop};

fn refund() -> Money {
    Money::new(2_500, Currency::EUR)
}

/// A return whose goods have arrived.
async fn held(world: &World, site: &Site, orders: &Peer, id: &str) {
    let requested = ReturnRequested {
        return_id: id.into(),
        order_id: "o-1".into(),
        user_id: "u-anna".into(),
        lines: vec![line("lamp", 2)],
        refund: refund(),
    };
    orders.tell(requested).await;
    let (admin, path) = (everything(site, "u-admin"), format!("/inventory/returns/{id}/receive"));
    let receive = async || site.post(&path).by(&admin).send().await.status.as_u16();
    eventually("the return is known", async || (receive().await == 204).then_some(())).await;
    assert_eq!(receive().await, 204, "once more changes nothing");
    world.heard(|told: &ReturnReceived| told.return_id.as_str() == id).await;
    let (told, _) = world.heard(|told: &StockReturned| told.return_id.as_str() == id).await;
    assert_eq!((told.refund, told.user_id.as_str()), (refund(), "u-anna"));
}

#[tokio::test]
async fn goods_are_held_until_the_refund_has_gone_through() {
    let (world, site, orders) = shop().await;
    held(&world, &site, &orders, "r-1").await;
    assert_eq!(level(&site, "lamp").await, (12, 2));
    let refunded = PaymentRefunded {
        return_id: "r-1".into(),
        payment_id: "pay-1".into(),
        order_id: "o-1".into(),
        user_id: "u-anna".into(),
        amount: refund(),
    };
    let payments = world.peer("payments").await;
    payments.tell(refunded.clone()).await;
    payments.tell(refunded).await;
    eventually("the goods are free", async || (level(&site, "lamp").await == (12, 0)).then_some(())).await;
    let admin = everything(&site, "u-admin");
    site.post("/inventory/returns/r-1/receive").by(&admin).send().await.refused(409, "conflict");
    site.post("/inventory/returns/r-9/receive").by(&admin).send().await.refused(404, "not_found");
    world.stop().await;
}

#[tokio::test]
async fn a_refused_refund_takes_the_goods_off_the_shelf_again() {
    let (world, site, orders) = shop().await;
    held(&world, &site, &orders, "r-1").await;
    let refused = PaymentRefundRefused {
        return_id: "r-1".into(),
        order_id: "o-1".into(),
        user_id: "u-anna".into(),
        amount: refund(),
        code: "refund_refused".into(),
    };
    world.peer("payments").await.tell(refused).await;
    world.heard(|told: &StockReturnUndone| told.return_id.as_str() == "r-1").await;
    assert_eq!(level(&site, "lamp").await, (10, 0));
    let list = site.get("/inventory/returns").by(&everything(&site, "u-admin")).send().await.expect(200);
    assert_eq!(
        (list.column("return_id"), list.column("status")),
        (vec!["r-1".into()], vec!["undone".into()])
    );
    assert_eq!(check_events(&world, &["stock.changed", "stock.return", "return.received"]).await, 4);
    world.stop().await;
}
