//! Orders: cart, checkout, order history and returns, and the saga that brings an order to its end.
//!
//! `POST /checkout` answers 202 once the order is on disk; everything after it is the saga's, which stands in one file,
//! `saga.rs`, and can be read top to bottom.
//!
//! It is deliberately not the owner of prices, stock, money or parcels. Prices come from the catalog by a replica and
//! never from the client; the rest is asked of its owners.
//!
//! ```no_run
//! # async fn run(kit: leeward_service::Kit) -> Result<(), Box<dyn std::error::Error>> {
//! let service = shop_orders::build(kit).await?;
//! let address = service.serve(tokio::net::TcpListener::bind("127.0.0.1:0").await?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants:
//! - Order, saga, event and idempotency record are one transaction.
//! - The same Idempotency-Key with the same body is the same order, with another body a refusal, for 24 hours.
//! - An order is confirmed only when it is paid and its shipment exists, and cancelled only when nothing of it is left.
//! - What an order costs is the sum of the catalog's prices at the checkout, and the client agreed to it.
//! - Goods come back at most once, and for no more than they were bought for.

mod api;
mod basket;
mod book;
mod cart;
mod checkout;
mod desk;
mod error;
mod history;
mod idempotency;
mod prices;
mod returns;
mod saga;
mod schema;
mod service;
mod status;

use error::Error;
pub use service::{NAME, build};
