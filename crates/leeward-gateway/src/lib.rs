//! The gateway: one YAML file in front of services in any language.
//!
//! One function shows the life of a request, one reason a line (`life::pass`). Around it: a data plane with one thread
//! and one runtime a core, the policies on the path (canonical paths, stripped headers, CORS, rate limits, users' tokens
//! and their revocation, shedding; then deadline, retry with budget, circuit breaker, balancing, and a last good copy
//! when all of that fails), and an admin API for operators.
//!
//! It is deliberately not a place for business logic and not a registry. Towards clients it speaks HTTP/1.1 and HTTP/2, with and
//! without TLS, towards services the same; what a client sends is parsed into a model and written anew, never passed through as bytes.
//!
//! ```
//! use leeward_gateway::{Config, Gateway};
//! use leeward_runtime::{Env, Tasks};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let text = "listen: 127.0.0.1:0\nadmin: {listen: \"127.0.0.1:0\"}\nroutes: [{path: /, service: \"http://127.0.0.1:4001\"}]";
//! let config = Config::parse("leeward.yaml", text, &Env::default())?;
//! let tasks = Tasks::new();
//! let gateway = Gateway::builder(config).start(&tasks).await?;
//! assert!(gateway.is_ready() && gateway.addr().port() > 0);
//! tasks.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Invariants:
//! - One canonical path is routed, authorised, limited and forwarded. A message that two servers could read in two ways
//!   is refused.
//! - No header by which the gateway speaks to services can come from a client, in any spelling, nor be removed by one.
//! - A service learns who the user is from the gateway's assertion only; a route whose answers may be kept as copies
//!   learns nobody's name.
//! - Nothing is retried that may have been executed and is not idempotent; a rejection by a policy is never retried.
//! - Every own answer is `application/problem+json` with a stable code ([`refusal::code`]), the stage, and CORS headers.
//! - Rate limits, breakers, permits and revocations are exact over all cores; connections belong to one core.
//! - Every cache, queue, wait and label set is bounded.

pub mod access;
pub mod address;
mod admin;
mod body;
pub mod config;
mod control;
pub mod cors;
pub mod credentials;
mod decisions;
pub mod delivery;
pub mod deprecation;
pub mod diff;
pub mod explain;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
mod grpc;
pub mod h1;
mod handover;
mod headers;
pub mod health;
mod holds;
mod http2;
mod incoming;
mod jwt;
pub mod layer;
mod life;
mod limits;
mod lines;
pub mod lint;
mod lookups;
pub mod metrics;
mod overload;
pub mod path;
mod places;
mod plane;
mod probe;
mod published;
pub mod refusal;
pub mod relaxations;
pub mod reload;
mod revocation;
pub mod router;
pub mod schema;
pub mod security_headers;
mod shared;
mod socket;
mod spare;
pub mod split;
mod stale;
pub mod target;
mod tls;
mod trailers;
mod tunnel;
mod upgrade;
mod upstream;

pub use config::Config;
pub use gateway::{Builder, Error, Gateway};
pub use layer::Layer;
