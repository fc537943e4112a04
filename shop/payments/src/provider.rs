//! The payment provider as this service sees it.

mod http;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use leeward_resilience::Deadline;
use leeward_telemetry::Correlation;
use shop_contracts::Money;
use shop_contracts::provider as wire;

pub use self::http::HttpProvider;

/// What the provider says became of an operation.
pub type Receipt = wire::Operation;

/// A call's answer, some time later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// What is asked of the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// Set money aside.
    Authorise {
        /// How much.
        amount: Money,
        /// The means of payment.
        token: String,
        /// What the provider's books are to call it: the order.
        reference: String,
    },
    /// Take money that is set aside.
    Capture {
        /// The authorisation, by the provider's id.
        authorisation: String,
        /// How much.
        amount: Money,
    },
    /// Give an authorisation up.
    Void {
        /// The key that it was, or would have been, made under.
        authorisation_key: String,
    },
    /// Give money back.
    Refund {
        /// The captured authorisation, by the provider's id.
        authorisation: String,
        /// How much.
        amount: Money,
    },
}

/// What a call is part of, and how long it may take.
#[derive(Clone, Debug)]
pub struct CallCx {
    /// The work that it is part of.
    pub correlation: Correlation,
    /// When whoever waits for it stops waiting.
    pub deadline: Deadline,
}

/// Why there is no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The provider does not take the operation as it is, and never will. Nothing was done.
    #[error("the provider refuses the request: {code}")]
    Refused {
        /// Its code.
        code: String,
    },
    /// Nothing was done: it may be tried again.
    #[error("the provider was not reached: {0}")]
    NotDone(String),
    /// It may have been done: ask with [`PaymentProvider::find`].
    #[error("the provider did not answer: {0}")]
    Unknown(String),
}

/// A payment provider: the way out of the shop, and the place where a test stands another one in.
///
/// An implementation hands `key` to the provider with every charge. That key is what makes a repeated charge the same
/// charge: this service repeats a charge whose outcome it does not know, under the same key.
pub trait PaymentProvider: Debug + Send + Sync + 'static {
    /// Carries a charge out under `key`.
    ///
    /// # Errors
    /// [`Error`] says what may have happened.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the outcome unknown.
    fn submit<'a>(&'a self, key: &'a str, charge: &'a Charge, cx: &'a CallCx) -> Answer<'a, Receipt>;

    /// What became of the charge under `key`, if the provider ever saw one.
    ///
    /// # Errors
    /// [`Error::NotDone`] or [`Error::Unknown`] alike: it is still not known.
    ///
    /// # Cancel safety
    /// Safe: it changes nothing.
    fn find<'a>(&'a self, key: &'a str, cx: &'a CallCx) -> Answer<'a, Option<Receipt>>;
}

/// The receipt of the charge under `key`, whatever it takes.
///
/// `sent_before` says that an earlier attempt may have reached the provider: then it is asked first, because past the
/// life of its keys it would carry the charge out again. A lost reply is asked after once.
///
/// # Errors
/// As [`PaymentProvider::submit`].
pub(crate) async fn settle(
    provider: &dyn PaymentProvider,
    key: &str,
    charge: &Charge,
    sent_before: bool,
    cx: &CallCx,
) -> Result<Receipt, Error> {
    if sent_before && let Some(receipt) = provider.find(key, cx).await.map_err(still_unknown)? {
        return Ok(receipt);
    }
    match provider.submit(key, charge, cx).await {
        Err(Error::Unknown(why)) => match provider.find(key, cx).await {
            Ok(Some(receipt)) => Ok(receipt),
            // It may still be on its way to the provider.
            Ok(None) | Err(_) => Err(Error::Unknown(why)),
        },
        // What an earlier attempt did is no better known than before.
        Err(Error::NotDone(why)) if sent_before => Err(Error::Unknown(why)),
        other => other,
    }
}

fn still_unknown(error: Error) -> Error {
    match error {
        Error::NotDone(why) | Error::Unknown(why) => Error::Unknown(why),
        Error::Refused { code } => Error::Unknown(code),
    }
}
