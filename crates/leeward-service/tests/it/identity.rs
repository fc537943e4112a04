//! Whose word counts for what, over sockets: an outside party that stands in the directory too, and publishes keys.

use leeward_service::{Access, Api, Caller, Issuers, Json, Kit, Principal, Service, User, routes};

use crate::world::{World, anna, asserts, get};

#[utoipa::path(get, path = "/me", responses((status = 200, body = String)))]
async fn me(caller: Caller) -> Json<String> {
    Json(caller.user().map(|user| user.id.to_string()).unwrap_or_default())
}

#[utoipa::path(get, path = "/all", responses((status = 200, body = String)))]
async fn all() -> Json<&'static str> {
    Json("everything")
}

#[tokio::test]
async fn only_our_own_may_sign_and_only_the_gateway_gives_roles() {
    let world = World::new().await;
    let gateway = world.issuer("gateway").await;
    let orders = world.issuer("orders").await;
    let provider = world.issuer("provider").await;
    let mut options = world.options("shop");
    options.issuers = Issuers::only(["gateway", "orders"]);
    let kit = Kit::new(options).await.unwrap();
    kit.db(&[]).await.unwrap();
    let api = Api::new().add(Access::User, routes!(me)).add(Access::Role("admin"), routes!(all));
    let address = world.serve(Service::builder(kit).api(api).build().unwrap()).await;

    let admin = Principal::User(User::new("u-admin").with_role("admin"));
    for (issuer, principal, path, status) in [
        (&gateway, &admin, "/me", 200),
        (&gateway, &admin, "/all", 200),
        (&gateway, &anna(), "/all", 403),
        // A service may act for a user, and may not say what that user may do.
        (&orders, &admin, "/me", 200),
        (&orders, &admin, "/all", 403),
        (&orders, &Principal::Service, "/internal/events", 200),
        // The directory knows where the provider is, and its keys are there to be asked for.
        (&provider, &admin, "/me", 401),
        (&provider, &admin, "/all", 401),
        (&provider, &Principal::Service, "/internal/events", 401),
        (&provider, &Principal::Operator, "/_leeward/health", 401),
    ] {
        let answer = get(address, path, &asserts(issuer, principal, "shop")).await;
        let who = issuer.identity().name();
        assert_eq!(answer.status, status, "{who} for {principal:?} at {path}: {answer:?}");
    }
    world.stop().await;
}
