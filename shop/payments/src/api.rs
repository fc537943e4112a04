//! The routes of payments.

mod customer;
mod internal;

use leeward_service::Api;

use crate::desk::Desk;

/// All routes, each with who may call it.
pub(crate) fn api() -> Api<Desk> {
    internal::api().merge(customer::api())
}
