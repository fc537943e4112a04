//! What operators do over HTTP.

use leeward_service::{FaultSet, Principal, Service};
use serde_json::json;

use crate::world::{World, asserts, get, post, send};

async fn put(address: std::net::SocketAddr, headers: &str, body: &str) -> crate::world::Answer {
    let request = format!(
        "PUT /_leeward/faults HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         {headers}connection: close\r\n\r\n{body}",
        body.len(),
    );
    send(address, &request).await.unwrap()
}

#[tokio::test]
async fn faults_are_set_by_operators_where_they_are_allowed() {
    let world = World::new().await;
    let gateway = world.issuer("gateway").await;
    let kit = world.kit("shop").await;
    let faults = kit.faults.clone();
    let address = world.serve(Service::builder(kit).build().unwrap()).await;
    let mut options = world.options("strict");
    options.allow_faults = false;
    let strict = Service::builder(leeward_service::Kit::new(options).await.unwrap()).build().unwrap();
    let strict = world.serve(strict).await;
    let operator = |service| asserts(&gateway, &Principal::Operator, service);

    let set = r#"{"inbound":{"latency_ms":5},"outbound":{"provider":{"error_percent":50}}}"#;
    assert_eq!(put(address, &operator("shop"), set).await.status, 200);
    assert_eq!(faults.get().outbound["provider"].error_percent, 50);
    let seen = get(address, "/_leeward/faults", &operator("shop")).await;
    assert_eq!(seen.json()["inbound"]["latency_ms"], 5);
    assert_eq!(put(address, &operator("shop"), r#"{"inbound":{"latencyms":5}}"#).await.status, 422);
    assert_eq!(put(address, &operator("shop"), r#"{"inbound":{"error_percent":101}}"#).await.status, 422);
    assert_eq!(put(address, &operator("shop"), "{}").await.status, 200);
    assert_eq!(faults.get(), FaultSet::default());

    let refused = put(strict, &operator("strict"), set).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "faults_not_allowed"));
    assert_eq!(put(address, "", set).await.status, 401);
    world.stop().await;
}

#[tokio::test]
async fn an_operator_sees_what_is_in_force() {
    let world = World::new().await;
    let gateway = world.issuer("gateway").await;
    let kit = world.kit("shop").await;
    let _client = kit.client("gateway");
    let address = world.serve(Service::builder(kit).build().unwrap()).await;
    let operator = asserts(&gateway, &Principal::Operator, "shop");
    let config = get(address, "/_leeward/config", &operator).await.json();
    assert_eq!(config["targets"][0]["name"], "gateway");
    assert!(config["targets"][0]["policies"].as_str().unwrap().contains("breaker"));
    assert_eq!(config["targets"][0]["endpoints"][0]["healthy"], true);
    assert!(config["tasks"].as_array().unwrap().iter().any(|task| task == "shop.http.accept"), "{config}");
    let health = get(address, "/_leeward/health", &operator).await.json();
    assert!(health["checks"][0]["value"].is_string());
    world.stop().await;
}

#[tokio::test]
async fn an_operator_has_a_projection_rebuilt() {
    let world = World::new().await;
    let gateway = world.issuer("gateway").await;
    let kit = world.kit("shop").await;
    let service =
        Service::builder(kit).projection("shelf", async || Ok(json!({ "rows": 7 }))).build().unwrap();
    let address = world.serve(service).await;
    let operator = asserts(&gateway, &Principal::Operator, "shop");
    assert_eq!(get(address, "/_leeward/projections", &operator).await.json(), json!(["shelf"]));
    let rebuilt = post(address, "/_leeward/projections/shelf/rebuild", &operator, "{}").await.unwrap();
    assert_eq!((rebuilt.status, &rebuilt.json()["rows"]), (200, &7.into()));
    let unknown = post(address, "/_leeward/projections/other/rebuild", &operator, "{}").await.unwrap();
    assert_eq!(unknown.status, 404);
    world.stop().await;
}
