//! The outside payment provider: the interface that it gives its merchants, and the ledger that an outside oracle
//! reads.
//!
//! Each operation carries an Idempotency-Key header. A key is remembered for 24 hours: the same key and request get
//! the recorded outcome and nothing is done again; the same key with another request is 422.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Money;
pub use crate::payments::OperationKind;

/// `POST /v1/authorisations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Authorise {
    /// How much.
    pub amount: Money,
    /// The means of payment. `tok_decline` is declined, `tok_slow` answers late, `tok_nocapture` is authorised and
    /// refuses the capture, `tok_norefund` refuses refunds; any other token that starts with `tok_` is good.
    pub token: String,
    /// What the merchant calls it: the order.
    pub reference: String,
}

/// `POST /v1/captures`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// The authorisation, by the id that the provider gave it.
    pub authorisation: String,
    /// How much; all of it.
    pub amount: Money,
}

/// `POST /v1/voids`: give up the authorisation made under a key, whether the provider ever saw it or not. One that
/// comes later is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Void {
    /// The Idempotency-Key of the authorisation.
    pub authorisation_key: String,
}

/// `POST /v1/refunds`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    /// The captured authorisation, by the id that the provider gave it.
    pub authorisation: String,
    /// How much; together with earlier refunds no more than was captured.
    pub amount: Money,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Done.
    Approved,
    /// Not done, for good: the card's issuer says no.
    Declined,
    /// Not done, for good: the operation is not possible.
    Refused,
}

/// An operation and how it ended: the answer (200) to each operation, and to `GET /v1/operations/{key}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Operation {
    /// The Idempotency-Key.
    pub key: String,
    /// Which operation.
    pub kind: OperationKind,
    /// How it ended.
    pub verdict: Verdict,
    /// Why it was declined or refused: `declined`, `voided`, `already_captured`, `not_captured`, `unknown_authorisation`,
    /// `amount`, `capture_refused`, `refund_refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The authorisation that it made or worked on; empty when there is none.
    pub authorisation: String,
    /// How much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
}

/// A line of the ledger. Lines are added and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerEntry {
    /// Its place: 1, 2, 3 and so on.
    pub seq: i64,
    /// The operation.
    #[serde(flatten)]
    pub operation: Operation,
    /// What the merchant calls it; for an authorisation, the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// SHA-256 of the request, in hexadecimal digits.
    pub request_hash: String,
    /// When.
    pub at_ms: i64,
}

/// A page of the ledger (`GET /ledger?after=SEQ&limit=N`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerPage {
    /// The lines after `after`, oldest first.
    pub entries: Vec<LedgerEntry>,
    /// The `seq` of the last line here, if there are more after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// What the provider is to do wrong (`PUT /faults`, only where faults are allowed). Rates are shares from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Waits this long before each operation.
    pub latency_ms: u64,
    /// The share of operations answered 500 and not done.
    pub error_rate: f64,
    /// The share of operations done and never answered.
    pub lost_reply_rate: f64,
    /// Whether operations are refused with 503 before they are looked at.
    pub refuse_all: bool,
    /// Whether refunds are refused for good.
    pub refuse_refunds: bool,
}
