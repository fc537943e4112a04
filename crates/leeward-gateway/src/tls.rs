//! TLS towards clients and towards services.
//!
//! A listener's certificates, and who may vouch for those of its clients, are read from files and made into one value that
//! connections take when they begin: a change of the files is a new value, and who is connected stays connected. A file that
//! cannot be used leaves the last good value in force.
//!
//! Towards services the same holds the other way round ([`Outward`]): who may vouch for them and what the gateway presents are read
//! from files, a connection that was opened under one value is never used under another, and why a handshake failed is told to
//! operators alone ([`Failure`]).
//!
//! Sessions of clients are resumed by tickets whose keys this process makes and changes itself. Where clients present certificates they are
//! not: a resumed session would carry an identity that was checked hours ago.

mod certificate;
mod client;
mod ends;
mod failure;
mod kept;
mod meter;
mod outward;
mod resolver;
mod server;
mod unverified;
mod watch;

pub(crate) use self::certificate::Problem;
pub(crate) use self::client::Identity;
pub(crate) use self::ends::Ends;
pub(crate) use self::failure::Failure;
pub(crate) use self::meter::Meter;
pub(crate) use self::outward::Outward;
pub(crate) use self::server::{Server, Status};
pub(crate) use self::watch::{Watched, follow};
