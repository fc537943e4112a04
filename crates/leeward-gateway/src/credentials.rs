//! Callers that stand in a file of the operator's: who presents a key of it is known, as who presents a good token is.
//!
//! The rule: one request has one speaker. A key is found by its SHA-256, so that neither the file nor the time of an answer tells
//! anything about it; it goes no further than here, and the service hears who it is in the gateway's own words. The file is read
//! again when it changes; one with mistakes is not taken, and the one before stays in force.

mod api_key;
mod checks;
mod date;
mod line;
mod password;
mod presented;
mod store;

pub use self::api_key::NewKey;
pub(crate) use self::api_key::{Keys, is_api_key};
pub(crate) use self::checks::{Busy, Checks};
pub use self::password::password_line;
pub(crate) use self::password::{Accounts, Login};
pub(crate) use self::presented::{Accepted, Presented, Unreadable, presented, strip};

/// What stands in front of the ids of callers that have no user of their own. No token's user and nobody else's is called like that.
pub(crate) const PREFIXES: [&str; 2] = [api_key::PREFIX, password::PREFIX];

pub(crate) use self::store::{FileProblem, Loaded, Store};
