//! Events that are delivered at least once and applied once, in the order of their key.
//!
//! ```
//! use std::sync::Arc;
//! use leeward_events::{Bus, Consumer, Event, Outbox, Relay, bus};
//! use leeward_resilience::{FastRng, TokioClock};
//! use leeward_runtime::{Stage, Tasks};
//! use leeward_store::{Db, Options, Tx};
//! use leeward_telemetry::Correlation;
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct OrderPlaced { order_id: String }
//! impl Event for OrderPlaced {
//!     const TYPE: &'static str = "order.placed";
//!     const VERSION: u32 = 1;
//!     fn key(&self) -> String { self.order_id.clone() }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (tasks, db) = (Tasks::new(), Db::open("sqlite::memory:", Options::default()).await?);
//! Outbox::migrate(&db).await?;
//! Consumer::migrate(&db).await?;
//! let bus = Bus::open("memory:", bus::Options::default(), &tasks).await?;
//! let outbox = Outbox::new("orders", Arc::new(TokioClock));
//! let relay = Relay::new(db.clone(), outbox.clone(), bus.clone());
//! let (seen, mut placed) = tokio::sync::mpsc::channel(8);
//! let consumer = Consumer::builder("mail.orders", db.clone(), bus)
//!     .on::<OrderPlaced>(async move |_tx, received| {
//!         let _ = seen.try_send(received.event.order_id); // a real handler changes rows through its transaction
//!         Ok(())
//!     })
//!     .build()?;
//! tasks.spawn(Stage::Work, "relay", |stop| relay.run(stop));
//! tasks.spawn(Stage::Work, "consumer", |stop| consumer.run(stop));
//!
//! let cause = Correlation::new_root(&FastRng::from_entropy());
//! db.write(async move |tx: &mut Tx| {
//!     // ... the order's own rows, and in the same transaction:
//!     outbox.append(tx, &OrderPlaced { order_id: "o-1".into() }, &cause).await
//! }).await?;
//! assert_eq!(placed.recv().await.as_deref(), Some("o-1"));
//! # Ok(())
//! # }
//! ```
//!
//! # What it is
//! [`Outbox`] and [`Relay`] on the producer's side, a [`Bus`] in between (in memory, in a file, or another process's), [`Consumer`] with
//! its [`Inbox`] on the other; [dead letters](dead), the outbox as an event log, and [projections](projection) built from it.
//!
//! # What it is not
//! No broker cluster: the embedded bus is one file of one process. No command and reply, which belongs to leeward-service. No exactly-once
//! delivery, which does not exist: an event may arrive twice, and is applied once where its effect is in the consumer's own database.
//!
//! # Invariants
//! - An event is in the outbox if and only if the transaction that appended it committed.
//! - Events with one key reach a group's handler in the order of their commits; a failed one holds up its key and no other.
//! - Effect, inbox row and position of an event are one transaction.
//! - A publish that returned `Ok` is durable. What a group has not acknowledged is never deleted; a full bus or outbox refuses instead.
//! - Every queue, batch, retry and table has a bound, which is a constant or an option with its reason.

mod backoff;
mod bucket;
pub mod bus;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod consumer;
pub mod dead;
pub mod envelope;
mod event;
mod ids;
pub mod inbox;
pub mod metrics;
pub mod outbox;
pub mod pattern;
pub mod projection;
mod relay;
pub mod status;

pub use backoff::Backoff;
pub use bucket::{BUCKETS, bucket};
pub use bus::Bus;
pub use consumer::{Consumer, HandlerError, Received, Redelivery};
pub use dead::DeadLetters;
pub use envelope::Envelope;
pub use event::{DecodeError, Event};
pub use inbox::{Dedupe, Inbox};
pub use outbox::Outbox;
pub use pattern::{Pattern, Patterns};
pub use projection::Projection;
pub use relay::Relay;

/// The crates whose types stand in this one's signatures, so that a user needs no dependency beside it.
pub use {leeward_runtime as runtime, leeward_store as store, leeward_telemetry as telemetry};
