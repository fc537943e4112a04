//! Returns: the customer's request, and following what the others do about it.
//!
//! Nobody coordinates a return. Orders opens it (`return.requested`), listens to inventory and payments, and closes it
//! (`return.completed`, `return.refused`) when the last of them is done. One that does not end in time shows up among
//! the overdue ones and in a gauge.

mod book;
mod open;
mod status;
mod watch;

pub(crate) use self::book::{count_overdue, find, list, overdue};
pub(crate) use self::open::open;
pub(crate) use self::status::{Event, Illegal};
pub(crate) use self::watch::{OVERDUE_METRIC, follow};

/// How long a return may take before an operator is shown it: parcel services take a week, people another.
pub(crate) const DUE_MS: i64 = 14 * 24 * 60 * 60 * 1000;

/// The longest reason.
pub(crate) const REASON_CHARS_MAX: usize = 500;
