//! The replica of the catalog's prices: what orders are priced by, also while the catalog is down.
//!
//! It follows the catalog's events. A product that no event told of yet is asked for over HTTP, once.

use leeward_store::{ReadTx, Tx, params};
use shop_contracts::catalog::{Product, ProductChanged, ProductRemoved};

use crate::Error;

/// A product as the replica knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Priced {
    product: ProductChanged,
}

impl From<ProductChanged> for Priced {
    fn from(product: ProductChanged) -> Self {
        Self { product }
    }
}

impl From<Product> for Priced {
    fn from(product: Product) -> Self {
        let Product { product_id, name, category_id, price, active, version, .. } = product;
        Self { product: ProductChanged { product_id, name, category_id, price, active, version } }
    }
}

/// Takes `priced` over unless a newer version is known.
pub(crate) async fn keep(tx: &mut Tx, priced: Priced) -> Result<(), Error> {
    let product = priced.product;
    tx.execute(
        "INSERT INTO prices (product_id, name, amount_minor, currency, sold, version) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (product_id) DO UPDATE SET
             name = excluded.name, amount_minor = excluded.amount_minor, currency = excluded.currency,
             sold = excluded.sold, version = excluded.version
         WHERE prices.version < excluded.version",
        params![
            product.product_id.as_str(),
            product.name,
            product.price.amount_minor,
            product.price.currency.as_str(),
            product.active,
            product.version
        ],
    )
    .await?;
    Ok(())
}

/// The product is no longer sold.
///
/// A removal that comes first leaves a row without a price, so that an older change which comes late stays out.
pub(crate) async fn remove(tx: &mut Tx, removed: ProductRemoved) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO prices (product_id, name, amount_minor, currency, sold, version) VALUES ($1, '', 0, 'EUR', 0, $2)
         ON CONFLICT (product_id) DO UPDATE SET sold = 0, version = excluded.version
         WHERE prices.version < excluded.version",
        params![removed.product_id.as_str(), removed.version],
    )
    .await?;
    Ok(())
}

/// Whether the product is known, and if so whether it is sold.
pub(crate) async fn sold(tx: &mut ReadTx, product_id: &str) -> Result<Option<bool>, Error> {
    let row = tx.query_opt("SELECT sold FROM prices WHERE product_id = $1", params![product_id]).await?;
    Ok(row.map(|row| row.get(0)).transpose()?)
}
