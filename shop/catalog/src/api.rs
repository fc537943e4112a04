//! The routes of the catalog.

use axum::extract::State;
use http::StatusCode;
use leeward_events::Outbox;
use leeward_service::{Access, Api, Cause, Invalid, Json, Path, Problem, Query, routes};
use leeward_store::{Db, ReadTx, Tx};
use leeward_telemetry::Correlation;
use serde::Deserialize;
use shop_contracts::catalog::{Product, ProductRemoved};
use shop_contracts::{CategoryId, Money, Page, PageQuery, ProductId};
use utoipa::{IntoParams, ToSchema};

use crate::products::{self, Category, Search};

/// Words that a search looks for at most: each costs a scan of the rows that the others leave.
const WORDS_MAX: usize = 8;
/// The highest price: a typing mistake above it is caught.
const PRICE_MINOR_MAX: i64 = 100_000_000;

/// The service's parts, shared by all handlers.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    pub(crate) db: Db,
    pub(crate) outbox: Outbox,
}

/// Every route with who may call it.
pub(crate) fn api() -> Api<Catalog> {
    Api::new()
        .add(Access::Anyone, routes!(list))
        .add(Access::Anyone, routes!(one))
        .add(Access::Permission("catalog:write"), routes!(create))
        .add(Access::Permission("catalog:write"), routes!(replace, remove))
        .add(Access::Anyone, routes!(categories))
        .add(Access::Permission("catalog:write"), routes!(put_category))
}

/// A search.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Find {
    /// Words that all must occur in name or description: at most 8, 100 characters together.
    #[serde(default)]
    search: String,
    /// Only this category.
    category: Option<String>,
    /// Only what is in stock.
    #[serde(default)]
    in_stock: bool,
    /// Where the page starts: the `next` of the page before.
    after: Option<String>,
    /// How many entries, 1 to 100; 20 when not given.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

/// A product as an administrator writes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WriteProduct {
    /// What it is called.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What it is.
    #[serde(default)]
    #[schema(max_length = 2000)]
    description: String,
    /// The category that it stands in.
    category_id: CategoryId,
    /// The price of one, from 1 to 100000000 minor units.
    price: Money,
    /// Whether it can be bought.
    #[serde(default = "yes")]
    active: bool,
}

fn yes() -> bool {
    true
}

impl WriteProduct {
    fn check(&self) -> Result<(), Problem> {
        let chars = self.name.trim().chars().count();
        let price = self.price.amount_minor;
        Invalid::default()
            .check((1..=200).contains(&chars), "name", "must have 1 to 200 characters")
            .check(
                self.description.chars().count() <= 2_000,
                "description",
                "must have at most 2000 characters",
            )
            .check((1..=PRICE_MINOR_MAX).contains(&price), "price.amount_minor", "must be 1 to 100000000")
            .finish()
    }

    fn into_product(self, product_id: ProductId) -> Product {
        Product {
            product_id,
            name: self.name.trim().to_owned(),
            description: self.description,
            category_id: self.category_id,
            price: self.price,
            active: self.active,
            version: 0,
            available: None,
        }
    }
}

/// A category's name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WriteCategory {
    /// What it is called.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

/// The products that can be bought.
#[utoipa::path(get, path = "/products", params(Find), responses((status = 200, body = Page<Product>)))]
async fn list(
    State(catalog): State<Catalog>,
    Query(find): Query<Find>,
) -> Result<Json<Page<Product>>, Problem> {
    let Find { search, category, in_stock, after, limit } = find;
    let words: Vec<String> = search.split_whitespace().map(str::to_lowercase).collect();
    Invalid::default()
        .check(
            words.len() <= WORDS_MAX && search.len() <= 100,
            "search",
            "must be at most 8 words, 100 bytes",
        )
        .finish()?;
    let page = PageQuery { after, limit };
    let limit = page.limit()?;
    let search =
        Search { words, category_id: category, in_stock, after: page.after().to_owned(), rows: limit + 1 };
    let found = catalog.db.read(async move |tx: &mut ReadTx| products::search(tx, &search).await).await?;
    Ok(Json(Page::cut(found, limit, |product: &Product| product.product_id.to_string())))
}

/// One product.
#[utoipa::path(get, path = "/products/{product_id}",
    params(("product_id" = String, Path, description = "the product")),
    responses((status = 200, body = Product), (status = 404, description = "not_found")))]
async fn one(State(catalog): State<Catalog>, Path(id): Path<String>) -> Result<Json<Product>, Problem> {
    let found = catalog.db.read(async move |tx: &mut ReadTx| products::find(tx, &id).await).await?;
    found.map(Json).ok_or_else(no_such_product)
}

/// Adds a product.
#[utoipa::path(post, path = "/products", request_body = WriteProduct,
    responses((status = 201, body = Product), (status = 422, description = "invalid")))]
async fn create(
    State(catalog): State<Catalog>,
    Cause(cause): Cause,
    Json(request): Json<WriteProduct>,
) -> Result<(StatusCode, Json<Product>), Problem> {
    request.check()?;
    let product = request.into_product(ProductId::generate());
    Ok((StatusCode::CREATED, Json(write(&catalog, product, cause, false).await?)))
}

/// Changes a product.
#[utoipa::path(put, path = "/products/{product_id}", request_body = WriteProduct,
    params(("product_id" = String, Path, description = "the product")),
    responses((status = 200, body = Product), (status = 404, description = "not_found"),
        (status = 422, description = "invalid")))]
async fn replace(
    State(catalog): State<Catalog>,
    Cause(cause): Cause,
    Path(id): Path<String>,
    Json(request): Json<WriteProduct>,
) -> Result<Json<Product>, Problem> {
    request.check()?;
    let product = request.into_product(id.into());
    Ok(Json(write(&catalog, product, cause, true).await?))
}

/// Product and event in one transaction.
async fn write(
    catalog: &Catalog,
    product: Product,
    cause: Correlation,
    must_exist: bool,
) -> Result<Product, Problem> {
    let outbox = catalog.outbox.clone();
    let write = async move |tx: &mut Tx| {
        if must_exist && products::find(tx, product.product_id.as_str()).await?.is_none() {
            return Err(no_such_product());
        }
        let has_category = products::has_category(tx, product.category_id.as_str()).await?;
        Invalid::default().check(has_category, "category_id", "there is no such category").finish()?;
        let version = products::put(tx, &product).await?;
        outbox.append(tx, &products::changed(&product, version), &cause).await?;
        products::find(tx, product.product_id.as_str()).await?.ok_or_else(no_such_product)
    };
    catalog.db.write(write).await
}

/// Takes a product out of the catalog.
#[utoipa::path(delete, path = "/products/{product_id}",
    params(("product_id" = String, Path, description = "the product")),
    responses((status = 204), (status = 404, description = "not_found")))]
async fn remove(
    State(catalog): State<Catalog>,
    Cause(cause): Cause,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let outbox = catalog.outbox.clone();
    let remove = async move |tx: &mut Tx| {
        let version = products::remove(tx, &id).await?.ok_or_else(no_such_product)?;
        outbox.append(tx, &ProductRemoved { product_id: id.into(), version }, &cause).await?;
        Ok(StatusCode::NO_CONTENT)
    };
    catalog.db.write(remove).await
}

/// All categories.
#[utoipa::path(get, path = "/categories", params(PageQuery), responses((status = 200, body = Page<Category>)))]
async fn categories(
    State(catalog): State<Catalog>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Category>>, Problem> {
    let limit = page.limit()?;
    let read = async move |tx: &mut ReadTx| products::categories(tx, page.after(), limit + 1).await;
    let found = catalog.db.read(read).await?;
    Ok(Json(Page::cut(found, limit, |category: &Category| category.category_id.to_string())))
}

/// Adds or renames a category.
#[utoipa::path(put, path = "/categories/{category_id}", request_body = WriteCategory,
    params(("category_id" = String, Path, description = "the category: up to 64 of a-z, 0-9 and -")),
    responses((status = 200, body = Category), (status = 422, description = "invalid")))]
async fn put_category(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    Json(request): Json<WriteCategory>,
) -> Result<Json<Category>, Problem> {
    let is_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    Invalid::default()
        .check(
            (1..=64).contains(&id.len()) && id.bytes().all(is_id),
            "category_id",
            "must be 1 to 64 of a-z, 0-9 and -",
        )
        .check(
            (1..=100).contains(&request.name.trim().chars().count()),
            "name",
            "must have 1 to 100 characters",
        )
        .finish()?;
    let category = Category { category_id: id.into(), name: request.name.trim().to_owned() };
    let stored = category.clone();
    catalog.db.write(async move |tx: &mut Tx| products::put_category(tx, &category).await).await?;
    Ok(Json(stored))
}

fn no_such_product() -> Problem {
    Problem::not_found("there is no such product")
}
