//! Payments: the shop's side of the payment provider.
//!
//! It sets money aside, takes it, gives it up and gives it back, each exactly once, over a provider whose answers get
//! lost. It writes invoices and tells what happened through its outbox.
//!
//! It is deliberately not a place for card data: a payment is made with a provider's token. Nor does it know what an
//! order is: who pays how much for which order is told by the checkout, and what is to be refunded by the warehouse's
//! `stock.returned`.
//!
//! ```no_run
//! # async fn run(kit: leeward_service::Kit) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use shop_payments::{HttpProvider, provider_client};
//!
//! let provider = Arc::new(HttpProvider::new(provider_client(&kit)?));
//! let service = shop_payments::build(kit, provider).await?;
//! service.serve(tokio::net::TcpListener::bind("127.0.0.1:0").await?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants:
//! - An intent is on disk before the provider hears of it, and an outcome before the caller does.
//! - 503 means that nothing was done. Once the provider was asked, whatever fails is 504: the outcome is not known.
//! - A key stands for one operation. Repeated, it gets the recorded outcome; when that is not known, the provider is
//!   asked for it, and only if it never saw the key is the operation sent again, under the same key.
//! - A void that overtakes its authorisation is remembered, and the authorisation refused when it comes.
//! - Money is taken at most once a payment, and what is given back never exceeds it.
//! - Invoices are numbered 1, 2, 3 without a gap and never change.

mod api;
mod authorise;
mod book;
mod capture;
mod decide;
mod desk;
mod error;
mod health;
mod invoices;
mod provider;
mod refunds;
mod schema;
mod service;
mod status;
mod void;

use error::Error;
pub use provider::{Answer, CallCx, Charge, Error as ProviderError, HttpProvider, PaymentProvider, Receipt};
pub use service::{NAME, PROVIDER, build, provider_client};
