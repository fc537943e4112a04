//! The routes of orders.

mod cart;
mod checkout;
mod history;
mod returns;

use http::HeaderMap;
use leeward_service::{Api, Caller, Problem, header_text};
use shop_contracts::{IDEMPOTENCY_KEY, PageQuery, problem};

use crate::desk::Desk;
use crate::idempotency::{KEY_BYTES_MAX, Key};

/// All routes, each with who may call it.
pub(crate) fn api() -> Api<Desk> {
    cart::api().merge(checkout::api()).merge(history::api()).merge(returns::api())
}

/// The id before which a page of the newest entries starts; ids sort below `~`.
fn before(page: PageQuery) -> String {
    page.after.unwrap_or_else(|| "~".into())
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
