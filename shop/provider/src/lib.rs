//! The outside payment provider, simulated: what a real one is to a shop, with a ledger that can be checked and faults
//! on demand.
//!
//! It is the counterpart in every test of "charged once". Each operation is carried out once per Idempotency-Key, in
//! one transaction with its ledger line, before it is answered; the ledger is only ever added to. On demand it answers
//! late, with errors, not at all (having done the work), or refuses.
//!
//! It is deliberately not a platform service: it has no identity, no events and no place in the mesh, just as a
//! provider on the internet would not. Nothing of the shop is linked into it but the types of its interface.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use shop_provider::{Options, Provider};
//!
//! let (_stopper, stop) = leeward_runtime::Stop::manual();
//! let provider = Provider::open(Options::new("sqlite:leeward-data/provider.db"), stop.clone()).await?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! provider.serve(listener).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants:
//! - A key is carried out at most once within 24 hours; the same key with another request is refused.
//! - What a ledger line says happened, happened; what no line says, did not.
//! - No more is given back than was taken, nothing is taken that was not set aside, and nothing is set aside under a
//!   key that was voided before.

mod answer;
mod api;
mod desk;
mod faults;
mod ledger;
mod schema;
mod server;
mod verdict;

pub use server::{Error, Options, Provider};
