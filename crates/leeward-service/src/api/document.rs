//! The OpenAPI document: what `routes!` collected, and what the kit adds to every operation.

use http::Method;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, Paths};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, Ref, RefOr, ResponseBuilder,
    Schema,
};
use utoipa::{PartialSchema, ToSchema};

use crate::access::Access;
use crate::identity::ASSERTION_HEADER;
use crate::problem::{PROBLEM_JSON, ProblemBody};

const SECURITY: &str = "assertion";

/// One document for all entries: `(access, paths, schemas)`.
pub(super) fn build<'a>(
    service: &str,
    entries: impl Iterator<Item = (Access, &'a Paths, &'a [(String, RefOr<Schema>)])>,
) -> OpenApi {
    let mut paths = Paths::new();
    let mut components =
        ComponentsBuilder::new().schema(ProblemBody::name(), ProblemBody::schema()).security_scheme(
            SECURITY,
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(ASSERTION_HEADER))),
        );
    for (access, entry_paths, schemas) in entries {
        let mut entry_paths = entry_paths.clone();
        for item in entry_paths.paths.values_mut() {
            operations(item).into_iter().for_each(|operation| complete(operation, access));
        }
        paths.merge(entry_paths);
        components = components.schemas_from_iter(schemas.iter().cloned());
    }
    OpenApiBuilder::new()
        .info(InfoBuilder::new().title(service).version(env!("CARGO_PKG_VERSION")).build())
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

/// Says who may call, and that any error is a problem.
fn complete(operation: &mut Operation, access: Access) {
    let who = ExtensionsBuilder::new().add("x-leeward-access", access.to_string()).build();
    operation.extensions.get_or_insert_default().merge(who);
    if access != Access::Anyone {
        operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(SECURITY, [])]);
    }
    let problem = ResponseBuilder::new()
        .description("Any error, as a problem with a stable code")
        .content(PROBLEM_JSON, Content::new(Some(Ref::from_schema_name(ProblemBody::name()))))
        .build();
    operation.responses.responses.entry("default".to_owned()).or_insert(problem.into());
}

/// The methods that a path answers to.
pub(super) fn methods(item: &PathItem) -> Vec<Method> {
    let all = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::OPTIONS, &item.options),
        (Method::HEAD, &item.head),
        (Method::PATCH, &item.patch),
        (Method::TRACE, &item.trace),
    ];
    all.into_iter().filter(|(_, operation)| operation.is_some()).map(|(method, _)| method).collect()
}

fn operations(item: &mut PathItem) -> Vec<&mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().flatten().collect()
}
