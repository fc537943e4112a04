//! What customers see of their payments, and administrators of everybody's.

use axum::extract::State;
use leeward_service::{Access, Api, Caller, Json, Path, Problem, ProblemBody, Query, routes};
use serde::Deserialize;
use shop_contracts::payments::{Invoice, Payment};
use shop_contracts::{Page, PageQuery, UserId};
use utoipa::IntoParams;

use crate::book::{self, By};
use crate::desk::Desk;
use crate::{Error, error, invoices};

/// The role that sees everybody's payments.
const ADMIN: &str = "admin";

pub(crate) fn api() -> Api<Desk> {
    Api::new()
        .add(Access::User, routes!(list_payments))
        .add(Access::User, routes!(get_payment))
        .add(Access::User, routes!(list_invoices))
        .add(Access::User, routes!(get_invoice))
}

/// Which page, and whose. The page's own fields are named once more, since serde does not refuse unknown fields beside a
/// flattened [`PageQuery`].
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Where the page starts: the `next` of the page before.
    after: Option<String>,
    /// How many entries, 1 to 100; 20 when not given.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// Whose: only for administrators, who see everybody's when it is not given.
    user_id: Option<UserId>,
}

impl ListQuery {
    fn split(self) -> (PageQuery, Option<UserId>) {
        (PageQuery { after: self.after, limit: self.limit }, self.user_id)
    }
}

/// Whose entries the caller may see: its own, or those it asks for if it is an administrator.
fn scope(caller: &Caller, wanted: Option<UserId>) -> Result<Option<UserId>, Problem> {
    if caller.has_role(ADMIN) {
        return Ok(wanted);
    }
    let own = UserId::from(&**caller.user_id()?);
    match wanted {
        Some(wanted) if wanted != own => {
            Err(Problem::forbidden("only an administrator sees other customers' payments"))
        }
        _ => Ok(Some(own)),
    }
}

fn may_see(caller: &Caller, owner: &UserId) -> bool {
    caller.has_role(ADMIN) || caller.user_id().is_ok_and(|own| **own == *owner.as_str())
}

/// The caller's payments; for an administrator everybody's.
#[utoipa::path(get, path = "/payments", tag = "payments", params(ListQuery),
    responses((status = 200, body = Page<Payment>),
        (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
async fn list_payments(
    State(desk): State<Desk>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Payment>>, Problem> {
    let (page, user_id) = query.split();
    let (limit, scope) = (page.limit()?, scope(&caller, user_id)?);
    let records =
        desk.db.read(async move |tx| book::list(tx, scope.as_ref(), page.after(), limit + 1).await).await?;
    let payments = records.into_iter().map(book::Record::into_payment).collect();
    Ok(Json(Page::cut(payments, limit, |payment: &Payment| payment.payment_id.to_string())))
}

/// One payment.
#[utoipa::path(get, path = "/payments/{id}", tag = "payments", params(("id" = String, Path)),
    responses((status = 200, body = Payment),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
async fn get_payment(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Payment>, Problem> {
    let record = desk.db.read(async move |tx| book::find(tx, By::Id, &id).await).await?;
    let payment = record.filter(|record| may_see(&caller, &record.user_id)).ok_or_else(error::not_found)?;
    Ok(Json(payment.into_payment()))
}

/// The caller's invoices; for an administrator everybody's.
#[utoipa::path(get, path = "/invoices", tag = "payments", params(ListQuery),
    responses((status = 200, body = Page<Invoice>),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
async fn list_invoices(
    State(desk): State<Desk>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Invoice>>, Problem> {
    let (page, user_id) = query.split();
    let limit = page.limit()?;
    let after: i64 = match page.after.as_deref().map(str::parse) {
        None => 0,
        Some(Ok(after)) => after,
        Some(Err(_)) => return Err(Problem::malformed("after is `next` of the page before")),
    };
    let scope = scope(&caller, user_id)?;
    let listed =
        desk.db.read(async move |tx| invoices::list(tx, scope.as_ref(), after, limit + 1).await).await?;
    Ok(Json(Page::cut(listed, limit, |invoice: &Invoice| invoice.number.to_string())))
}

/// One invoice.
#[utoipa::path(get, path = "/invoices/{number}", tag = "payments", params(("number" = i64, Path)),
    responses((status = 200, body = Invoice),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
async fn get_invoice(
    State(desk): State<Desk>,
    caller: Caller,
    Path(number): Path<i64>,
) -> Result<Json<Invoice>, Problem> {
    let invoice = desk.db.read(async move |tx| Ok::<_, Error>(invoices::find(tx, number).await?)).await?;
    let invoice = invoice.filter(|invoice| may_see(&caller, &invoice.user_id));
    Ok(Json(invoice.ok_or_else(|| Problem::not_found("there is no such invoice"))?))
}
