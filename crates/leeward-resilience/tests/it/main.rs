//! The public behaviour of the policies.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "test tasks end with their runtime")]

mod allocations;
mod breaker;
mod cache;
mod contract;
mod fallback;
mod fault;
mod hedge;
mod layers;
mod limits;
mod pipeline;
mod storm;
