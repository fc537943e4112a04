//! Products and categories in the database.

use leeward_store::{Error, ReadTx, Row, Tx, params};
use serde::{Deserialize, Serialize};
use shop_contracts::catalog::{Product, ProductChanged};
use shop_contracts::{CategoryId, Currency, Money, ProductId};
use utoipa::ToSchema;

/// A category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Category {
    /// Its id.
    pub category_id: CategoryId,
    /// What it is called.
    pub name: String,
}

/// What a search asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    /// Words that all must occur in name or description.
    pub(crate) words: Vec<String>,
    /// Only this category.
    pub(crate) category_id: Option<String>,
    /// Only what can be bought now, as far as the inventory was heard.
    pub(crate) in_stock: bool,
    /// Only products after this id.
    pub(crate) after: String,
    /// At most so many.
    pub(crate) rows: u32,
}

const COLUMNS: &str =
    "p.id, p.name, p.description, p.category_id, p.price_minor, p.currency, p.active, p.version, s.available";

fn product(row: &Row) -> Result<Product, Error> {
    Ok(Product {
        product_id: row.get::<String>(0)?.into(),
        name: row.get(1)?,
        description: row.get(2)?,
        category_id: row.get::<String>(3)?.into(),
        price: Money::new(row.get(4)?, currency(row, 5)?),
        active: row.get(6)?,
        version: row.get(7)?,
        available: row.get(8)?,
    })
}

fn currency(row: &Row, column: usize) -> Result<Currency, Error> {
    let unreadable = Error::Column { index: column, expected: "a currency", found: "another word" };
    Currency::parse(row.get(column)?).map_err(|_| unreadable)
}

/// The product `id`, sold or not.
pub(crate) async fn find(tx: &mut ReadTx, id: &str) -> Result<Option<Product>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM products p LEFT JOIN shelf s ON s.product_id = p.id WHERE p.id = $1 AND p.removed = 0"
    );
    tx.query_opt(&sql, params![id]).await?.as_ref().map(product).transpose()
}

/// The products that a search finds, in the order of their ids.
pub(crate) async fn search(tx: &mut ReadTx, search: &Search) -> Result<Vec<Product>, Error> {
    let mut sql = format!(
        "SELECT {COLUMNS} FROM products p LEFT JOIN shelf s ON s.product_id = p.id
         WHERE p.active = 1 AND p.removed = 0 AND p.id > $1 AND ($3 = '' OR p.category_id = $3) AND ($4 = 0 OR s.available > 0)"
    );
    let words: Vec<String> = search.words.iter().map(|word| format!("%{}%", escaped(word))).collect();
    for number in 5..words.len() + 5 {
        sql += &format!(" AND p.words LIKE ${number} ESCAPE '\\'");
    }
    sql.push_str(" ORDER BY p.id LIMIT $2");
    let category = search.category_id.as_deref().unwrap_or_default();
    let mut values = params![search.after, search.rows, category, search.in_stock].to_vec();
    values.extend(words.iter().map(leeward_store::ToParam::to_param));
    tx.query(&sql, &values).await?.iter().map(product).collect()
}

/// The word with the signs that `LIKE` gives a meaning taken literally.
fn escaped(word: &str) -> String {
    word.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// Inserts or replaces a product; gives its new version.
pub(crate) async fn put(tx: &mut Tx, product: &Product) -> Result<i64, Error> {
    let words = format!("{} {}", product.name, product.description).to_lowercase();
    let row = tx
        .query_one(
            "INSERT INTO products (id, name, description, category_id, price_minor, currency, active, version, words)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description,
             category_id = excluded.category_id, price_minor = excluded.price_minor, currency = excluded.currency,
             active = excluded.active, removed = 0, version = products.version + 1, words = excluded.words RETURNING version",
            params![
                product.product_id.as_str(),
                product.name,
                product.description,
                product.category_id.as_str(),
                product.price.amount_minor,
                product.price.currency.as_str(),
                product.active,
                words
            ],
        )
        .await?;
    row.get(0)
}

/// Removes a product; gives the version of its removal, none if there was no such product.
pub(crate) async fn remove(tx: &mut Tx, id: &str) -> Result<Option<i64>, Error> {
    let sql = "UPDATE products SET removed = 1, version = version + 1 WHERE id = $1 AND removed = 0 RETURNING version";
    let row = tx.query_opt(sql, params![id]).await?;
    row.map(|row| row.get(0)).transpose()
}

/// Inserts a category, or renames it.
pub(crate) async fn put_category(tx: &mut Tx, category: &Category) -> Result<(), Error> {
    let sql = "INSERT INTO categories (id, name) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = excluded.name";
    tx.execute(sql, params![category.category_id.as_str(), category.name]).await?;
    Ok(())
}

/// Whether there is this category.
pub(crate) async fn has_category(tx: &mut ReadTx, id: &str) -> Result<bool, Error> {
    Ok(tx.query_opt("SELECT 1 FROM categories WHERE id = $1", params![id]).await?.is_some())
}

/// Up to `rows` categories after the id `after`.
pub(crate) async fn categories(tx: &mut ReadTx, after: &str, rows: u32) -> Result<Vec<Category>, Error> {
    let sql = "SELECT id, name FROM categories WHERE id > $1 ORDER BY id LIMIT $2";
    let found = tx.query(sql, params![after, rows]).await?;
    found
        .iter()
        .map(|row| Ok(Category { category_id: row.get::<String>(0)?.into(), name: row.get(1)? }))
        .collect()
}

/// Whether there never was a product.
pub(crate) async fn is_empty(tx: &mut ReadTx) -> Result<bool, Error> {
    Ok(tx.query_opt("SELECT 1 FROM products LIMIT 1", params![]).await?.is_none())
}

/// What others are told of a product.
pub(crate) fn changed(product: &Product, version: i64) -> ProductChanged {
    ProductChanged {
        product_id: product.product_id.clone(),
        name: product.name.clone(),
        category_id: product.category_id.clone(),
        price: product.price,
        active: product.active,
        version,
    }
}

/// A product that is new to the catalog.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its id.
    pub product_id: ProductId,
    /// What it is called.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The category that it stands in.
    pub category_id: CategoryId,
    /// The price of one.
    pub price: Money,
}

impl From<Draft> for Product {
    fn from(draft: Draft) -> Self {
        let Draft { product_id, name, description, category_id, price } = draft;
        Self { product_id, name, description, category_id, price, active: true, version: 0, available: None }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn signs_of_a_pattern_are_taken_literally() {
        assert_eq!(super::escaped("50%_\\"), "50\\%\\_\\\\");
    }
}
