//! Orders: the cart, the checkout, and what became of an order.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Money, OrderId, PaymentId, ProductId, ShipmentId, UserId};

/// `PUT /cart/items/{product_id}`: how many of the product the cart is to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutCartItem {
    /// How many, 1 to 99. The line's quantity becomes this; it is not added to.
    #[schema(minimum = 1, maximum = 99)]
    pub quantity: u32,
}

/// A line of a cart, at the price in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CartLine {
    /// The product.
    pub product_id: ProductId,
    /// What it is called.
    pub name: String,
    /// How many.
    pub quantity: u32,
    /// The price of one, in force now.
    pub unit_price: Money,
    /// The price of the line.
    pub line_total: Money,
    /// The price of one when the line was put, if it has changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_when_put: Option<Money>,
    /// Whether the product is still sold.
    pub sold: bool,
}

/// A cart (`GET /cart`), and the quote inside a `price_changed` problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cart {
    /// The lines, in the order in which they were first put.
    pub lines: Vec<CartLine>,
    /// What they cost together; absent for an empty cart, and where the lines do not share a currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Money>,
}

/// `POST /checkout`: buy what is in the cart. The header Idempotency-Key is mandatory.
///
/// Without `expected_total` the prices in force must be those at which the lines were put; with it, the total in
/// force must equal it. Otherwise the answer is 409 `price_changed` with the quote in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckoutRequest {
    /// The provider's token for the means of payment. Card numbers never enter.
    #[schema(example = "tok_visa", pattern = "^tok_[A-Za-z0-9_-]{1,60}$")]
    pub payment_token: String,
    /// What the client thinks that the cart costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_total: Option<Money>,
    /// What the client thinks that the lines cost, all of them or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected_lines: Vec<ExpectedLine>,
}

/// What a client thinks that a line of its cart is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectedLine {
    /// The product.
    pub product_id: ProductId,
    /// How many.
    pub quantity: u32,
    /// The price of one.
    pub unit_price: Money,
}

/// The answer to an accepted checkout: 202, with the order's address in `Location`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckoutAccepted {
    /// The order.
    pub order_id: OrderId,
    /// Always `placed`: what became of it since is behind `Location`.
    pub status: OrderStatus,
    /// What it costs.
    pub total: Money,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Accepted; stock, payment and shipment are being arranged.
    Placed,
    /// Paid, and its shipment exists.
    Confirmed,
    /// It came to nothing, and nothing of it is left behind.
    Cancelled,
}

/// Why an order was cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelReason {
    /// A stable code: `out_of_stock`, `card_declined`, or the code of the rejection that ended the checkout.
    #[schema(example = "card_declined")]
    pub code: String,
    /// The same in words.
    pub detail: String,
}

/// A line of an order, at the price that it was bought for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderLine {
    /// The product.
    pub product_id: ProductId,
    /// What it was called.
    pub name: String,
    /// How many.
    pub quantity: u32,
    /// The price of one.
    pub unit_price: Money,
}

/// An order (`GET /orders/{id}`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Order {
    /// The order.
    pub order_id: OrderId,
    /// Where it stands.
    pub status: OrderStatus,
    /// What was bought.
    pub lines: Vec<OrderLine>,
    /// What it cost.
    pub total: Money,
    /// Why it was cancelled, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<CancelReason>,
    /// Its payment, once it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<PaymentId>,
    /// The number of its invoice, once it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice_number: Option<i64>,
    /// Its shipment, once it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipment_id: Option<ShipmentId>,
    /// The code to track the shipment by, once it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_code: Option<String>,
    /// When it was placed.
    pub placed_at_ms: i64,
    /// When its status last changed.
    pub updated_at_ms: i64,
}

/// An entry of the order history (`GET /orders`), a read model that follows the orders' events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderSummary {
    /// The order.
    pub order_id: OrderId,
    /// Where it stands.
    pub status: OrderStatus,
    /// What it cost.
    pub total: Money,
    /// How many things were bought.
    pub items: u32,
    /// The code to track its shipment by, once it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_code: Option<String>,
    /// When it was placed.
    pub placed_at_ms: i64,
    /// When its status last changed.
    pub updated_at_ms: i64,
}

/// `order.placed`: a checkout was accepted. Key: the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlaced {
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// What was bought.
    pub lines: Vec<OrderLine>,
    /// What it costs.
    pub total: Money,
    /// When.
    pub placed_at_ms: i64,
}

/// `order.confirmed`: paid, and on its way. Key: the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderConfirmed {
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// What it cost.
    pub total: Money,
    /// Its payment.
    pub payment_id: PaymentId,
    /// Its shipment.
    pub shipment_id: ShipmentId,
    /// The code to track the shipment by.
    pub tracking_code: String,
    /// When.
    pub confirmed_at_ms: i64,
}

/// `order.cancelled`: it came to nothing, and all that was done for it is undone. Key: the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCancelled {
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// Why.
    pub reason: CancelReason,
    /// When.
    pub cancelled_at_ms: i64,
}
