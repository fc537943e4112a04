//! The public behaviour of the policies.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "test tasks end with their runtime")]

mod adaptive;
mod allocations;
mod breaker;
mod bulkhead;
mod cache;
mod cancelled;
mod contract;
mod defects;
mod events;
mod fallback;
mod fault;
mod handles;
mod hedge;
mod keyed;
mod layers;
mod limits;
mod no_allocation;
mod options;
mod pipeline;
mod pipeline_policies;
mod poll_ready;
mod rates;
mod reload;
mod seen;
mod shadow;
mod sharing;
mod shed;
mod storm;
mod strict;
