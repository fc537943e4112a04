//! Users: accounts, logins, tokens, preferences, roles, and the log of who changed what.
//!
//! It is the only service that knows a name or a mail address; the others know ids. Passwords are argon2id hashes made
//! on a bounded pool; access tokens are EdDSA JWTs whose keys are published and rotated; a logout revokes them.
//!
//! It is deliberately not an identity provider for other systems: no OAuth grants, no federation.
//!
//! Invariants:
//! - No e-mail address, name or password leaves in an event or a log line.
//! - Refresh tokens are stored as hashes and are good once; a second use ends the session.
//! - A wrong password and an unknown address are answered alike, and as late.

mod accounts;
mod api;
mod audit;
mod failures;
mod keys;
mod passwords;
mod preferences;
mod roles;
mod schema;
mod secret;
mod service;
mod sessions;
mod start;
mod throttle;
mod tokens;
mod wire;

pub use roles::Role;
pub use start::{NAME, SeedUser, StartError, build};
pub use tokens::{ACCESS_TTL, AUDIENCE, ISSUER};
