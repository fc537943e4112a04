//! Processes as their operators see them: how they start and stop, what they log, what they tell about their health and
//! their work.

use std::net::TcpListener;

use http::Method;
use leeward_tests::collector::Collector;
use leeward_tests::customer::new_key;
use leeward_tests::load::Load;
use leeward_tests::shop::{GATEWAY, SERVICES};
use leeward_tests::{Customer, Options, Shop, Topology, files, process};
use serde_json::json;

use crate::on_both;
use crate::world::World;

const LAMP: &str = "desk-lamp-oak";

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

mod stopping {
    use super::*;
    on_both!(a_stop_drains_within_five_seconds);
}

async fn a_stop_drains_within_five_seconds(topology: Topology) {
    let mut world = World::open(topology).await;
    let customers = Customer::crowd(&world.api, 6).await;
    let load = Load::start(&customers, &[LAMP.to_owned()], 3);
    load.warm().await;
    let mut stopped = world.shop.killable();
    // Whoever others need stops last, and starts first.
    stopped.sort_by_key(|name| *name == GATEWAY);
    for name in &stopped {
        world.case(&format!("{name} stops"));
        let _said = world.shop.stop(name);
    }
    for name in stopped.iter().rev() {
        world.shop.start_process(name);
    }
    world.shop.wait_until_open().await;
    let mut wrong = Vec::new();
    for wish in load.finish().await {
        wrong.extend(wish.note(&mut world.claims));
    }
    assert_eq!(wrong, []);
    world.must_agree().await;
}

/// A person who can mend it is told what, in one line, and the shell gets a 2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_it_from_starting_is_said_in_one_line() {
    let mut shop = Shop::open(Topology::One).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let text = |path: &std::path::Path| path.display().to_string();
    let (free, not_a_folder, in_use) =
        (text(&folder.path().join("free")), text(&file.join("data")), text(shop.data()));
    let bus = "leeward://127.0.0.1:9";
    let keyless = text(&folder.path().join("keyless"));
    for (args, hint) in [
        (vec!["demo", "--data", &free, "--port", &taken, "--admin-port", "0"], &*taken),
        (vec!["demo", "--data", &free, "--port", "0", "--admin-port", &taken], &*taken),
        (vec!["shop", "provider", "--data", &free, "--listen", &format!("127.0.0.1:{taken}")], &*taken),
        (vec!["demo", "--data", &not_a_folder, "--port", "0", "--admin-port", "0"], &*not_a_folder),
        (vec!["demo", "--data", "/proc/leeward", "--port", "0", "--admin-port", "0"], "/proc/leeward"),
        (vec!["demo", "--data", &in_use, "--port", "0", "--admin-port", "0"], "in use"),
        (vec!["shop", "inventory", "--data", &in_use, "--listen", "127.0.0.1:0"], "in use"),
        (
            vec!["shop", "inventory", "--data", &keyless, "--listen", "127.0.0.1:0", "--bus", bus],
            "LEEWARD_BUS_TOKEN",
        ),
        (vec!["shop", "nobody", "--data", &free], "nobody"),
        (vec!["demo", "--data", &free, "--at", "inventory"], "inventory=http://"),
    ] {
        let (code, said) = process::run(process::leeward(), &args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(said.contains(hint), "{args:?} does not name {hint}: {said}");
        // Beside it only what was logged on the way.
        let (own, logged): (Vec<_>, Vec<_>) = said.lines().partition(|line| line.starts_with("leeward: "));
        let is_log = |line: &&str| ["  WARN ", "  INFO "].iter().any(|level| line.contains(level));
        assert!(
            own.len() == 1 && logged.iter().filter(|line| !line.is_empty()).all(is_log),
            "{args:?}: {said}"
        );
    }
    let answer = shop.api().get("/products?limit=1").await;
    assert_eq!(answer.status, 200, "the one that was there first is not disturbed");
    let _said = shop.stop(GATEWAY);
}

/// Nothing that is secret, and nothing that names a person, stands in logs or events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_and_events_hold_no_secret_and_no_address() {
    let options = Options::new(Topology::One).env("LEEWARD_LOG", "debug").env("LEEWARD_LOG_FORMAT", "json");
    let mut world = World::open_with(options).await;
    let customer = world.customer().await;
    let wrong = json!({ "email": customer.email, "password": "not the password" });
    let _wrong = world.api.post("/auth/login", &wrong).await.expect(401);
    for token in ["tok_visa_secret", "tok_decline"] {
        let _order = world.order(&customer, LAMP, 1, token).await;
    }
    let correlation = "a-correlation-of-the-test";
    let _cart = customer
        .http
        .send(Method::GET, "/cart", &[("x-correlation-id", correlation)], None)
        .await
        .unwrap()
        .expect(200);
    let _twice = world
        .api
        .post(
            "/auth/register",
            &json!({ "email": customer.email, "password": "a long password", "name": "S" }),
        )
        .await;
    let _malformed = customer.http.post("/checkout", &json!({ "payment_token": "4111111111111111" })).await;
    let _out =
        world.api.post("/auth/logout", &json!({ "refresh_token": customer.refresh_token })).await.expect(204);
    let gone = world.customer().await;
    let _erased = gone.http.delete("/users/me").await.expect(204);
    world.must_agree().await;

    let log = world.shop.log();
    let told = ["/checkout", "/auth/login", "/internal/payments/authorise", correlation];
    let told = told.iter().all(|it| log.contains(it));
    assert!(log.lines().count() > 100 && told, "a log that says nothing proves nothing:\n{log}");
    for line in log.lines().filter(|line| line.starts_with('{')) {
        let parsed: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(parsed.is_object());
    }
    let bus_token = std::fs::read_to_string(world.shop.data().join("keys").join("bus.token")).unwrap();
    let bus = files::open(world.shop.data(), "bus");
    let events =
        files::rows(&bus, "SELECT CAST(body AS TEXT) FROM bus_log", |row| row.get::<_, String>(0)).join("\n");
    assert!(events.contains("order.confirmed"), "no events: {events}");
    let secrets = [
        ("an e-mail address", customer.email.as_str()),
        ("an e-mail address", "customers.example"),
        ("an e-mail address", "shop.example"),
        ("a password", "a long password"),
        ("a password", "not the password"),
        ("a password", "admin-demo"),
        ("an access token", &customer.access_token),
        ("a token", "eyJ"),
        ("a refresh token", &customer.refresh_token),
        ("a payment token", "tok_visa_secret"),
        ("a card number", "4111111111111111"),
        ("the bus token", bus_token.trim()),
        ("a password's hash", "$argon2"),
    ];
    for (what, secret) in secrets {
        for (place, text) in [("the log", &log), ("an event", &events)] {
            let found = text.lines().find(|line| line.contains(secret));
            // The demo prints how to log in as its public customer.
            let found = found.filter(|line| !line.starts_with("  -d '{"));
            assert_eq!(found, None, "{what} in {place}");
        }
    }
}

/// One order is one connected trace, from the gateway through HTTP, outbox, bus and saga.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_order_is_one_connected_trace() {
    let collector = Collector::start().await;
    let options = Options::new(Topology::Seven)
        .env("OTEL_SDK_DISABLED", "false")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
    let mut world = World::open_with(options).await;
    let customer = world.customer().await;
    let _cart = customer.put(LAMP, 1).await.expect(200);
    let (trace_id, own_id) = (uuid::Uuid::new_v4().simple().to_string(), "00f067aa0ba902b7");
    let traceparent = format!("00-{trace_id}-{own_id}-01");
    let key = new_key();
    let headers = [("idempotency-key", key.as_str()), ("traceparent", traceparent.as_str())];
    let body = json!({ "payment_token": "tok_visa" });
    let accepted =
        customer.http.send(Method::POST, "/checkout", &headers, Some(&body)).await.unwrap().expect(202);
    let order_id = accepted.order_id();
    world.claims.only(&customer.user_id, &order_id);
    assert_eq!(customer.ended(&order_id).await["status"], "confirmed");
    world.must_agree().await;

    let involved = ["gateway", "orders", "inventory", "payments", "shipping", "notifications"];
    world
        .soon("all services have exported their part", async || {
            let trace = collector.trace(&trace_id);
            let orphan =
                trace.values().find(|span| span.parent_id != own_id && !trace.contains_key(&span.parent_id));
            let absent = involved.iter().find(|name| !trace.values().any(|span| span.service == **name));
            match (absent, orphan) {
                (None, None) => Ok(()),
                (Some(name), _) => Err(format!("{name} is not in {trace:#?}")),
                (None, Some(orphan)) => Err(format!("{orphan:?} has no parent in {trace:#?}")),
            }
        })
        .await;
    let trace = collector.trace(&trace_id);
    let roots: Vec<_> = trace.values().filter(|span| span.parent_id == own_id).collect();
    assert_eq!(roots.len(), 1, "{roots:#?}");
    assert_eq!(roots[0].service, "gateway");
    for step in ["reserve-stock", "authorise-payment", "capture-payment", "create-shipment", "confirm-order"]
    {
        let is_there = trace.values().any(|span| span.service == "orders" && span.name.contains(step));
        assert!(is_there, "no span of {step} in {trace:#?}");
    }
}

/// Without the process that owns the bus, services live on, say so, and recover by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_turns_red_without_the_bus_and_recovers() {
    let mut world = World::open(Topology::Seven).await;
    let mut clients = Vec::new();
    for name in SERVICES {
        clients.push((name, world.shop.service(name).await));
    }
    let check = async |http: &leeward_tests::Http, state: &str| {
        let health = http.send(Method::GET, "/health", &[], None).await?.json();
        let checks = health["checks"].as_array().cloned().unwrap_or_default();
        let bus = checks.iter().find(|check| check["name"] == "bus").map(|check| check["state"].clone());
        if bus == Some(json!(state)) { Ok(()) } else { Err(health.to_string()) }
    };
    world.shop.kill(GATEWAY);
    for (name, http) in &clients {
        world.soon(&format!("{name} says that the bus is down"), async || check(http, "down").await).await;
        let live = http.get("/health/live").await;
        assert_eq!(live.status, 200, "{name} lives without the bus");
    }
    world.shop.start_process(GATEWAY);
    world.shop.wait_until_open().await;
    for (name, http) in &clients {
        world.soon(&format!("{name} says that the bus is back"), async || check(http, "up").await).await;
    }
    let customer = world.customer().await;
    let order = world.order(&customer, LAMP, 1, "tok_visa").await;
    assert_eq!(order["status"], "confirmed");
    world.must_agree().await;
}
