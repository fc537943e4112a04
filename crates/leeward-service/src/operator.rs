//! The routes under `/_leeward`: for operators only, never routed at the edge.

mod events;
mod faults;
mod overview;
pub(crate) mod projections;
mod sagas;

use utoipa_axum::router::UtoipaMethodRouter;

use crate::access::Access;
use crate::api::{Api, RouteOptions};
use crate::builtin::Host;

pub(crate) fn api() -> Api<Host> {
    events::api().merge(faults::api()).merge(overview::api()).merge(projections::api()).merge(sagas::api())
}

/// Spared from shedding and from faults: an operator has to reach a service that is in trouble.
fn operator(routes: UtoipaMethodRouter<Host>) -> Api<Host> {
    Api::new().add_with(Access::Operator, RouteOptions::ESSENTIAL, routes)
}
