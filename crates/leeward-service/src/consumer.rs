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
///
/// It keeps what the consumer is made of, so that a service can make it again after a panic.
#[must_use = "a builder does nothing until it is built"]
pub struct ConsumerBuilder {
    parts: Result<Parts, BuildError>,
    outbox: Outbox,
    clock: Arc<dyn Clock>,
}

/// What a consumer is made of, as often as it is needed.
struct Parts {
    group: Arc<str>,
    begin: Begin,
    steps: Vec<Step>,
}

type Begin = Box<dyn Fn() -> consumer::Builder + Send + Sync>;
type Step = Box<dyn Fn(consumer::Builder) -> consumer::Builder + Send + Sync>;

impl Parts {
    fn make(&self) -> Result<Consumer, BuildError> {
        Ok(self.steps.iter().fold((self.begin)(), |builder, step| step(builder)).build()?)
    }
}

/// What [`Builder::consumer`](crate::Builder::consumer) takes: a builder, whose mistakes it then reports, or a consumer. Only
/// a builder's consumer can be made again after a panic; without that, the service is not ready any more.
pub trait IntoConsumer {
    /// What makes the consumer.
    ///
    /// # Errors
    /// What is wrong with its definition.
    fn into_consumer(self) -> Result<ConsumerSource, BuildError>;
}

/// Makes a consumer, and makes it again.
pub struct ConsumerSource {
    pub(crate) group: Arc<str>,
    /// None when there is no other.
    pub(crate) make: Box<dyn FnMut() -> Option<Consumer> + Send>,
}

impl IntoConsumer for Consumer {
    fn into_consumer(self) -> Result<ConsumerSource, BuildError> {
        let (group, mut only) = (Arc::clone(self.group()), Some(self));
        Ok(ConsumerSource { group, make: Box::new(move || only.take()) })
    }
}

impl IntoConsumer for ConsumerBuilder {
    fn into_consumer(self) -> Result<ConsumerSource, BuildError> {
        let parts = self.parts?;
        let (group, mut first) = (Arc::clone(&parts.group), Some(parts.make()?));
        // What was built once is built again: mistakes are in the parts, which do not change.
        Ok(ConsumerSource { group, make: Box::new(move || first.take().or_else(|| parts.make().ok())) })
    }
}

impl std::fmt::Debug for ConsumerSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsumerSource").field("group", &self.group).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ConsumerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let group = self.parts.as_ref().map(|parts| &parts.group);
        f.debug_struct("ConsumerBuilder").field("group", &group).finish_non_exhaustive()
    }
}

impl ConsumerBuilder {
    pub(crate) fn new(
        group: &str,
        begin: Result<impl Fn() -> consumer::Builder + Send + Sync + 'static, BuildError>,
        outbox: Outbox,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let parts =
            begin.map(|begin| Parts { group: group.into(), begin: Box::new(begin), steps: Vec::new() });
        Self { parts, outbox, clock }
    }

    /// Handles events of type `E`: see [`Builder::on`](consumer::Builder::on).
    pub fn on<E: Event>(
        self,
        handler: impl AsyncFn(&mut Tx, Received<E>) -> Result<(), HandlerError> + Send + Sync + 'static,
    ) -> Self {
        let handler = Arc::new(handler);
        self.with(move |builder| {
            let handler = Arc::clone(&handler);
            builder.on(async move |tx: &mut Tx, received: Received<E>| handler(tx, received).await)
        })
    }

    /// Handles whatever matches a pattern: see [`Builder::on_envelope`](consumer::Builder::on_envelope).
    pub fn on_envelope(
        self,
        pattern: &str,
        handler: impl AsyncFn(&mut Tx, Received<()>) -> Result<(), HandlerError> + Send + Sync + 'static,
    ) -> Self {
        let (pattern, handler) = (pattern.to_owned(), Arc::new(handler));
        self.with(move |builder| {
            let handler = Arc::clone(&handler);
            let handle = async move |tx: &mut Tx, received: Received<()>| handler(tx, received).await;
            builder.on_envelope(&pattern, handle)
        })
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
        let (outbox, clock, handler) = (self.outbox.clone(), Arc::clone(&self.clock), Arc::new(handler));
        self.with(move |builder| {
            let (outbox, clock, handler) = (outbox.clone(), Arc::clone(&clock), Arc::clone(&handler));
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
        self.with(move |builder| {
            let sagas = sagas.clone();
            builder.on_envelope(&kind, async move |tx: &mut Tx, received: Received<()>| {
                command::deliver(tx, &sagas, &received).await
            })
        })
    }

    /// How often a failed event is tried again.
    pub fn redelivery(self, redelivery: Redelivery) -> Self {
        self.with(move |builder| builder.redelivery(redelivery))
    }

    /// Where a group that has handled nothing yet starts.
    pub fn start(self, start: Start) -> Self {
        self.with(move |builder| builder.start(start.clone()))
    }

    /// The consumer.
    ///
    /// # Errors
    /// Those of [`Builder::build`](consumer::Builder::build), and [`BuildError::NoDatabase`].
    pub fn build(self) -> Result<Consumer, BuildError> {
        self.parts?.make()
    }

    fn with(mut self, step: impl Fn(consumer::Builder) -> consumer::Builder + Send + Sync + 'static) -> Self {
        if let Ok(parts) = &mut self.parts {
            parts.steps.push(Box::new(step));
        }
        self
    }
}
