//! Each route with nobody's, a user's, an administrator's and a service's identity.

use leeward_service::Access;

use crate::world::{ANNA, Who, World};

const PREFIXES: [&str; 4] = ["/cart", "/checkout", "/orders", "/returns"];

#[tokio::test]
async fn every_route_asks_who_calls() {
    let world = World::new().await;
    let mut own = 0;
    for route in &world.routes {
        if !PREFIXES.iter().any(|prefix| route.path.starts_with(prefix)) {
            continue;
        }
        own += 1;
        let path = route.path.replace("{id}", "x").replace("{product_id}", "x");
        let refused = async |who: Who| {
            let status = world.call(who, route.method.as_str(), &path, None, None).await.status;
            status == 401 || status == 403
        };
        let (nobody, service, user, admin) = (
            refused(Who::Nobody).await,
            refused(Who::Stranger).await,
            refused(ANNA).await,
            refused(Who::Admin).await,
        );
        let expected = match route.access {
            Access::User => (true, true, false, false),
            Access::Role("admin") => (true, true, true, false),
            other => panic!("{} {} is for {other}", route.method, route.path),
        };
        assert_eq!((nobody, service, user, admin), expected, "{} {}", route.method, route.path);
    }
    assert_eq!(own, 11);
    world.stop().await;
}

#[tokio::test]
async fn every_route_is_documented() {
    let world = World::new().await;
    let document = world.get(ANNA, "/openapi.json").await;
    assert_eq!((document.status, document.body["openapi"].as_str()), (200, Some("3.1.0")));
    for route in
        world.routes.iter().filter(|route| PREFIXES.iter().any(|prefix| route.path.starts_with(prefix)))
    {
        let operation = &document.body["paths"][route.path][route.method.as_str().to_lowercase()];
        assert!(operation["responses"].is_object(), "{} {}", route.method, route.path);
        assert!(operation["summary"].is_string(), "{} {}", route.method, route.path);
    }
    world.stop().await;
}
