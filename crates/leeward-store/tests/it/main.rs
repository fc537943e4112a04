//! What leeward-store promises, through its public interface on real files.

#![allow(clippy::unwrap_used, reason = "tests")]

mod bounds;
mod crash;
mod fixture;
mod groups;
mod leases;
mod migrations;
mod opening;
mod reads;
mod savepoints;
mod statements;
mod wakes;
