//! The provider over HTTP.

use leeward_service::{CallError, Client, Effect};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use shop_contracts::provider as wire;

use super::{Answer, CallCx, Charge, Error, PaymentProvider, Receipt};

/// The provider over HTTP, through the kit's outbound client: deadline, retries under a budget, breaker and limit are
/// that client's.
#[derive(Clone, Debug)]
pub struct HttpProvider {
    client: Client,
}

impl HttpProvider {
    /// A provider behind `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

impl PaymentProvider for HttpProvider {
    fn submit<'a>(&'a self, key: &'a str, charge: &'a Charge, cx: &'a CallCx) -> Answer<'a, Receipt> {
        Box::pin(async move {
            let call = match charge {
                Charge::Authorise { amount, token, reference } => {
                    let (amount, token, reference) = (*amount, token.clone(), reference.clone());
                    self.client.post("/v1/authorisations").json(&wire::Authorise { amount, token, reference })
                }
                Charge::Capture { authorisation, amount } => {
                    let (authorisation, amount) = (authorisation.clone(), *amount);
                    self.client.post("/v1/captures").json(&wire::Capture { authorisation, amount })
                }
                Charge::Void { authorisation_key } => self
                    .client
                    .post("/v1/voids")
                    .json(&wire::Void { authorisation_key: authorisation_key.clone() }),
                Charge::Refund { authorisation, amount } => {
                    let (authorisation, amount) = (authorisation.clone(), *amount);
                    self.client.post("/v1/refunds").json(&wire::Refund { authorisation, amount })
                }
            };
            call.key(key)
                .correlation(&cx.correlation)
                .deadline(cx.deadline)
                .send()
                .await
                .map_err(|error| judge(&error))
        })
    }

    fn find<'a>(&'a self, key: &'a str, cx: &'a CallCx) -> Answer<'a, Option<Receipt>> {
        Box::pin(async move {
            let path = format!("/v1/operations/{}", utf8_percent_encode(key, NON_ALPHANUMERIC));
            let call = self.client.get(&path).correlation(&cx.correlation).deadline(cx.deadline);
            match call.send().await {
                Ok(receipt) => Ok(Some(receipt)),
                Err(error) if error.status() == Some(404) => Ok(None),
                Err(error) => Err(judge(&error)),
            }
        })
    }
}

/// What a failed call means for the charge. The provider answers 503 before it looks at a charge; after any other 5xx
/// it may have carried it out.
fn judge(error: &CallError) -> Error {
    match (error.effect(), error.problem()) {
        (Effect::Unknown, _) => Error::Unknown(error.to_string()),
        (Effect::None, Some(body)) if body.status < 500 && body.status != 429 && body.status != 408 => {
            Error::Refused {
                code: if body.code.is_empty() { body.status.to_string() } else { body.code.clone() },
            }
        }
        (Effect::None, _) => Error::NotDone(error.to_string()),
    }
}
