//! The routes under `/_leeward`: for operators only, never routed at the edge.

mod events;
mod faults;
mod overview;
pub(crate) mod projections;
mod sagas;

use utoipa_axum::router::UtoipaMethodRouter;

use crate::access::Access;
use crate::api::{Api, BODY_BYTES_MAX, RouteOptions};
use crate::builtin::Host;

/// Spared from shedding and from faults: an operator has to reach a service that is in trouble.
const ESSENTIAL: RouteOptions =
    RouteOptions { body_bytes_max: BODY_BYTES_MAX, essential: true, deadline_max: None };

pub(crate) fn api() -> Api<Host> {
    events::api().merge(faults::api()).merge(overview::api()).merge(projections::api()).merge(sagas::api())
}

fn operator(routes: UtoipaMethodRouter<Host>) -> Api<Host> {
    Api::new().add_with(Access::Operator, ESSENTIAL, routes)
}
