//! An ear on the bus: it remembers everything that was said.

use std::sync::Arc;
use std::time::Duration;

use leeward_events::bus::Start;
use leeward_events::{Bus, Envelope, Event, Patterns};
use leeward_runtime::{Stage, Tasks};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How long anything may take. Far beyond what it takes, so that a slow machine does not fail a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Everything that was published. Clones hear the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ear {
    heard: Arc<Mutex<Vec<Envelope>>>,
    more: Arc<Notify>,
}

impl Ear {
    pub(crate) async fn on(bus: &Bus, tasks: &Tasks) -> Self {
        let ear = Self::default();
        let mut all =
            bus.subscribe("testbed.ear", Patterns::new(["**"]).unwrap(), Start::Beginning).await.unwrap();
        let own = ear.clone();
        tasks.spawn(Stage::Work, "testbed.ear", move |stop| async move {
            while let Some(Ok(batch)) = stop.or(all.next_batch(256)).await {
                let envelopes = batch.deliveries.iter().map(|delivery| delivery.envelope().unwrap());
                own.heard.lock().extend(envelopes);
                own.more.notify_waiters();
            }
        });
        ear
    }

    /// What was said so far.
    pub(crate) fn all(&self) -> Vec<Envelope> {
        self.heard.lock().clone()
    }

    /// The first envelope from the `skip`th on that `wanted` takes, waiting for it.
    pub(crate) async fn find<T>(
        &self,
        skip: usize,
        what: &str,
        wanted: impl Fn(&Envelope) -> Option<T>,
    ) -> T {
        let waiting = async {
            loop {
                let more = self.more.notified();
                tokio::pin!(more);
                more.as_mut().enable();
                let found = self.heard.lock().iter().skip(skip).find_map(&wanted);
                if let Some(found) = found {
                    return found;
                }
                more.await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, waiting).await;
        found.unwrap_or_else(|_| panic!("{what} was never said; heard: {:?}", self.kinds()))
    }

    pub(crate) fn len(&self) -> usize {
        self.heard.lock().len()
    }

    fn kinds(&self) -> Vec<Arc<str>> {
        self.heard.lock().iter().map(|envelope| Arc::clone(&envelope.kind)).collect()
    }
}

/// The envelope as an `E`, if it is one.
pub(crate) fn decode<E: Event>(envelope: &Envelope) -> Option<E> {
    (&*envelope.kind == E::TYPE).then(|| envelope.decode().unwrap())
}
