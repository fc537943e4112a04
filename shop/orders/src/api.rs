//! The routes of orders.

mod cart;
mod checkout;
mod history;
mod returns;

use http::HeaderMap;
use leeward_service::{Api, Caller, Problem, header_text};
use serde::Deserialize;
use shop_contracts::{IDEMPOTENCY_KEY, LIMIT_DEFAULT, LIMIT_MAX, problem};
use utoipa::IntoParams;

use crate::desk::Desk;
use crate::idempotency::{KEY_BYTES_MAX, Key};

/// All routes, each with who may call it.
pub(crate) fn api() -> Api<Desk> {
    cart::api().merge(checkout::api()).merge(history::api()).merge(returns::api())
}

/// Where a page starts and how long it is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    /// Where the page starts: `next` of the page before.
    after: Option<String>,
    /// How many entries, 1 to 100; 20 when not given.
    limit: Option<u32>,
}

impl PageQuery {
    fn limit(&self) -> u32 {
        self.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX)
    }

    /// The id before which a page of the newest entries starts; ids sort below it.
    fn before(self) -> String {
        self.after.unwrap_or_else(|| "~".into())
    }
}

fn user_id(caller: &Caller) -> Result<String, Problem> {
    Ok(caller.user_id()?.to_string())
}

/// The request's Idempotency-Key, if it has one.
fn key(headers: &HeaderMap, caller: &Caller, scope: &'static str) -> Result<Option<Key>, Problem> {
    let Some(key) = header_text(headers, IDEMPOTENCY_KEY) else { return Ok(None) };
    if key.len() > KEY_BYTES_MAX {
        return Err(required());
    }
    Ok(Some(Key { user_id: user_id(caller)?, scope, key: key.to_owned() }))
}

fn required() -> Problem {
    Problem::new(http::StatusCode::BAD_REQUEST, problem::IDEMPOTENCY_KEY_REQUIRED)
        .detail("send an Idempotency-Key of 1 to 128 characters")
}
