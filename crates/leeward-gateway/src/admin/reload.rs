//! An operator has the configuration read again.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use leeward_runtime::config;
use leeward_service::Problem;
use serde::Serialize;

use super::Admin;
use crate::gateway::Error;
use crate::reload::{Cause, Changes, Failure, again};

/// The file has mistakes: the member `mistakes` lists them.
const CONFIG_INVALID: &str = "config_invalid";
/// A running gateway cannot change that: the member `options` lists what.
const NEEDS_RESTART: &str = "needs_restart";
/// The configuration cannot be put into force for another reason.
const CONFIG_REFUSED: &str = "config_refused";
/// There is no file to read.
const NO_CONFIG_FILE: &str = "no_config_file";

pub(super) async fn reload(State(admin): State<Admin>) -> Result<Json<Changes>, Problem> {
    tracing::warn!("an operator has the configuration read again");
    again(&admin.reloader, Cause::Operator).await.map(Json).map_err(|failure| problem(&failure))
}

/// One mistake, for programs.
#[derive(Serialize)]
struct Mistake<'a> {
    place: String,
    option: &'a str,
    message: &'a str,
    allowed: Option<&'a str>,
    did_you_mean: Option<&'a str>,
}

impl<'a> From<&'a config::Problem> for Mistake<'a> {
    fn from(problem: &'a config::Problem) -> Self {
        Self {
            place: problem.origin.to_string(),
            option: &problem.path,
            message: &problem.message,
            allowed: problem.allowed.as_deref(),
            did_you_mean: problem.suggestion.as_deref(),
        }
    }
}

fn problem(failure: &Failure) -> Problem {
    let detail = failure.to_string();
    match failure {
        Failure::NoSource => Problem::conflict(NO_CONFIG_FILE, detail),
        Failure::Stopping => Problem::unavailable(detail),
        Failure::Refused(Error::NeedsRestart { options }) => {
            Problem::conflict(NEEDS_RESTART, detail).with("options", options)
        }
        Failure::Refused(_) => Problem::conflict(CONFIG_REFUSED, detail),
        Failure::Unreadable(_) => {
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, CONFIG_INVALID).detail(detail);
            match failure.mistakes() {
                Some(mistakes) => {
                    problem.with("mistakes", mistakes.iter().map(Mistake::from).collect::<Vec<_>>())
                }
                None => problem,
            }
        }
    }
}
