//! The inventory: stock, reservations, and goods that come back.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Money, OrderId, ProductId, ReturnId, UserId};

/// So many of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StockLine {
    /// The product.
    pub product_id: ProductId,
    /// How many.
    #[schema(minimum = 1)]
    pub quantity: u32,
}

/// `command.inventory.reserve_stock`: set the lines aside for the order, all of them or none. Key: the order.
///
/// Reserving again for the same order answers what the first time answered. After a release for the order, also one
/// that found nothing to release, it is refused: the release overtook it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReserveStock {
    /// The order.
    pub order_id: OrderId,
    /// What it needs; each product once.
    pub lines: Vec<StockLine>,
}

/// The reply to [`ReserveStock`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum StockReservation {
    /// All lines are set aside.
    Reserved,
    /// Nothing is set aside: these lines are short.
    OutOfStock {
        /// What is missing.
        short: Vec<ShortLine>,
    },
    /// Nothing is set aside: the order's reservation was released before.
    Released,
}

/// A line that the stock does not cover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortLine {
    /// The product.
    pub product_id: ProductId,
    /// How many the order asked for.
    pub wanted: u32,
    /// How many there are.
    pub available: i64,
}

/// `command.inventory.release_stock`: give back what the order set aside. Key: the order.
///
/// Always succeeds; one that finds no reservation leaves a tombstone, so that a late [`ReserveStock`] is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseStock {
    /// The order.
    pub order_id: OrderId,
}

/// The reply to [`ReleaseStock`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockRelease {
    /// Whether there was something to give back.
    pub released: bool,
}

/// `stock.reserved`: goods are set aside for an order. Key: the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReserved {
    /// The order.
    pub order_id: OrderId,
    /// The goods.
    pub lines: Vec<StockLine>,
}

/// `stock.released`: goods set aside for an order are free again. Key: the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReleased {
    /// The order.
    pub order_id: OrderId,
    /// The goods.
    pub lines: Vec<StockLine>,
}

/// `stock.changed`: the level of a product as it is now, a snapshot and not a difference. Key: the product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockChanged {
    /// The product.
    pub product_id: ProductId,
    /// How many are on the shelf, those set aside included.
    pub on_hand: i64,
    /// How many of them are set aside.
    pub reserved: i64,
    /// Grows with each change; a consumer ignores a version that is not above the one it has.
    pub version: i64,
}

/// `return.received`: the warehouse has the goods of a return in its hands. Key: the return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnReceived {
    /// The return.
    pub return_id: ReturnId,
    /// The order that the goods belong to.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
}

/// `stock.returned`: the goods of a return are on the shelf again, and its refund is due. Key: the return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReturned {
    /// The return.
    pub return_id: ReturnId,
    /// The order that the goods belong to.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// The goods.
    pub lines: Vec<StockLine>,
    /// What the customer is to get back, as [`ReturnRequested`](crate::returns::ReturnRequested) said.
    pub refund: Money,
}

/// `stock.return_undone`: the refund was refused, so the goods of the return were taken off the shelf again and wait
/// for the customer. Key: the return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReturnUndone {
    /// The return.
    pub return_id: ReturnId,
    /// The order that the goods belong to.
    pub order_id: OrderId,
    /// The goods.
    pub lines: Vec<StockLine>,
}
