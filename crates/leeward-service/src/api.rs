//! The routes of a service: each with who may call it, documented by the same code that serves it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::routing::{MethodRouter, any};
use http::Method;
use leeward_resilience::Priority;
use parking_lot::Mutex;
use utoipa::openapi::path::Paths;
use utoipa::openapi::{RefOr, Schema};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::access::Access;
use crate::builtin;
use crate::inbound::{self, Stack};

pub(crate) mod document;

/// The largest body that a route takes unless it says otherwise: a JSON document of a business API is far below it.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The routes of a service over the handlers' state `S`.
///
/// ```
/// use leeward_service::{Access, Api, Json, routes};
///
/// #[utoipa::path(get, path = "/answer", responses((status = 200, body = u32)))]
/// async fn answer() -> Json<u32> {
///     Json(42)
/// }
///
/// let api: Api = Api::new().add(Access::Anyone, routes!(answer));
/// assert_eq!(api.routes()[0].path, "/answer");
/// ```
pub struct Api<S = ()> {
    entries: Vec<Entry<S>>,
}

struct Entry<S> {
    options: RouteOptions,
    access: Access,
    schemas: Vec<(String, RefOr<Schema>)>,
    paths: Paths,
    router: MethodRouter<S>,
}

/// What a route may have of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteOptions {
    /// The largest body it takes.
    pub body_bytes_max: usize,
    /// Neither shed nor limited, and spared from injected faults: probes, metrics and the operator's own routes.
    pub essential: bool,
    /// How much its requests matter when there are too many, unless their caller, itself known by its assertion, says it
    /// ([`PRIORITY_HEADER`](leeward_resilience::PRIORITY_HEADER)). Default [`Priority::Normal`].
    pub priority: Priority,
    /// The longest it may take, where that is not what [`InboundOptions`](crate::InboundOptions) says.
    pub deadline_max: Option<Duration>,
}

impl RouteOptions {
    /// For routes by which others see and help a service in trouble.
    pub(crate) const ESSENTIAL: Self = Self {
        body_bytes_max: BODY_BYTES_MAX,
        essential: true,
        priority: Priority::Critical,
        deadline_max: None,
    };
}

impl Default for RouteOptions {
    fn default() -> Self {
        Self {
            body_bytes_max: BODY_BYTES_MAX,
            essential: false,
            priority: Priority::default(),
            deadline_max: None,
        }
    }
}

/// One method of one route, as the identity test walks them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteInfo {
    /// The method.
    pub method: Method,
    /// The path template, `/orders/{id}`.
    pub path: &'static str,
    /// Who may call.
    pub access: Access,
}

/// Two routes that answer to the same method and path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{method} {path} is declared twice")]
pub struct DuplicateRoute {
    /// The method.
    pub method: Method,
    /// The path template.
    pub path: &'static str,
}

impl<S: Clone + Send + Sync + 'static> Api<S> {
    /// No routes yet.
    #[must_use]
    pub fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds what `routes!` collected, all of it for `access`.
    #[must_use]
    pub fn add(self, access: Access, routes: UtoipaMethodRouter<S>) -> Self {
        self.add_with(access, RouteOptions::default(), routes)
    }

    /// The same with options of its own.
    #[must_use]
    pub fn add_with(mut self, access: Access, options: RouteOptions, routes: UtoipaMethodRouter<S>) -> Self {
        let (schemas, paths, router) = routes;
        self.entries.push(Entry { options, access, schemas, paths, router });
        self
    }

    /// Adds all routes of another.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.entries.extend(other.entries);
        self
    }

    /// Gives the handlers their state.
    #[must_use]
    pub fn with_state(self, state: S) -> Api<()> {
        let give = |entry: Entry<S>| Entry {
            options: entry.options,
            access: entry.access,
            schemas: entry.schemas,
            paths: entry.paths,
            router: entry.router.with_state(state.clone()),
        };
        Api { entries: self.entries.into_iter().map(give).collect() }
    }

    /// Every (method, path, access), in the order added.
    #[must_use]
    pub fn routes(&self) -> Vec<RouteInfo> {
        let infos = |entry: &Entry<S>| {
            let access = entry.access;
            let each = |(path, item): (&String, &utoipa::openapi::PathItem)| {
                let path = interned(path);
                document::methods(item).into_iter().map(move |method| RouteInfo { method, path, access })
            };
            entry.paths.paths.iter().flat_map(each).collect::<Vec<_>>()
        };
        self.entries.iter().flat_map(infos).collect()
    }

    /// Fails when two routes answer to the same method and path, which axum would answer with a panic.
    pub(crate) fn check(&self) -> Result<(), DuplicateRoute> {
        let mut seen = HashSet::new();
        let twice = self.routes().into_iter().find(|route| !seen.insert((route.method.clone(), route.path)));
        twice.map_or(Ok(()), |RouteInfo { method, path, .. }| Err(DuplicateRoute { method, path }))
    }
}

impl Api<()> {
    /// The document that describes these routes.
    pub(crate) fn document(&self, service: &str) -> utoipa::openapi::OpenApi {
        let described =
            self.entries.iter().map(|entry| (entry.access, &entry.paths, entry.schemas.as_slice()));
        document::build(service, described)
    }

    /// The router that serves these routes, each behind the inbound stack.
    pub(crate) fn into_router(self, stack: &Arc<Stack>) -> axum::Router {
        let mut by_path: BTreeMap<&'static str, MethodRouter> = BTreeMap::new();
        for entry in self.entries {
            for path in entry.paths.paths.keys() {
                let path = interned(path);
                let spec = inbound::Spec { path, access: entry.access, options: entry.options };
                let router = entry.router.clone().layer(inbound::layer(stack, spec));
                let whole = by_path.remove(path).unwrap_or_default().merge(router);
                by_path.insert(path, whole);
            }
        }
        let other_methods = |path| {
            let options = RouteOptions::ESSENTIAL;
            let spec = inbound::Spec { path, access: Access::Anyone, options };
            any(builtin::method_not_allowed).layer(inbound::layer(stack, spec))
        };
        by_path.into_iter().fold(axum::Router::new(), |router, (path, methods)| {
            router.route(path, methods.fallback_service(other_methods(path)))
        })
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Api<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> std::fmt::Debug for Api<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.routes()).finish()
    }
}

/// The one copy of a path template that lives as long as the process: names of spans and labels of metrics are then free.
/// Templates stand in the source, so their number is bounded.
pub(crate) fn interned(path: &str) -> &'static str {
    static PATHS: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let path = if path.is_empty() { "/" } else { path };
    let mut paths = PATHS.lock();
    let paths = paths.get_or_insert_default();
    if let Some(known) = paths.get(path) {
        return known;
    }
    let kept: &'static str = Box::leak(path.to_owned().into_boxed_str());
    paths.insert(kept);
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use utoipa_axum::routes;

    use super::*;
    use crate::Json;

    #[utoipa::path(get, path = "/things/{id}", responses((status = 200, body = u32)))]
    async fn get_thing() -> Json<u32> {
        Json(1)
    }

    #[utoipa::path(delete, path = "/things/{id}", responses((status = 204)))]
    async fn delete_thing() {}

    #[test]
    fn the_table_lists_every_method() {
        let api: Api = Api::new()
            .add(Access::User, routes!(get_thing))
            .add(Access::Role("admin"), routes!(delete_thing));
        let routes = api.routes();
        assert_eq!(routes[0], RouteInfo { method: Method::GET, path: "/things/{id}", access: Access::User });
        assert_eq!(routes[1].access, Access::Role("admin"));
        assert!(api.check().is_ok());
        let twice = api.add(Access::Anyone, routes!(get_thing));
        assert_eq!(twice.check().unwrap_err().to_string(), "GET /things/{id} is declared twice");
    }

    #[test]
    fn the_document_says_who_may() {
        let api: Api =
            Api::new().add(Access::User, routes!(get_thing)).add(Access::Operator, routes!(delete_thing));
        let document = serde_json::to_value(api.document("things")).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let path = &document["paths"]["/things/{id}"];
        assert_eq!(path["get"]["x-leeward-access"], "user");
        assert_eq!(path["delete"]["x-leeward-access"], "operator");
        let problem = &path["get"]["responses"]["default"]["content"]["application/problem+json"]["schema"];
        assert_eq!(problem["$ref"], "#/components/schemas/ProblemBody");
        assert!(document["components"]["schemas"]["ProblemBody"].is_object());
    }
}
