//! The carts' rows.

use leeward_store::{ReadTx, Tx, params};

use crate::cart::{LINES_MAX, Line};
use crate::{Error, book};

/// What became of a line that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is in the cart; these are all lines.
    Done(Vec<Line>),
    /// The product is not sold, or nobody told us of it.
    NotSold,
}

/// Puts `quantity` of a product into the cart, at the price in force.
///
/// # Errors
/// [`Error::CartFull`], which gives the transaction up.
pub(crate) async fn put(
    tx: &mut Tx,
    user_id: &str,
    product_id: &str,
    quantity: u32,
    now_ms: i64,
) -> Result<Put, Error> {
    let put = tx
        .execute(
            "INSERT INTO cart_items (user_id, product_id, quantity, put_minor, put_currency, put_at_ms)
             SELECT CAST($1 AS TEXT), product_id, CAST($3 AS BIGINT), amount_minor, currency, CAST($4 AS BIGINT)
             FROM prices WHERE product_id = $2 AND sold = 1
             ON CONFLICT (user_id, product_id) DO UPDATE SET
                 quantity = excluded.quantity, put_minor = excluded.put_minor, put_currency = excluded.put_currency",
            params![user_id, product_id, quantity, now_ms],
        )
        .await?;
    if put == 0 {
        return Ok(Put::NotSold);
    }
    let lines = lines(tx, user_id).await?;
    if lines.len() > LINES_MAX { Err(Error::CartFull) } else { Ok(Put::Done(lines)) }
}

/// The lines of a cart with the prices in force, in the order in which they were first put.
pub(crate) async fn lines(tx: &mut ReadTx, user_id: &str) -> Result<Vec<Line>, Error> {
    let limit = i64::try_from(LINES_MAX).unwrap_or(i64::MAX) + 1;
    let rows = tx
        .query(
            "SELECT c.product_id, p.name, c.quantity, p.amount_minor, p.currency, c.put_minor, c.put_currency, p.sold
             FROM cart_items c JOIN prices p ON p.product_id = c.product_id
             WHERE c.user_id = $1 ORDER BY c.put_at_ms, c.product_id LIMIT $2",
            params![user_id, limit],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Line {
                product_id: row.get::<String>(0)?.into(),
                name: row.get(1)?,
                quantity: row.get(2)?,
                price: book::money(row.get(3)?, row.get(4)?)?,
                price_when_put: book::money(row.get(5)?, row.get(6)?)?,
                sold: row.get(7)?,
            })
        })
        .collect()
}

/// Takes a product out of the cart.
pub(crate) async fn take_out(tx: &mut Tx, user_id: &str, product_id: &str) -> Result<(), Error> {
    tx.execute("DELETE FROM cart_items WHERE user_id = $1 AND product_id = $2", params![user_id, product_id])
        .await?;
    Ok(())
}

/// Empties the cart.
pub(crate) async fn clear(tx: &mut Tx, user_id: &str) -> Result<(), Error> {
    tx.execute("DELETE FROM cart_items WHERE user_id = $1", params![user_id]).await?;
    Ok(())
}
