//! TLS towards clients.
//!
//! A listener's certificates, and who may vouch for those of its clients, are read from files and made into one value that
//! connections take when they begin: a change of the files is a new value, and who is connected stays connected. A file that
//! cannot be used leaves the last good value in force.
//!
//! Sessions are resumed by tickets whose keys this process makes and changes itself. Where clients present certificates they are
//! not: a resumed session would carry an identity that was checked hours ago.

mod certificate;
mod client;
mod meter;
mod resolver;
mod server;

pub(crate) use self::certificate::Problem;
pub(crate) use self::client::Identity;
pub(crate) use self::meter::Meter;
pub(crate) use self::server::{Server, Status};
