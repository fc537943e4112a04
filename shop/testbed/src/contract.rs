//! What every service of the shop owes, whatever it does.

use std::collections::BTreeSet;

use http::Method;
use leeward_service::{Access, RouteInfo};

pub use leeward_service::User;

use crate::site::Site;

/// A user with an id and nothing else.
#[must_use]
pub fn user(id: &str) -> User {
    User::new(id)
}

/// A user who may do everything that the routes of `site` ask for.
#[must_use]
pub fn everything(site: &Site, id: &str) -> User {
    site.routes().iter().fold(User::new(id), |user, route| match route.access {
        Access::Permission(permission) => user.with_permission(permission),
        Access::Role(role) => user.with_role(role),
        _ => user,
    })
}

/// Panics unless the service keeps to what all services owe:
/// - its document names exactly the routes it has;
/// - each route lets in whom its table names, and nobody else;
/// - a body that is no JSON, of another media type or with an unknown field is refused before anything is done;
/// - a list takes a limit of 1 to 100 and no unknown parameter.
pub async fn check_contract(site: &Site) {
    let served: BTreeSet<_> =
        site.routes().iter().map(|route| (route.method.to_string(), route.path.to_owned())).collect();
    assert_eq!(site.document().operations(), served, "the document and the routes");
    assert_eq!(site.audit().run(site.routes()).await.unwrap(), [], "who may call what");
    for route in site.routes().iter().filter(|route| is_its_own(route)) {
        let operation = site.document().operation(&route.method, route.path);
        if !operation["requestBody"].is_null() {
            check_bodies(site, route).await;
        }
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        if parameters.iter().any(|parameter| parameter["in"] == "query") {
            let has_limit = parameters.iter().any(|parameter| parameter["name"] == "limit");
            check_query(site, route, has_limit).await;
        }
    }
}

/// Whether a route is the service's own and open to users.
fn is_its_own(route: &RouteInfo) -> bool {
    let kits =
        route.path.starts_with("/health") || ["/ready", "/metrics", "/openapi.json"].contains(&route.path);
    !kits && matches!(route.access, Access::Anyone | Access::User | Access::Role(_) | Access::Permission(_))
}

async fn check_bodies(site: &Site, route: &RouteInfo) {
    let by = everything(site, "u-contract");
    let call = || site.request(route.method.clone(), &filled(route.path)).by(&by);
    let json = "application/json";
    for (media, body, status) in [
        (json, "{", 400),
        (json, "", 400),
        (json, "[]", 422),
        (json, r#"{"no_such_field":1}"#, 422),
        ("text/plain", "{}", 415),
    ] {
        let answer = call().raw(media, body).send().await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{} {} with {body:?}: {answer:?}",
            route.method,
            route.path
        );
    }
}

async fn check_query(site: &Site, route: &RouteInfo, has_limit: bool) {
    assert_eq!(route.method, Method::GET, "{}", route.path);
    let by = everything(site, "u-contract");
    let path = filled(route.path);
    let call = async |query: &str| site.get(&format!("{path}?{query}")).by(&by).send().await.status.as_u16();
    assert_eq!(call("no_such_parameter=1").await, 400, "{path}");
    if has_limit {
        for (query, status) in [("limit=0", 422), ("limit=101", 422), ("limit=x", 400), ("limit=100", 200)] {
            assert_eq!(call(query).await, status, "{path}?{query}");
        }
    }
}

/// The path with a value for each parameter.
fn filled(template: &str) -> String {
    let segments =
        template.split('/').map(|segment| if segment.starts_with('{') { "contract" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}
