//! The service put together.

use std::sync::Arc;
use std::time::Duration;

use leeward_events::{HandlerError, Received};
use leeward_resilience::{Breaker, Clock};
use leeward_runtime::Stop;
use leeward_service::{BuildError, ClientOptions, ConsumerBuilder, Kit, Service};
use leeward_store::{Db, Tx};
use leeward_telemetry::Registry;
use shop_contracts::catalog::{ProductChanged, ProductRemoved};
use shop_contracts::inventory::{ReturnReceived, StockReturnUndone, StockReturned};
use shop_contracts::payments::{PaymentRefundRefused, PaymentRefunded};

use crate::desk::Desk;
use crate::history::{self, History};
use crate::returns::Event;
use crate::saga::Means;
use crate::{Error, api, idempotency, prices, returns, saga, schema};

/// The service's name: in the directory, in assertions, in metrics.
pub const NAME: &str = "orders";

/// How often keys whose life is over are swept away.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How often overdue returns are counted: they are days late before anybody looks.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// The service over what its host gave it.
///
/// # Errors
/// [`BuildError`].
pub async fn build(kit: Kit) -> Result<Service, BuildError> {
    let db = kit.db(schema::MIGRATIONS).await?;
    // One attempt leaves payments the time for its own attempts at the provider. The saga asks every five seconds at
    // most: a longer break would only make orders wait after an outage.
    let breaker = Breaker {
        break_initial: Duration::from_secs(1),
        break_max: Duration::from_secs(5),
        ..Breaker::default()
    };
    let mut patient = ClientOptions::default();
    patient.policies.breaker = Some(breaker);
    patient.policies.deadline = Duration::from_secs(12);
    patient.policies.attempt_timeout = Some(Duration::from_secs(8).into());
    let means = Means {
        payments: kit.client_with("payments", patient)?,
        outbox: kit.outbox.clone(),
        clock: Arc::clone(&kit.clock),
    };
    let sagas = kit.sagas(&db).await?;
    sagas.register(saga::definition(&means)?)?;
    let history = History::open(&db, &kit.outbox).await?;
    let desk = Desk {
        db: db.clone(),
        history: history.clone(),
        outbox: kit.outbox.clone(),
        sagas: sagas.clone(),
        catalog: kit.client("catalog"),
        clock: Arc::clone(&kit.clock),
    };
    let consumer = returns_of(prices_of(kit.consumer(NAME)).replies_to(&sagas), &desk);
    kit.health.add(history.check());
    let following = history.follows().then(|| kit.project(&history.projection));
    let (sweeping, counting) = (desk.clone(), desk.clone());
    let registry = kit.registry.clone();
    let service = Service::builder(kit).api(api::api()).state(desk).consumer(consumer);
    following
        .into_iter()
        .fold(service, leeward_service::Builder::consumer)
        .projection(history::NAME, move || history.clone().rebuild())
        .sagas(sagas)
        .task("orders.sweep", move |stop| sweep(sweeping.db, sweeping.clock, stop))
        .task("orders.overdue", move |stop| count_overdue(counting, registry, stop))
        .build()
}

/// The replica of the catalog's prices.
fn prices_of(consumer: ConsumerBuilder) -> ConsumerBuilder {
    consumer
        .on(async |tx: &mut Tx, received: Received<ProductChanged>| {
            Ok(prices::keep(tx, received.event.into()).await?)
        })
        .on(async |tx: &mut Tx, received: Received<ProductRemoved>| {
            Ok(prices::remove(tx, received.event).await?)
        })
}

/// What the others do about returns.
fn returns_of(consumer: ConsumerBuilder, desk: &Desk) -> ConsumerBuilder {
    let desk = || desk.clone();
    let (received, restocked, undone, refunded, refused) = (desk(), desk(), desk(), desk(), desk());
    consumer
        .on(async move |tx: &mut Tx, it: Received<ReturnReceived>| {
            received.follow(tx, &it, &it.event.return_id, Event::Received, None).await
        })
        .on(async move |tx: &mut Tx, it: Received<StockReturned>| {
            restocked.follow(tx, &it, &it.event.return_id, Event::Restocked, None).await
        })
        .on(async move |tx: &mut Tx, it: Received<PaymentRefunded>| {
            refunded.follow(tx, &it, &it.event.return_id, Event::Refunded, None).await
        })
        .on(async move |tx: &mut Tx, it: Received<PaymentRefundRefused>| {
            refused.follow(tx, &it, &it.event.return_id, Event::RefundRefused, Some(&it.event.code)).await
        })
        .on(async move |tx: &mut Tx, it: Received<StockReturnUndone>| {
            undone.follow(tx, &it, &it.event.return_id, Event::Undone, None).await
        })
}

impl Desk {
    async fn follow<E>(
        &self,
        tx: &mut Tx,
        received: &Received<E>,
        return_id: &shop_contracts::ReturnId,
        event: Event,
        refusal: Option<&str>,
    ) -> Result<(), HandlerError> {
        let now_ms = self.clock.unix_ms();
        let cause = received.correlation();
        Ok(returns::follow(tx, &self.outbox, return_id, event, refusal, cause, now_ms).await?)
    }
}

impl From<Error> for HandlerError {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::Events(error) => error.into(),
            other => Self::Retry(other.to_string()),
        }
    }
}

/// Sweeps idempotency keys whose life is over, in small pieces.
async fn sweep(db: Db, clock: Arc<dyn Clock>, stop: Stop) {
    while stop.or(tokio::time::sleep(SWEEP_EVERY)).await.is_some() {
        let now_ms = clock.unix_ms();
        while matches!(
            db.write(async move |tx: &mut Tx| idempotency::sweep(tx, now_ms).await).await,
            Ok(true)
        ) {}
    }
}

/// Keeps the gauge of overdue returns.
async fn count_overdue(desk: Desk, registry: Registry, stop: Stop) {
    let gauge = registry.gauge(returns::OVERDUE_METRIC, "Returns that should have ended by now");
    loop {
        let now_ms = desk.clock.unix_ms();
        match desk.db.read(async move |tx| returns::count_overdue(tx, now_ms).await).await {
            Ok(overdue) => gauge.set(overdue),
            Err(error) => tracing::warn!(%error, "overdue returns were not counted"),
        }
        if stop.or(tokio::time::sleep(COUNT_EVERY)).await.is_none() {
            return;
        }
    }
}
