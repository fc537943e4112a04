//! The gateway over real sockets, in front of real services.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod addresses;
mod admin;
mod allocations;
mod attack;
mod balancing;
mod callers;
mod config;
mod cors;
mod decisions;
mod delivery;
#[allow(clippy::disallowed_methods, reason = "a test's own name server")]
mod dns;
mod drain;
mod explain;
mod framing;
mod health;
mod holds;
mod http2;
mod identity;
mod layers;
mod limits;
mod link;
mod lint;
mod named;
mod outbound;
mod pages;
mod pki;
mod problems;
mod reload;
mod revocation;
mod rewriting;
mod rig;
mod routing;
mod schema;
mod series;
mod spans;
mod split;
mod stale;
mod sticky;
mod tls;
mod towards;
mod trailers;
mod versions;
mod wire;
