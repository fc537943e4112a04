//! What every service answers without saying anything about it.

use leeward_service::{Access, Principal, Service};

use crate::world::{World, asserts, get};

#[tokio::test]
async fn the_kit_brings_health_metrics_keys_and_a_document() {
    let world = World::new().await;
    let gateway = world.issuer("gateway").await;
    let kit = world.kit("shop").await;
    kit.db(&[]).await.unwrap();
    let service = Service::builder(kit).build().unwrap();
    assert!(service.routes().iter().any(|route| route.path == "/health" && route.access == Access::Anyone));
    let address = world.serve(service).await;

    for probe in ["/health/live", "/health/ready", "/ready"] {
        assert_eq!(get(address, probe, "").await.status, 200, "{probe}");
    }
    let anyone = get(address, "/health", "").await.json();
    assert_eq!(anyone["state"], "up");
    assert!(anyone["checks"].as_array().unwrap().iter().any(|check| check["name"] == "database"));
    assert!(anyone["checks"][0].get("value").is_none(), "anyone sees states only");
    let operator = get(address, "/health", &asserts(&gateway, &Principal::Operator, "shop")).await.json();
    assert!(operator["checks"][0]["value"].is_string() && operator["checks"][0]["age_ms"].is_u64());

    let keys = get(address, "/.well-known/leeward-keys", "").await.json();
    assert_eq!(keys["keys"][0]["crv"], "Ed25519");
    assert!(keys["keys"][0].get("d").is_none(), "only the public half");
    let document = get(address, "/openapi.json", "").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "shop");
    assert!(document["paths"]["/health/ready"]["get"].is_object());
    world.stop().await;
}

#[tokio::test]
async fn a_database_that_is_gone_makes_it_unready_but_not_dead() {
    let world = World::new().await;
    let kit = world.kit("shop").await;
    let db = kit.db(&[]).await.unwrap();
    db.close().await;
    let address = world.serve(Service::builder(kit).build().unwrap()).await;
    assert_eq!(get(address, "/health/ready", "").await.status, 503);
    assert_eq!(get(address, "/health", "").await.json()["state"], "down");
    assert_eq!(get(address, "/health/live", "").await.status, 200);
    world.stop().await;
}
