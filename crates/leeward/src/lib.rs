//! The composition behind the `leeward` binary: its command line, and what each command starts.
//!
//! It is a library only so that a second binary can put the shop together from other [`Parts`]; it is not one for users,
//! who build on the crates below. It is the only crate that prints or exits.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the binary talks to a person at a terminal")]

#[cfg(not(feature = "demo"))]
mod absent;
mod admin;
mod cli;
mod config;
#[cfg(feature = "demo")]
mod demo;
mod events;
mod fault;
#[cfg(feature = "demo")]
mod fresh;
mod keys;
mod process;
mod sagas;
#[cfg(feature = "demo")]
mod session;
#[cfg(feature = "demo")]
mod shop;
mod tools;
mod upgrade;
mod why;

use std::process::ExitCode;

use clap::Parser;
#[cfg(feature = "demo")]
pub use shop_app::Parts;

#[cfg(not(feature = "demo"))]
pub use crate::absent::Parts;
#[cfg(not(feature = "demo"))]
use crate::absent::{demo, shop};
use crate::cli::{Cli, Command, Demo};

/// What a person can mend: a taken port, a folder that cannot be written, a mistake in a file.
const EXIT_USAGE: u8 = 2;

/// Runs the command line; `parts` is what the shop is made of.
#[must_use]
pub fn main(parts: Parts) -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or_else(|| Command::Demo(Demo::default())) {
        Command::Demo(demo) => demo::run(&demo, parts),
        Command::Shop(shop) => shop::run(&shop, parts),
        Command::Gateway(gateway) => config::run(&gateway),
        Command::Check(file) => config::check(&file),
        Command::Lint(lint) => return ended(tools::lint(&lint)),
        Command::Diff(wanted) => return ended(tools::diff(&wanted)),
        Command::Why(wanted) => return ended(why::run(&wanted)),
        Command::Schema => {
            println!("{:#}", leeward_gateway::schema::schema());
            Ok(())
        }
        Command::Explain(file) => config::explain(&file),
        Command::Keys(keys) => keys::run(&keys),
        Command::Sagas(sagas) => sagas::run(&sagas),
        Command::Events(events) => events::run(&events),
        Command::Fault(fault) => fault::run(&fault),
    };
    ended(done.map(|()| ExitCode::SUCCESS))
}

fn ended(done: Result<ExitCode, Error>) -> ExitCode {
    done.unwrap_or_else(|error| {
        eprintln!("leeward: {error}");
        ExitCode::from(EXIT_USAGE)
    })
}

/// What ends a command early: one line that says what, where and what to do.
type Error = Box<dyn std::error::Error>;
