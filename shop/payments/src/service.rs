//! The service put together.

use std::sync::Arc;
use std::time::Duration;

use leeward_events::{HandlerError, Received};
use leeward_resilience::{Breaker, ConfigErrors};
use leeward_service::{BuildError, Client, ClientOptions, Kit, Service};
use leeward_store::Tx;
use shop_contracts::inventory::StockReturned;

use crate::desk::Desk;
use crate::provider::PaymentProvider;
use crate::{Error, api, health, refunds, schema};

/// The service's name: in the directory, in assertions, in metrics.
pub const NAME: &str = "payments";

/// The name under which the provider stands in the directory.
pub const PROVIDER: &str = "provider";

/// The client that calls the provider: no assertion goes to the outside.
///
/// # Errors
/// Options out of range.
pub fn provider_client(kit: &Kit) -> Result<Client, ConfigErrors> {
    // Whoever asks again asks every five seconds at most: a longer break would only make orders wait after an outage.
    let breaker = Breaker {
        break_initial: Duration::from_secs(1),
        break_max: Duration::from_secs(5),
        ..Breaker::default()
    };
    let mut outside = ClientOptions::outside();
    outside.policies.breaker = Some(breaker);
    kit.client_with(PROVIDER, outside)
}

/// The service over what its host gave it and a payment provider.
///
/// # Errors
/// [`BuildError`].
pub async fn build(kit: Kit, provider: Arc<dyn PaymentProvider>) -> Result<Service, BuildError> {
    let db = kit.db(schema::MIGRATIONS).await?;
    let outbox = kit.outbox.clone();
    let clock = Arc::clone(&kit.clock);
    let sagas = kit.sagas(&db).await?;
    sagas.register(refunds::definition(Arc::clone(&provider), outbox.clone(), Arc::clone(&clock))?)?;

    let (engine, events, time) = (sagas.clone(), outbox.clone(), Arc::clone(&clock));
    let consumer =
        kit.consumer("payments").on(async move |tx: &mut Tx, received: Received<StockReturned>| {
            let cause = received.correlation().clone();
            refunds::begin(tx, &engine, &events, received.event, &cause, time.unix_ms())
                .await
                .map_err(HandlerError::from)
        });

    kit.health.add(health::provider(&kit, Arc::clone(&provider)));
    let desk = Desk { db, outbox, provider, clock };
    Service::builder(kit).api(api::api()).state(desk).consumer(consumer).sagas(sagas).build()
}

impl From<Error> for HandlerError {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::Events(error) => error.into(),
            Error::Saga(leeward_saga::Error::Store(error)) => error.into(),
            other => Self::Retry(other.to_string()),
        }
    }
}
