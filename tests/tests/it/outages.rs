//! Each service down in turn, and one that moves while customers buy.

use http::Method;
use leeward_tests::load::Load;
use leeward_tests::shop::{PROVIDER, SERVICES};
use leeward_tests::{Answer, Customer, Topology};
use serde_json::{Value, json};
use shop_contracts::provider::OperationKind;

use crate::on_both;
use crate::world::World;

const LAMP: &str = "desk-lamp-oak";
const KETTLE: &str = "kettle-steel";

mod each_down {
    use super::*;
    on_both!(each_service_down_in_turn);
}

mod moving {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn out_of_the_process_and_back_under_load() {
        one_service_moves().await;
    }
}

async fn each_service_down_in_turn(topology: Topology) {
    let mut world = World::open(topology).await;
    let customer = world.customer().await;
    catalog(&mut world, &customer).await;
    users(&mut world, &customer).await;
    orders(&mut world, &customer).await;
    payments(&mut world, &customer).await;
    provider(&mut world, &customer).await;
    for service in ["inventory", "shipping"] {
        participant(&mut world, &customer, service).await;
    }
    notifications(&mut world, &customer).await;
    world.must_agree().await;
}

/// What the gateway answers for a service that is not there: a problem that says when to come again.
fn is_outage(answer: &Answer) -> bool {
    matches!(answer.status.as_u16(), 502..=504)
        && answer.header("content-type") == Some("application/problem+json")
}

/// Takes a service down, and waits until the gateway says so where a process is gone.
///
/// What that shows differs. Among seven processes the service is gone with its consumers, and whoever needs its events or its
/// replies waits. In one process it refuses every request and goes on reading the bus, as a service does that only the
/// network keeps from its callers: there the cases of inventory, shipping and notifications show that orders do not need
/// their HTTP, and not that they wait for them.
async fn down(world: &mut World, service: &'static str) {
    world.case(&format!("{service} is down"));
    world.shop.take_down(service).await;
    if world.shop.topology() == Topology::Seven {
        let edge = world.shop.edge();
        world
            .soon("the gateway's health shows it", async || {
                let health = edge.send(Method::GET, "/health", &[], None).await?.json();
                let red = health["services"][service] == "down" && health["status"] == "degraded";
                if red { Ok(()) } else { Err(health.to_string()) }
            })
            .await;
    }
}

/// Brings it back, and waits until the gateway says so.
async fn back(world: &mut World, service: &'static str) {
    world.shop.bring_back(service).await;
    world.shop.wait_until_open().await;
    for other in SERVICES {
        let ready = world.shop.service(other).await.get("/health/ready").await;
        assert_eq!(ready.status, 200, "{other} after {service} was down: {}", ready.json());
    }
}

async fn catalog(world: &mut World, customer: &Customer) {
    let page = format!("/products/{LAMP}");
    let fresh = world.api.get(&page).await.expect(200);
    assert_eq!(fresh.header("x-leeward-stale"), None);
    let _known_to_orders = customer.put(KETTLE, 1).await.expect(200);
    down(world, "catalog").await;
    let stale = world.api.get(&page).await.expect(200);
    assert_eq!(stale.header("x-leeward-stale"), Some("true"));
    assert!(stale.header("warning").is_some_and(|warning| warning.starts_with("110")), "{stale:?}");
    assert!(stale.header("age").is_some());
    assert_eq!(stale.json(), fresh.json());
    let unseen = world.api.get("/products/head-torch-birch").await;
    assert!(is_outage(&unseen), "{unseen:?}");
    let order = world.order(customer, LAMP, 1, "tok_visa").await;
    assert_eq!(order["status"], "confirmed", "prices are known without the catalog");
    back(world, "catalog").await;
    world
        .soon("pages are fresh again", async || match world.api.get(&page).await {
            page if page.status == 200 && page.header("x-leeward-stale").is_none() => Ok(()),
            page => Err(format!("{page:?}")),
        })
        .await;
}

async fn users(world: &mut World, customer: &Customer) {
    down(world, "users").await;
    let wrong = json!({ "email": customer.email, "password": "x" });
    let login = world.api.post("/auth/login", &wrong).await;
    assert!(is_outage(&login), "{login:?}");
    let order = world.order(customer, LAMP, 1, "tok_visa").await;
    assert_eq!(order["status"], "confirmed", "whoever is logged in can buy");
    back(world, "users").await;
    assert_eq!(customer.again().await.user_id, customer.user_id);
}

async fn orders(world: &mut World, customer: &Customer) {
    let under_way = world.buy(customer, LAMP, 1, "tok_visa").await;
    down(world, "orders").await;
    let cart = customer.http.get("/cart").await;
    assert!(is_outage(&cart), "{cart:?}");
    assert_eq!(world.api.get(&format!("/products/{LAMP}")).await.status, 200);
    back(world, "orders").await;
    assert_eq!(customer.ended(&under_way).await["status"], "confirmed");
}

async fn payments(world: &mut World, customer: &Customer) {
    down(world, "payments").await;
    let order_id = world.buy(customer, LAMP, 1, "tok_visa").await;
    saga_is_at(world, &order_id, "authorise-payment").await;
    assert_eq!(customer.order(&order_id).await["status"], "placed");
    let (code, listed) = world.shop.command(&["sagas", "list"]);
    assert!(listed.contains(&order_id) && listed.contains("authorise-payment"), "{listed}");
    // A process that is gone may have sagas of its own: the list says that it is not all.
    let is_all = world.shop.topology() == Topology::One;
    assert_eq!(code, Some(if is_all { 0 } else { 2 }), "{listed}");
    assert_eq!(is_all, !listed.contains("payments: "), "{listed}");
    back(world, "payments").await;
    assert_eq!(customer.ended(&order_id).await["status"], "confirmed");
    assert_eq!(world.times(&order_id, OperationKind::Capture).await, 1);
}

async fn provider(world: &mut World, customer: &Customer) {
    world.case("the provider is gone");
    world.shop.kill(PROVIDER);
    let order_id = world.buy(customer, LAMP, 1, "tok_visa").await;
    saga_is_at(world, &order_id, "authorise-payment").await;
    world.shop.start_process(PROVIDER);
    assert_eq!(customer.ended(&order_id).await["status"], "confirmed");
    assert_eq!(world.times(&order_id, OperationKind::Authorise).await, 1);
}

/// Whoever works by command and reply over the bus: the order waits for it.
async fn participant(world: &mut World, customer: &Customer, service: &'static str) {
    down(world, service).await;
    let order_id = world.buy(customer, LAMP, 1, "tok_visa").await;
    // In one process it is still at work: see `down`.
    if world.shop.topology() == Topology::Seven {
        let step = if service == "inventory" { "reserve-stock" } else { "create-shipment" };
        saga_is_at(world, &order_id, step).await;
        assert_eq!(customer.order(&order_id).await["status"], "placed");
    }
    back(world, service).await;
    assert_eq!(customer.ended(&order_id).await["status"], "confirmed");
}

async fn notifications(world: &mut World, customer: &Customer) {
    down(world, "notifications").await;
    let mut orders = Vec::new();
    for _ in 0..5 {
        let order = world.order(customer, LAMP, 1, "tok_visa").await;
        assert_eq!(order["status"], "confirmed");
        orders.push(order["order_id"].clone());
    }
    let mailbox = customer.http.get("/notifications").await;
    assert!(is_outage(&mailbox), "{mailbox:?}");
    back(world, "notifications").await;
    customer
        .until("/notifications?limit=100", |page| {
            let items = page["items"].as_array().cloned().unwrap_or_default();
            let told = |order: &Value| {
                items.iter().any(|it| it["reference"] == *order && it["kind"] == "order_confirmed")
            };
            orders.iter().all(told)
        })
        .await;
}

async fn saga_is_at(world: &World, order_id: &str, step: &str) {
    let path = format!("/v1/services/orders/_leeward/sagas/{order_id}");
    world
        .soon("the saga waits", async || {
            let saga = world.shop.admin().send(Method::GET, &path, &[], None).await?.json();
            if saga["step"] == step { Ok(()) } else { Err(saga.to_string()) }
        })
        .await;
}

async fn one_service_moves() {
    let mut world = World::open(Topology::One).await;
    let customers = Customer::crowd(&world.api, 6).await;
    let load = Load::start(&customers, &[LAMP.to_owned(), KETTLE.to_owned()], 7);
    load.warm().await;
    world.case("the inventory moves out");
    world.shop.move_out("inventory");
    world.shop.wait_until_open().await;
    more_orders(&load).await;
    world.case("the inventory moves back");
    world.shop.move_back("inventory");
    world.shop.wait_until_open().await;
    more_orders(&load).await;
    let mut refused = Vec::new();
    for wish in load.finish().await {
        refused.extend(wish.note(&mut world.claims));
        refused.extend(wish.once_more().await);
    }
    assert_eq!(refused, []);
    let customer = world.customer().await;
    let order_id = customer.buy(LAMP, 1, "tok_visa").await;
    world.claims.accepted(&customer.user_id, &order_id);
    assert_eq!(customer.ended(&order_id).await["status"], "confirmed");
    world.must_agree().await;
}

/// Waits until customers have bought some more.
async fn more_orders(load: &Load) {
    let from = load.accepted();
    leeward_tests::shop::poll(crate::world::SOON, async || {
        let more = load.accepted() - from;
        if more >= 10 { Ok(()) } else { Err(format!("{more} orders")) }
    })
    .await
    .unwrap_or_else(|last| panic!("nobody can buy: {last}"));
}
