//! What goes wrong in payments, and how it is answered.

use http::StatusCode;
use leeward_service::Problem;
use shop_contracts::problem;

use crate::status::Illegal;

/// Why an operation was not carried out.
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
    /// A step that the payment machine does not have: a bug.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The caller gets this answer.
    #[error("{0}")]
    Answer(Box<Problem>),
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
            Error::Answer(problem) => *problem,
            Error::Saga(leeward_saga::Error::Store(error)) => error.into(),
            Error::Saga(_) | Error::Foreign { .. } | Error::Illegal(_) => Self::internal(&error),
        }
    }
}

pub(crate) fn not_found() -> Problem {
    Problem::not_found("there is no such payment")
}

pub(crate) fn declined(code: Option<&str>) -> Problem {
    Problem::new(StatusCode::PAYMENT_REQUIRED, problem::CARD_DECLINED)
        .detail("the provider declined the payment")
        .with("decline_code", code)
}

pub(crate) fn voided() -> Problem {
    Problem::conflict(problem::AUTHORISATION_VOIDED, "this authorisation was given up before")
}

pub(crate) fn key_reused() -> Problem {
    Problem::unprocessable(problem::IDEMPOTENCY_KEY_REUSED, "this Idempotency-Key stands for another request")
}

pub(crate) fn capture_refused(code: Option<&str>) -> Problem {
    Problem::conflict(problem::CAPTURE_REFUSED, "the provider does not take the money")
        .with("provider_code", code)
}

pub(crate) fn wrong_status(status: shop_contracts::payments::PaymentStatus) -> Problem {
    Problem::conflict(problem::PAYMENT_STATUS, format!("the payment is {}", status.as_str()))
}

/// The provider was asked, and what it did is not on disk, for whatever reason. A full disk or queue is no exception: that
/// nothing was done can only be said before the provider was asked.
pub(crate) fn unrecorded(error: &Error) -> Problem {
    tracing::warn!(%error, "the provider's receipt was not written down");
    Problem::new(StatusCode::GATEWAY_TIMEOUT, problem::PROVIDER_UNKNOWN)
        .detail("what the provider did could not be written down; ask again with the same key")
        .retry_after(std::time::Duration::from_secs(1))
}

/// The provider has no receipt for us.
impl From<crate::provider::Error> for Problem {
    fn from(error: crate::provider::Error) -> Self {
        use crate::provider::Error as Provider;
        let second = std::time::Duration::from_secs(1);
        tracing::debug!(%error, "no receipt from the provider");
        match error {
            Provider::NotDone(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, problem::PROVIDER_UNAVAILABLE)
                .detail("the provider was not reached; nothing was done")
                .retry_after(second),
            Provider::Unknown(_) => Self::new(StatusCode::GATEWAY_TIMEOUT, problem::PROVIDER_UNKNOWN)
                .detail("the provider did not answer; ask again with the same key")
                .retry_after(second),
            // Whoever submits a charge says itself what its refusal means.
            Provider::Refused { code } => Self::internal(&format_args!("refused by the provider: {code}")),
        }
    }
}
