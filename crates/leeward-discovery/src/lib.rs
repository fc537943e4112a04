//! Where services are, and which of their endpoints gets a call.
//!
//! A [`Directory`] maps names to sets of endpoints that may change while calls run. An [`Upstream`] is one service: it
//! picks an endpoint that is healthy, not ejected and has room, by default the better one of two drawn at random by
//! expected cost, and learns from what becomes of the call. A [`Checker`] asks the endpoints whether they are ready. A [`Registry`],
//! such as the records of DNS (feature `dns`), knows where a service is now; a [`Lookup`] keeps the directory to what it says.
//!
//! It is not a registry server, it opens no connection for a call, and it does not retry: the caller does, with a hint of
//! what it tried before.
//!
//! ```
//! use leeward_discovery::{Directory, Endpoint, PickHint};
//! use leeward_resilience::{Class, Clock, TokioClock};
//!
//! let directory = Directory::new();
//! directory.set("inventory", [Endpoint::parse("http://127.0.0.1:4003")?]);
//! let inventory = directory.upstream("inventory");
//! let picked = inventory.pick(TokioClock.now(), &PickHint::default())?;
//! assert_eq!(picked.endpoint().authority(), "127.0.0.1:4003");
//! picked.report(Class::Success, TokioClock.now());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Invariants:
//! - A pick fails only when there is no endpoint, or none with room. Bad health never leaves nobody.
//! - Never all endpoints are ejected at a time, and one alone never is.
//! - An endpoint that stays in a set keeps its history when the set changes.
//! - A registry that fails takes no endpoint away.
//! - A pick takes no lock and does not allocate, but for the ring, which is made at the first pick with a key of each set.

pub mod balance;
pub mod check;
mod choice;
pub mod directory;
#[cfg(feature = "dns")]
pub mod dns;
pub mod endpoint;
pub mod health;
mod load;
pub mod metrics;
pub mod outlier;
pub mod registry;
pub mod ring;
pub mod upstream;

pub use balance::{Algorithm, Balance, PeakEwma, RingHash};
pub use check::{Checker, Probe};
pub use directory::Directory;
pub use endpoint::Endpoint;
pub use health::Health;
pub use outlier::Outlier;
pub use registry::{Lookup, Registry};
pub use ring::Ring;
pub use upstream::{Hold, HoldError, NoEndpoint, PickHint, Picked, Status, Upstream};
