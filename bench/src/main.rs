//! Leeward's benchmarks against others. Each prints a table and, as its last line, `RESULT` and a JSON
//! object.
//!
//! Run one with `cargo run --release -p leeward-bench -- NAME`.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time and starts its own tasks")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark is a program whose output is its result"
)]

mod cargo;
mod disk;
mod faults;
mod figures;
mod gateway;
mod http;
mod metrics;
mod orders;
mod process;
mod resilience;
mod store;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Leeward's benchmarks.
#[derive(Debug, Parser)]
#[command(name = "leeward-bench")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// What a request costs the gateway, beside nginx, HAProxy and Envoy.
    Gateway(gateway::Arguments),
    /// What the gateway makes of services with too much to do, or that fail.
    GatewayFaults(faults::Arguments),
    /// A service of known capacity: started by `gateway-faults` as a process of its own.
    #[command(hide = true)]
    FaultUpstream(faults::UpstreamArguments),
    /// The least that forwarding can cost: started by `gateway` as a process of its own.
    #[command(hide = true)]
    Floor(gateway::floor::Arguments),
    /// The whole shop under load: how many orders a second it completes, and what one costs.
    Orders(orders::Arguments),
    /// What a policy costs a call, beside other libraries for Rust and Node.js.
    Resilience(resilience::Arguments),
    /// Small durable transactions through leeward-store's writer, beside a connection behind a mutex.
    Store(store::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.bench {
        Bench::Gateway(arguments) => gateway::run(arguments),
        Bench::GatewayFaults(arguments) => faults::run(&arguments),
        Bench::FaultUpstream(arguments) => faults::serve(&arguments),
        Bench::Floor(arguments) => gateway::floor::run(&arguments),
        Bench::Orders(arguments) => orders::run(&arguments),
        Bench::Resilience(arguments) => resilience::run(&arguments),
        Bench::Store(arguments) => store::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
