//! The catalog: what is sold, and for how much.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{CategoryId, Money, ProductId};

/// A product as the catalog shows it (`GET /products/{id}`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Product {
    /// Its id.
    pub product_id: ProductId,
    /// What it is called.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// The category that it stands in.
    pub category_id: CategoryId,
    /// The price of one.
    pub price: Money,
    /// Whether it can be bought.
    pub active: bool,
    /// Grows with each change; the higher version wins.
    pub version: i64,
    /// How many can be bought, as far as the catalog heard from the inventory. Absent when it never heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<i64>,
}

/// `product.changed`: a product is new, or something about it is. Key: the product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductChanged {
    /// The product.
    pub product_id: ProductId,
    /// Its name now.
    pub name: String,
    /// Its category now.
    pub category_id: CategoryId,
    /// Its price now.
    pub price: Money,
    /// Whether it can be bought.
    pub active: bool,
    /// Grows with each change; a consumer ignores a version that is not above the one it has.
    pub version: i64,
}

/// `product.removed`: a product is no longer sold. Key: the product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductRemoved {
    /// The product.
    pub product_id: ProductId,
    /// The version of the removal, above every version of the product before it.
    pub version: i64,
}
