//! The route of the notifications.

use axum::extract::State;
use leeward_service::{Access, Api, Caller, Json, Problem, Query, routes};
use leeward_store::{Db, ReadTx};
use shop_contracts::{Page, PageQuery};

use crate::mailbox::{self, Entry};

/// Every route with who may call it.
pub(crate) fn api() -> Api<Db> {
    Api::new().add(Access::User, routes!(list))
}

/// The caller's messages, newest first.
#[utoipa::path(get, path = "/notifications", params(PageQuery), responses((status = 200, body = Page<Entry>)))]
async fn list(
    State(db): State<Db>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Entry>>, Problem> {
    let (user, before, limit) = (caller.user_id()?.clone(), page.before()?, page.limit()?);
    let entries =
        db.read(async move |tx: &mut ReadTx| mailbox::page(tx, &user, before, limit + 1).await).await?;
    Ok(Json(Page::cut(entries, limit, |entry: &Entry| entry.seq.to_string())))
}
