//! Payments: the internal operations that the checkout calls, what customers see, and the events.
//!
//! Each internal operation carries an Idempotency-Key header and may be repeated with it until its outcome is known:
//! the same key and request always get the same outcome, and the provider is charged once.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Money, OrderId, PaymentId, ReturnId, UserId};

/// `POST /internal/payments/authorise`: set the money aside.
///
/// 200 authorised; 402 `card_declined`; 409 `authorisation_voided` when a void overtook it; 422
/// `idempotency_key_reused`; 503 `provider_unavailable` (nothing was done); 504 `provider_unknown` (repeat).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthoriseRequest {
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// How much; above zero.
    pub amount: Money,
    /// The provider's token for the means of payment.
    pub payment_token: String,
}

/// `POST /internal/payments/capture`: take the money that was set aside. The key is the capture's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureRequest {
    /// The payment.
    pub payment_id: PaymentId,
}

/// `POST /internal/payments/void`: give up an authorisation, known or not.
///
/// A void of an authorisation that was never seen succeeds and is remembered: the authorisation, should it come late,
/// is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VoidRequest {
    /// The Idempotency-Key of the authorisation, which the caller knows even when it never heard an answer.
    pub authorisation_key: String,
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// How much was to be set aside.
    pub amount: Money,
}

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// The provider is being asked to set the money aside.
    Authorising,
    /// The money is set aside.
    Authorised,
    /// The provider declined.
    Declined,
    /// The provider is being asked to take the money.
    Capturing,
    /// The money is taken.
    Captured,
    /// The provider is being asked to give the authorisation up.
    Voiding,
    /// The authorisation is given up.
    Voided,
}

/// A payment: the answer of every internal operation, and what `GET /payments/{id}` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Payment {
    /// The payment.
    pub payment_id: PaymentId,
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// Where it stands.
    pub status: PaymentStatus,
    /// How much.
    pub amount: Money,
    /// How much of it was given back.
    pub refunded: Money,
    /// The number of its invoice, once it is captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice_number: Option<i64>,
    /// Why the provider declined, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decline_code: Option<String>,
    /// When it began.
    pub created_at_ms: i64,
    /// When its status last changed.
    pub updated_at_ms: i64,
}

/// Which operation a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Setting money aside.
    Authorise,
    /// Taking it.
    Capture,
    /// Giving it up.
    Void,
    /// Giving it back.
    Refund,
}

/// What a key stands for (`GET /internal/payments/by-key/{key}`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyedPayment {
    /// The operation.
    pub kind: OperationKind,
    /// The payment that it belongs to.
    pub payment: Payment,
}

/// An invoice (`GET /invoices/{number}`). It is written with the capture and never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invoice {
    /// Its number: 1, 2, 3 and so on, without a gap.
    pub number: i64,
    /// The payment.
    pub payment_id: PaymentId,
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// How much.
    pub amount: Money,
    /// When it was written.
    pub issued_at_ms: i64,
}

/// `payment.authorised`: money is set aside. Key: the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentAuthorised {
    /// The payment.
    pub payment_id: PaymentId,
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// How much.
    pub amount: Money,
}

/// `payment.captured`: money is taken, and the invoice written. Key: the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentCaptured {
    /// The payment.
    pub payment_id: PaymentId,
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// How much.
    pub amount: Money,
    /// The number of the invoice.
    pub invoice_number: i64,
}

/// `payment.voided`: an authorisation is given up. Key: the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentVoided {
    /// The payment.
    pub payment_id: PaymentId,
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// How much is free again.
    pub amount: Money,
}

/// `payment.refunded`: money for returned goods is given back. Key: the return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRefunded {
    /// The return.
    pub return_id: ReturnId,
    /// The payment.
    pub payment_id: PaymentId,
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// How much.
    pub amount: Money,
}

/// `payment.refund_refused`: money for returned goods cannot be given back, for good. Key: the return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRefundRefused {
    /// The return.
    pub return_id: ReturnId,
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// How much it would have been.
    pub amount: Money,
    /// A stable code: `refund_refused` (by the provider), `exceeds_captured`, `no_payment`.
    pub code: String,
}
