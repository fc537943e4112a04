//! The public behaviour of the policies.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "test tasks end with their runtime")]

mod adaptive;
mod allocations;
mod breaker;
mod bulkhead;
mod contract;
mod layers;
mod limits;
mod no_allocation;
mod pipeline;
mod rates;
mod shed;
