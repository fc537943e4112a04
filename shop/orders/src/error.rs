//! What goes wrong in orders, and how it is answered.

use leeward_service::Problem;
use shop_contracts::problem;

use crate::cart::LINES_MAX;
use crate::{returns, status};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The database.
    #[error(transparent)]
    Store(#[from] leeward_store::Error),
    /// The outbox.
    #[error(transparent)]
    Events(#[from] leeward_events::outbox::Error),
    /// The saga engine.
    #[error(transparent)]
    Saga(#[from] leeward_saga::Error),
    /// A row holds what this program never wrote.
    #[error("the database holds {found:?} where a {what} belongs")]
    Foreign {
        /// What belongs there.
        what: &'static str,
        /// What is there.
        found: String,
    },
    /// A step that the order machine does not have: a bug.
    #[error(transparent)]
    Illegal(#[from] status::Illegal),
    /// A step that the return machine does not have: events in an order that cannot be.
    #[error(transparent)]
    IllegalReturn(#[from] returns::Illegal),
    /// The cart holds as many products as it may.
    #[error("a cart holds {LINES_MAX} different products at most")]
    CartFull,
    /// The caller gets this answer.
    #[error("{0}")]
    Answer(Box<Problem>),
}

impl Error {
    /// A row holds what this program never wrote.
    pub(crate) fn foreign(what: &'static str, found: &str) -> Self {
        Self::Foreign { what, found: found.chars().take(80).collect() }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Answer(Box::new(problem))
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::Events(error) => error.into(),
            Error::Saga(leeward_saga::Error::Store(error)) => error.into(),
            Error::Answer(problem) => *problem,
            Error::CartFull => Self::conflict(problem::CART_FULL, error.to_string()),
            Error::Saga(_) | Error::Foreign { .. } | Error::Illegal(_) | Error::IllegalReturn(_) => {
                Self::internal(&error)
            }
        }
    }
}

pub(crate) fn key_reused() -> Problem {
    Problem::unprocessable(problem::IDEMPOTENCY_KEY_REUSED, "this Idempotency-Key stands for another request")
}

pub(crate) fn no_order() -> Problem {
    Problem::not_found("there is no such order")
}
