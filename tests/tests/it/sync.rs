//! Accepted means on disk: the order's log is synced before its 202 leaves.

use leeward_tests::customer::new_key;
use leeward_tests::shop::GATEWAY;
use leeward_tests::strace::{Trace, is_there, synced_before_202};
use leeward_tests::{Customer, Shop, Topology};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_synced_before_the_202_leaves() {
    if !is_there() {
        return;
    }
    let mut shop = Shop::open(Topology::One).await;
    let customer = Customer::register(&shop.api()).await;
    let _cart = customer.put("desk-lamp-oak", 1).await.expect(200);
    shop.quiet().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trace = Trace::attach(shop.process(GATEWAY).id(), &folder.path().join("trace"));
    let order_id = customer.checkout(&new_key(), "tok_visa").await.unwrap().expect(202).order_id();
    let lines = trace.finish();
    synced_before_202(&lines, "orders.db").unwrap_or_else(|wrong| panic!("{wrong}\n{}", lines.join("\n")));
    assert_eq!(customer.ended(&order_id).await["status"], "confirmed");
}
