//! The audit of the route table, and that it can fail.

use std::sync::Arc;

use axum::extract::State;
use leeward_resilience::{Clock, TokioClock};
use leeward_service::audit::{Audit, Expected};
use leeward_service::{Access, Api, Json, Path, Service, routes};

use crate::world::World;

#[utoipa::path(get, path = "/open", responses((status = 200)))]
async fn open() {}

#[utoipa::path(get, path = "/mine/{id}", responses((status = 200)))]
async fn mine(Path(_id): Path<String>) {}

#[utoipa::path(post, path = "/admin", responses((status = 200)))]
async fn admin(Json(_body): Json<serde_json::Value>) {}

#[utoipa::path(post, path = "/internal", responses((status = 200)))]
async fn internal(State(_state): State<Arc<str>>) {}

async fn audit(world: &World) -> (Audit, Service) {
    let gateway = world.issuer("gateway").await;
    let outsider = world.issuer("outsider").await;
    let api = Api::new()
        .add(Access::Anyone, routes!(open))
        .add(Access::User, routes!(mine))
        .add(Access::Role("admin"), routes!(admin))
        .add(Access::Services(&["orders"]), routes!(internal));
    let service = Service::builder(world.kit("shop").await).api(api).state("state".into()).build().unwrap();
    let address = ([127, 0, 0, 1], 0).into();
    let audit =
        Audit { service: "shop".to_owned(), address, gateway, outsider, now_unix_ms: TokioClock.unix_ms() };
    (audit, service)
}

#[tokio::test]
async fn every_route_keeps_to_its_table() {
    let world = World::new().await;
    let (mut audit, service) = audit(&world).await;
    let routes = service.routes().to_vec();
    assert!(routes.iter().filter(|route| route.access == Access::Operator).count() >= 4, "{routes:?}");
    audit.address = world.serve(service).await;
    assert_eq!(audit.run(&routes).await.unwrap(), []);
    world.stop().await;
}

#[tokio::test]
async fn a_route_that_lets_in_the_wrong_one_is_found() {
    let world = World::new().await;
    let (mut audit, service) = audit(&world).await;
    let mut routes = service.routes().to_vec();
    for route in &mut routes {
        match route.path {
            "/open" => route.access = Access::Operator,
            "/internal" => route.access = Access::Anyone,
            _ => {}
        }
    }
    audit.address = world.serve(service).await;
    let breaches = audit.run(&routes).await.unwrap();
    assert!(breaches.iter().all(|breach| breach.route.path == "/open"), "{breaches:?}");
    let nobody = breaches.iter().find(|breach| breach.caller == "nobody").unwrap();
    assert_eq!((nobody.status, nobody.expected), (200, Expected::Status(401)));
    world.stop().await;
}
