//! What crosses a border in the shop: requests and answers, events, commands and replies, money, problem codes.
//!
//! Each service of the shop sees this crate and no other service. A type belongs here as soon as two crates (or a
//! service and its clients) must agree on its JSON; golden files under `tests/golden` pin that JSON, so a change of
//! a field's name or shape is a failing test before it is an outage.
//!
//! It is deliberately not a place for logic: no rule about orders, stock or payments lives here, only the arithmetic
//! of [`Money`], which must refuse overflow and mixed currencies wherever it is done.
//!
//! ```
//! use shop_contracts::{Currency, Money};
//!
//! let price = Money::new(12_50, Currency::EUR);
//! let line = price.times(3)?;
//! assert_eq!(line.amount_minor, 37_50);
//! assert_eq!(serde_json::to_string(&line)?, r#"{"amount_minor":3750,"currency":"EUR"}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Invariants:
//! - Money is integer minor units with a currency; nothing here is a float but the provider's fault rates.
//! - Events carry user ids and never an e-mail address, a name of a person or a postal address, so that erasing a
//!   user stays the job of one service.
//! - Card numbers never enter: a payment is made with a provider's token.
//! - Consumers ignore fields that they do not know; requests from clients refuse them.
//! - Times are Unix milliseconds, and their names end in `_ms`.

mod ids;
mod money;
mod page;
pub mod problem;

pub mod catalog;
pub mod expectations;
pub mod inventory;
pub mod orders;
pub mod payments;
pub mod provider;
pub mod returns;
pub mod shipping;
pub mod users;

mod registry;
mod text;

pub use ids::{CategoryId, OrderId, PaymentId, ProductId, ReturnId, ShipmentId, UserId};
pub use money::{Currency, Error as MoneyError, Money};
pub use page::{LIMIT_DEFAULT, LIMIT_MAX, Page, PageQuery};
pub use registry::{COMMANDS, EVENTS};

/// Where the edge mounts the public routes. Services are served without it; a `Location` that a client is to follow
/// carries it.
pub const PUBLIC_PREFIX: &str = "/api/v1";

/// The header that makes a repeated request the same request.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
