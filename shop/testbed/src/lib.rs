//! One service of the shop as its tests meet it: the real one, on a port of its own, with a data folder, a bus and the
//! services around it.
//!
//! ```no_run
//! # async fn example(build: impl AsyncFn(leeward_service::Kit) -> leeward_service::Service) {
//! use shop_testbed::{World, user};
//!
//! let world = World::new().await;
//! let site = world.serve(build(world.kit("shipping").await).await).await;
//! shop_testbed::check_contract(&site).await;
//! site.get("/shipments").by(&user("u-anna")).send().await.expect(200);
//! world.stop().await;
//! # }
//! ```
//!
//! It is for tests alone, a dev-dependency: it panics where something is not as it should be. It is deliberately no fake: the
//! services beside the one under test are [`Peer`]s made with the same kit, so that commands, replies, events and assertions
//! are what they are in the shop.
//!
//! Invariants:
//! - Every answer is held against the service's own OpenAPI document.
//! - Waiting has a bound, after which the test fails and says for what it waited.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "for tests: a panic is the report")]

mod bus;
mod clock;
mod contract;
mod document;
mod expectations;
mod peer;
mod site;
mod world;

pub use clock::Shifted;
pub use contract::{User, check_contract, everything, user};
pub use expectations::{check_events, check_expectations};
pub use peer::Peer;
pub use site::{Answer, Call, Site};
pub use world::{World, eventually};
