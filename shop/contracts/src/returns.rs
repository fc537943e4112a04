//! Returns: goods that come back, and the money that goes back for them.
//!
//! Nobody coordinates a return. `return.requested` (orders) > `return.received` > `stock.returned` (inventory) >
//! `payment.refunded` (payments) > `return.completed` (orders). A refund that is refused runs backwards:
//! `payment.refund_refused` (payments) > `stock.return_undone` (inventory) > `return.refused` (orders). All of them
//! have the return as their key, so each consumer sees them in this order.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::inventory::StockLine;
use crate::{Money, OrderId, ReturnId, UserId};

/// `POST /returns`: the customer wants to send goods back. A header Idempotency-Key makes a repeat safe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestReturn {
    /// The order, which must be confirmed.
    pub order_id: OrderId,
    /// Which goods; none named means all of the order that are not in a return yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<StockLine>,
    /// Why, in the customer's words: at most 500 characters.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub reason: String,
}

/// Where a return stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReturnStatus {
    /// The customer asked for it; the goods are under way.
    Requested,
    /// The warehouse has the goods.
    Received,
    /// The goods are on the shelf; the refund is due.
    Restocked,
    /// The refund was refused; the goods are being taken off the shelf again.
    RefundRefused,
    /// Goods and money are back where they came from.
    Completed,
    /// It came to nothing: the customer keeps the goods.
    Refused,
}

/// A return (`GET /returns/{id}`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Return {
    /// The return.
    pub return_id: ReturnId,
    /// The order.
    pub order_id: OrderId,
    /// Where it stands.
    pub status: ReturnStatus,
    /// Which goods.
    pub lines: Vec<StockLine>,
    /// What the customer gets back.
    pub refund: Money,
    /// Why, in the customer's words.
    pub reason: String,
    /// Why the refund was refused, if it was: a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// When it was asked for.
    pub requested_at_ms: i64,
    /// By when it should have ended; after that an operator sees it among the overdue ones.
    pub due_at_ms: i64,
    /// When its status last changed.
    pub updated_at_ms: i64,
}

/// A return that takes too long, as an administrator sees it (`GET /returns/overdue`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OverdueReturn {
    /// The customer.
    pub user_id: UserId,
    /// The return.
    #[serde(flatten)]
    pub entry: Return,
}

/// `return.requested`: goods are to come back. Key: the return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnRequested {
    /// The return.
    pub return_id: ReturnId,
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// Which goods.
    pub lines: Vec<StockLine>,
    /// What the customer is to get back once the goods are on the shelf.
    pub refund: Money,
}

/// `return.completed`: goods and money are back where they came from. Key: the return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnCompleted {
    /// The return.
    pub return_id: ReturnId,
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// What the customer got back.
    pub refund: Money,
}

/// `return.refused`: it came to nothing. Key: the return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnRefused {
    /// The return.
    pub return_id: ReturnId,
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// Why: the code of `payment.refund_refused`.
    pub code: String,
}
