//! What operators see of the outside provider.

use serde_json::{Value, json};

use crate::world::{Who, World};

/// The check of the provider as it is now, and whether payments takes requests.
async fn look(world: &World) -> (Value, u16) {
    // An open breaker would say that nobody was asked.
    world.client.pipeline().breaker().unwrap().reset();
    world.health.run_all().await;
    let (status, report) = world.call(&Who::Operator, "GET", "/_leeward/health", None, None).await;
    assert_eq!(status, 200, "{report}");
    let check = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "provider");
    let ready = world.call(&Who::Nobody, "GET", "/health/ready", None, None).await.0;
    (check.expect("there is no such check")["state"].clone(), ready)
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_seen_and_payments_stays_ready() {
    let world = World::new().await;
    assert_eq!(look(&world).await, (json!("up"), 200));
    world.faults(json!({"refuse_all": true})).await;
    assert_eq!(look(&world).await, (json!("down"), 200));
    world.faults(json!({})).await;
    assert_eq!(look(&world).await, (json!("up"), 200));
    world.directory.clear("provider");
    assert_eq!(look(&world).await, (json!("down"), 200));
    assert!(world.ledger().await.is_empty(), "looking changes nothing");
    world.stop().await;
}
