//! SQLite: the only module, with its children, that names its pragmas and its library.

mod guard;
mod open;
mod session;
mod wal;

pub(crate) use open::{Role, Target, open, version};
pub(crate) use session::Session;
pub(crate) use wal::{Due, Wal};
