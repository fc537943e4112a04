//! Who is calling: signed assertions between services.
//!
//! A service believes `x-leeward-assertion` and nothing else. The assertion is a JWT (EdDSA) with `iss` (the gateway or
//! the calling service), `aud` (the service called), `exp` at most 60 s away, and `act`: the user or the operator it acts
//! for. Without `act` the caller speaks as its own service. It is checked against the issuer's published keys, which are
//! fetched from the issuer's `/.well-known/leeward-keys`.
//!
//! Whose word counts for what: [`Issuers`] may sign at all. A service among them may say for which user it acts. What that
//! user may do, and that somebody operates the platform, is believed of the gateway alone, which has seen the proof: a
//! relayed user has no roles and no permissions, whatever the relaying service says.
//!
//! Signing costs about 10 us and verifying 38 us, so both go through caches: an assertion is minted once per (principal,
//! audience) and reused for 30 s, and a verified one is remembered until it expires.

mod assertion;
mod issuers;
mod key;
mod minter;
mod peers;
mod verifier;

pub use assertion::{Caller, Principal, User};
pub use issuers::Issuers;
pub use key::{Error as KeyError, Identity, PublicKeys};
pub use minter::Minter;
pub use peers::{FetchError, KeySource, PeerKeys};
pub use verifier::{Error, Verifier};

/// The only header that carries identity between services.
pub const ASSERTION_HEADER: &str = "x-leeward-assertion";
/// Where every service publishes the keys that its assertions are checked with.
pub const KEYS_PATH: &str = "/.well-known/leeward-keys";
/// The longest life of an assertion. Short, because an assertion cannot be revoked.
pub const LIFETIME_S: i64 = 60;
/// How long a minted assertion is reused: half its life, so that a receiver always sees at least 30 s left.
pub const REUSE_MS: i64 = 30_000;
