//! The shop over real HTTP, as one process and as seven: orders, outages, the edge, crashes, and the oracle that judges.
//!
//! Cases share a running shop and run one after the other in it; each suite ends with the oracle.
//! `LEEWARD_CRASH_ROUNDS` and `LEEWARD_CRASH_SEED` set how often, and how, processes are killed.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::large_futures,
    reason = "system tests: they panic to fail, run on real time and report as they go"
)]

mod controls;
mod crash;
mod edge;
mod orders;
mod outages;
mod processes;
mod sync;
mod tour;
mod world;

/// The same suite on one process and on seven.
macro_rules! on_both {
    ($suite:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn in_one_process() {
            $suite(leeward_tests::Topology::One).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn in_seven_processes() {
            $suite(leeward_tests::Topology::Seven).await;
        }
    };
}
use on_both;
