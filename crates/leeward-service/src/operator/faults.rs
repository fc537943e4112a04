//! Faults on demand.

use axum::extract::State;
use http::StatusCode;
use utoipa_axum::routes;

use crate::api::Api;
use crate::builtin::Host;
use crate::extract::Json;
use crate::faults::{Error, FaultSet};
use crate::problem::{Problem, code};

pub(super) fn api() -> Api<Host> {
    super::operator(routes!(get_faults, put_faults))
}

/// The faults in force.
#[utoipa::path(get, path = "/_leeward/faults", tag = "operator", responses((status = 200, body = FaultSet)))]
async fn get_faults(State(host): State<Host>) -> Json<FaultSet> {
    Json(host.kit.faults.get())
}

/// Puts these faults in force instead of what was; an empty set ends them all.
#[utoipa::path(put, path = "/_leeward/faults", tag = "operator", request_body = FaultSet,
    responses((status = 200, body = FaultSet)))]
async fn put_faults(State(host): State<Host>, Json(set): Json<FaultSet>) -> Result<Json<FaultSet>, Problem> {
    host.kit.faults.set(set.clone())?;
    Ok(Json(set))
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotAllowed => {
                Self::new(StatusCode::FORBIDDEN, "faults_not_allowed").detail(error.to_string())
            }
            Error::OutOfRange(detail) => Self::unprocessable(code::INVALID, detail),
        }
    }
}
