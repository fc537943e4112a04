//! The kit that a service is built with: everything between a socket and a handler, and between a handler and the next
//! service.
//!
//! A host makes a [`Kit`] for each service; the service adds its routes, consumers and sagas to a [`Service`], which starts,
//! serves and stops as one.
//!
//! ```
//! use leeward_discovery::Directory;
//! use leeward_events::{Bus, bus};
//! use leeward_runtime::Tasks;
//! use leeward_service::{Access, Api, Caller, Json, Kit, KitOptions, Problem, Service, routes};
//!
//! #[utoipa::path(get, path = "/cart", responses((status = 200, body = String)))]
//! async fn cart(caller: Caller) -> Result<Json<String>, Problem> {
//!     Ok(Json(format!("the cart of {}", caller.user_id()?)))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let (tasks, directory) = (Tasks::new(), Directory::new());
//! let bus = Bus::open("memory:", bus::Options::default(), &tasks).await?;
//! let kit = Kit::new(KitOptions::new("orders", folder.path(), directory, bus)).await?;
//! let api: Api = Api::new().add(Access::User, routes!(cart));
//! let address = Service::builder(kit)
//!     .api(api)
//!     .build()?
//!     .serve(tokio::net::TcpListener::bind("127.0.0.1:0").await?)
//!     .await?;
//! assert!(tokio::net::TcpStream::connect(address).await.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # What it is
//! - [`inbound`]: one stack in front of every route: request id and trace, size limit, deadline, authentication by signed
//!   assertion, authorisation by the route table, rate limit, shedding, injected faults, metrics.
//! - [`client`]: one outbound client with deadline, retry budget, breaker, balancing, concurrency limits, faults; a failed
//!   call says whether it may have been executed.
//! - [`Api`]: the route table, the OpenAPI document at `/openapi.json`, and who may call what; [`audit`] walks it in a test.
//! - [`identity`]: assertions minted and verified through caches, keys published at `/.well-known/leeward-keys`.
//! - [`command`]: command and reply over the bus, each end in one transaction.
//! - [`health`], `/metrics`, and `/_leeward/*` for operators: health in detail, events, sagas, projections, faults.
//!
//! # What it is not
//! No web framework, which is axum; no event bus and no saga engine, which are crates of their own; no business logic.
//! It terminates no TLS: between services that is the mesh's or the network's, and towards clients the gateway's.
//!
//! # Invariants
//! - A service believes `x-leeward-assertion` and no other header about who is calling. A wrong assertion is refused even
//!   where none is needed.
//! - No route without an [`Access`]: the only way to add one is to say who may call it.
//! - Every answer the kit makes itself is problem+json with a stable code, and says so when waiting helps.
//! - Every request and every call has a deadline; past it nothing is begun.
//! - A call with an attempt whose fate is not known is [`Effect::Unknown`], whatever the attempts after it came to.
//! - Background work that ends before it was asked to, by a panic or otherwise, turns its check red; consumers, the relay and
//!   the saga engine are made again.
//! - Probes read what background checks last found; they never wait for a dependency.
//! - Every cache, queue and label set is bounded.

pub mod access;
pub mod api;
pub mod audit;
mod builtin;
pub mod client;
pub mod command;
mod consumer;
mod convert;
mod expiring;
mod extract;
pub mod faults;
pub mod health;
pub mod identity;
pub mod inbound;
pub mod kit;
mod operator;
pub mod problem;
mod serve;
pub mod service;
mod worker;

pub use access::Access;
pub use api::{Api, RouteInfo, RouteOptions};
pub use client::{CallError, Client, ClientOptions, Effect, Fetched, Transport};
pub use command::{Command, Commanded};
pub use consumer::{ConsumerBuilder, ConsumerSource, IntoConsumer};
pub use extract::{Cause, Hop, Json, Path, Query, Until, header_text};
pub use faults::{Fault, FaultSet, Faults};
pub use health::Health;
pub use identity::{Caller, Identity, Issuers, Minter, Principal, User, Verifier};
pub use inbound::InboundOptions;
pub use kit::{BuildError, Kit, KitOptions};
pub use problem::{Invalid, Problem, ProblemBody, code};
pub use service::{Builder, Service};
pub use utoipa_axum::routes;
