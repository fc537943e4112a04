//! The errors of the crates below as answers. Full queues and disks are 503 with `Retry-After`: nothing was changed, and all
//! recovers by itself.
//!
//! That holds for a handler whose transaction is all that it does. One that has acted elsewhere before, such as at a payment
//! provider, must not pass these on with `?`: its outcome is not known, and [`CallError::effect`](crate::CallError::effect)
//! would tell its caller otherwise.

use std::time::Duration;

use http::StatusCode;
use leeward_events::{bus, dead, outbox};
use leeward_store::Kind;

use crate::problem::{Problem, code};

/// A full disk is not free again within a second.
const DISK_RETRY_AFTER: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_secs(1);

fn full(retry_after: Duration) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code::STORAGE_FULL).retry_after(retry_after)
}

impl From<leeward_store::Error> for Problem {
    fn from(error: leeward_store::Error) -> Self {
        match error.kind() {
            Kind::Full => full(RETRY_AFTER),
            Kind::DiskFull => full(DISK_RETRY_AFTER),
            Kind::Busy | Kind::Closed => Self::unavailable("the database cannot be used now"),
            Kind::NotFound => Self::not_found("there is no such thing"),
            _ => Self::internal(&error),
        }
    }
}

impl From<outbox::Error> for Problem {
    fn from(error: outbox::Error) -> Self {
        match error {
            outbox::Error::Full { .. } => full(RETRY_AFTER),
            outbox::Error::Store(cause) => cause.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<leeward_saga::Error> for Problem {
    fn from(error: leeward_saga::Error) -> Self {
        use leeward_saga::Error;
        match error {
            Error::Store(cause) => cause.into(),
            Error::NotFound(_) => Self::not_found(error.to_string()),
            Error::Illegal(_) | Error::MovedOn(_) | Error::Refused { .. } => {
                Self::conflict(code::CONFLICT, error.to_string())
            }
            error => Self::internal(&error),
        }
    }
}

impl From<dead::Error> for Problem {
    fn from(error: dead::Error) -> Self {
        match error {
            dead::Error::NotFound { .. } => Self::not_found(error.to_string()),
            dead::Error::Event { .. } => Self::unprocessable(code::INVALID, error.to_string()),
            dead::Error::Store(cause) => cause.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<bus::Error> for Problem {
    fn from(error: bus::Error) -> Self {
        tracing::warn!(%error, "the bus cannot be used");
        Self::unavailable("the bus cannot be used now")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_is_503_and_a_defect_is_500() {
        let problem = |error: leeward_store::Error| Problem::from(error);
        let full = problem(leeward_store::Error::QueueFull { name: "orders".to_owned(), limit: 1 });
        assert_eq!((full.status().as_u16(), full.code()), (503, code::STORAGE_FULL));
        assert_eq!(problem(leeward_store::Error::DiskFull).code(), code::STORAGE_FULL);
        assert_eq!(problem(leeward_store::Error::ForeignWait).status(), 500);
        let outbox = Problem::from(outbox::Error::Full { pending_bytes: 2, limit_bytes: 1 });
        assert_eq!((outbox.status().as_u16(), outbox.code()), (503, code::STORAGE_FULL));
    }
}
