//! The cart.

use axum::extract::State;
use http::StatusCode;
use leeward_service::{Access, Api, Caller, Cause, Invalid, Json, Path, Problem, ProblemBody, Until, routes};
use leeward_store::Tx;
use shop_contracts::catalog::Product;
use shop_contracts::orders::{Cart, PutCartItem};

use super::user_id;
use crate::basket::{self, Put};
use crate::cart::{QUANTITY_MAX, quote};
use crate::desk::Desk;
use crate::{Error, prices};

/// The longest product id that is looked for.
const PRODUCT_ID_BYTES_MAX: usize = 64;

pub(crate) fn api() -> Api<Desk> {
    Api::new()
        .add(Access::User, routes!(get_cart, clear_cart))
        .add(Access::User, routes!(put_item, delete_item))
}

/// The caller's cart at the prices in force.
#[utoipa::path(get, path = "/cart", tag = "cart", responses((status = 200, body = Cart)))]
async fn get_cart(State(desk): State<Desk>, caller: Caller) -> Result<Json<Cart>, Problem> {
    let user_id = user_id(&caller)?;
    let lines = desk.db.read(async move |tx| basket::lines(tx, &user_id).await).await?;
    Ok(Json(quote(&lines)))
}

/// Empty the cart.
#[utoipa::path(delete, path = "/cart", tag = "cart", responses((status = 204)))]
async fn clear_cart(State(desk): State<Desk>, caller: Caller) -> Result<StatusCode, Problem> {
    let user_id = user_id(&caller)?;
    desk.db.write(async move |tx: &mut Tx| basket::clear(tx, &user_id).await).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Put so many of a product into the cart. The answer is the whole cart.
#[utoipa::path(put, path = "/cart/items/{product_id}", tag = "cart", request_body = PutCartItem,
    params(("product_id" = String, Path)),
    responses(
        (status = 200, body = Cart),
        (status = 404, description = "no such product is sold", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "cart_full", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "invalid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "the product is unknown and the catalog does not answer",
            body = ProblemBody, content_type = "application/problem+json")))]
async fn put_item(
    State(desk): State<Desk>,
    caller: Caller,
    Cause(correlation): Cause,
    Until(deadline): Until,
    Path(product_id): Path<String>,
    Json(item): Json<PutCartItem>,
) -> Result<Json<Cart>, Problem> {
    Invalid::default()
        .check((1..=QUANTITY_MAX).contains(&item.quantity), "quantity", "must be 1 to 99")
        .check(product_id.len() <= PRODUCT_ID_BYTES_MAX, "product_id", "must have 64 characters at most")
        .finish()?;
    let user_id = user_id(&caller)?;
    let put = Request { user_id, product_id, quantity: item.quantity };
    if let Some(cart) = try_put(&desk, put.clone(), None).await? {
        return Ok(Json(cart));
    }
    // Nobody told us of this product; the catalog may know.
    let path = format!(
        "/products/{}",
        percent_encoding::utf8_percent_encode(&put.product_id, percent_encoding::NON_ALPHANUMERIC)
    );
    let asked = desk.catalog.get(&path).correlation(&correlation).deadline(deadline).send::<Product>().await;
    let product = match asked {
        Ok(product) => product,
        Err(error) if error.status() == Some(404) => return Err(not_sold()),
        Err(error) => return Err(error.into()),
    };
    try_put(&desk, put, Some(product)).await?.map(Json).ok_or_else(not_sold)
}

#[derive(Clone, Debug)]
struct Request {
    user_id: String,
    product_id: String,
    quantity: u32,
}

/// Puts the line, after taking over what the catalog said of its product; none when nobody told us of it.
async fn try_put(desk: &Desk, put: Request, product: Option<Product>) -> Result<Option<Cart>, Problem> {
    let now_ms = desk.clock.unix_ms();
    let done = desk
        .db
        .write(async move |tx: &mut Tx| {
            if let Some(product) = product {
                prices::keep(tx, product.into()).await?;
            }
            let Request { user_id, product_id, quantity } = put;
            match basket::put(tx, &user_id, &product_id, quantity, now_ms).await? {
                Put::Done(lines) => Ok(Some(quote(&lines))),
                Put::NotSold if prices::sold(tx, &product_id).await?.is_none() => Ok(None),
                Put::NotSold => Err(Error::from(not_sold())),
            }
        })
        .await?;
    Ok(done)
}

fn not_sold() -> Problem {
    Problem::not_found("no such product is sold")
}

/// Take a product out of the cart.
#[utoipa::path(delete, path = "/cart/items/{product_id}", tag = "cart", params(("product_id" = String, Path)),
    responses((status = 204)))]
async fn delete_item(
    State(desk): State<Desk>,
    caller: Caller,
    Path(product_id): Path<String>,
) -> Result<StatusCode, Problem> {
    let user_id = user_id(&caller)?;
    desk.db.write(async move |tx: &mut Tx| basket::take_out(tx, &user_id, &product_id).await).await?;
    Ok(StatusCode::NO_CONTENT)
}
