//! Each route with nobody's, a user's, the right service's and the wrong service's identity.

use leeward_service::Access;

use crate::world::{Who, World};

#[tokio::test]
async fn every_route_asks_who_calls() {
    let world = World::new().await;
    let mut own = 0;
    for route in world.routes.iter().filter(|route| !route.path.starts_with("/_leeward")) {
        let path = route.path.replace("{id}", "x").replace("{number}", "1").replace("{key}", "x");
        let refused = async |who: Who| {
            let (status, _) = world.call(&who, route.method.as_str(), &path, None, None).await;
            status == 401 || status == 403
        };
        let (nobody, user, orders, stranger) = (
            refused(Who::Nobody).await,
            refused(Who::User("u-anna")).await,
            refused(Who::Orders).await,
            refused(Who::Stranger).await,
        );
        let expected = match route.access {
            Access::Services(_) if route.path.starts_with("/internal/payments") => (true, true, false, true),
            Access::User => (true, false, true, true),
            _ => continue,
        };
        own += 1;
        assert_eq!((nobody, user, orders, stranger), expected, "{} {}", route.method, route.path);
    }
    assert_eq!(own, 8, "four internal routes and four for customers");
    world.stop().await;
}

#[tokio::test]
async fn every_route_is_documented() {
    let world = World::new().await;
    let (status, document) = world.call(&Who::Orders, "GET", "/openapi.json", None, None).await;
    assert_eq!((status, document["openapi"].as_str()), (200, Some("3.1.0")));
    for route in
        world.routes.iter().filter(|route| route.path.contains("payments") || route.path.contains("invoices"))
    {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        assert!(operation["responses"].is_object(), "{} {}", route.method, route.path);
    }
    world.stop().await;
}
