//! Consumers as a kit makes them: with its bus, its inbox, its clock, its metrics.

use std::sync::Arc;

use leeward_events::bus::Start;
use leeward_events::consumer::{self, Redelivery};
use leeward_events::{Consumer, Event, HandlerError, Outbox, Received};
use leeward_resilience::Clock;
use leeward_saga::Sagas;
use leeward_store::Tx;

use crate::command::{self, Command, Commanded, Reply, Sent};
use crate::kit::BuildError;

/// A consumer in the making. See [`Kit::consumer`](crate::Kit::consumer).
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct ConsumerBuilder {
    builder: Result<consumer::Builder, BuildError>,
    outbox: Outbox,
    clock: Arc<dyn Clock>,
}

/// What [`Builder::consumer`](crate::Builder::consumer) takes: a consumer, or a builder whose mistakes it then reports.
pub trait IntoConsumer {
    /// The consumer.
    ///
    /// # Errors
    /// What is wrong with its definition.
    fn into_consumer(self) -> Result<Consumer, BuildError>;
}

impl IntoConsumer for Consumer {
    fn into_consumer(self) -> Result<Consumer, BuildError> {
        Ok(self)
    }
}

impl IntoConsumer for ConsumerBuilder {
    fn into_consumer(self) -> Result<Consumer, BuildError> {
        self.build()
    }
}

impl ConsumerBuilder {
    pub(crate) fn new(
        builder: Result<consumer::Builder, BuildError>,
        outbox: Outbox,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { builder, outbox, clock }
    }

    /// Handles events of type `E`: see [`Builder::on`](consumer::Builder::on).
    pub fn on<E: Event>(
        self,
        handler: impl AsyncFn(&mut Tx, Received<E>) -> Result<(), HandlerError> + Send + Sync + 'static,
    ) -> Self {
        self.with(|builder| builder.on(handler))
    }

    /// Handles whatever matches a pattern: see [`Builder::on_envelope`](consumer::Builder::on_envelope).
    pub fn on_envelope(
        self,
        pattern: &str,
        handler: impl AsyncFn(&mut Tx, Received<()>) -> Result<(), HandlerError> + Send + Sync + 'static,
    ) -> Self {
        self.with(|builder| builder.on_envelope(pattern, handler))
    }

    /// Carries out commands of type `C`. What the handler returns goes back as the reply, in the same transaction as what
    /// it changed. A failure is no reply: the command is tried again, and a refusal by a business rule is a reply like any
    /// other.
    ///
    /// The same command comes again under the same [`Commanded::key`] when its requester saw no reply in time: it must
    /// have its effect once and be answered the same.
    pub fn on_command<C: Command>(
        self,
        handler: impl AsyncFn(&mut Tx, Commanded<C>) -> Result<C::Reply, HandlerError> + Send + Sync + 'static,
    ) -> Self {
        let (outbox, clock) = (self.outbox.clone(), Arc::clone(&self.clock));
        self.with(|builder| {
            builder.on::<Sent<C>>(async move |tx: &mut Tx, received: Received<Sent<C>>| {
                let (commanded, reply_to) = Commanded::open(received)?;
                let mut answer = commanded.answer(&outbox, &reply_to, clock.unix_ms());
                let key = Arc::clone(&commanded.key);
                let reply = Reply { key: &key, command: C::TYPE, reply: handler(tx, commanded).await? };
                answer.data = serde_json::value::to_raw_value(&reply)
                    .map_err(|error| HandlerError::Poison(error.to_string()))?;
                outbox.append_envelope(tx, answer).await?;
                Ok(())
            })
        })
    }

    /// Takes the replies to this service's commands, and hands each to the saga that waits for it.
    pub fn replies_to(self, sagas: &Sagas) -> Self {
        let (kind, sagas) = (command::reply_kind(self.outbox.source()), sagas.clone());
        self.with(|builder| {
            builder.on_envelope(&kind, async move |tx: &mut Tx, received: Received<()>| {
                command::deliver(tx, &sagas, &received).await
            })
        })
    }

    /// How often a failed event is tried again.
    pub fn redelivery(self, redelivery: Redelivery) -> Self {
        self.with(|builder| builder.redelivery(redelivery))
    }

    /// Where a group that has handled nothing yet starts.
    pub fn start(self, start: Start) -> Self {
        self.with(|builder| builder.start(start))
    }

    /// The consumer.
    ///
    /// # Errors
    /// Those of [`Builder::build`](consumer::Builder::build), and [`BuildError::NoDatabase`].
    pub fn build(self) -> Result<Consumer, BuildError> {
        Ok(self.builder?.build()?)
    }

    fn with(self, change: impl FnOnce(consumer::Builder) -> consumer::Builder) -> Self {
        Self { builder: self.builder.map(change), ..self }
    }
}
