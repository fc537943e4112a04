//! Handlers: what a service does with an event.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use leeward_store::{Kind, Tx};
use leeward_telemetry::Correlation;

use crate::envelope::{self, Envelope};
use crate::event::{DecodeError, Event};
use crate::outbox;
use crate::pattern::Pattern;

/// An event as a handler gets it.
#[derive(Clone, Debug)]
pub struct Received<E> {
    /// The event, decoded.
    pub event: E,
    /// What came around it.
    pub envelope: Arc<Envelope>,
    correlation: Correlation,
}

impl Received<()> {
    pub(crate) fn new(envelope: Arc<Envelope>, correlation: Correlation) -> Self {
        Self { event: (), envelope, correlation }
    }
}

impl<E> Received<E> {
    /// What to hand on to everything that follows: the same correlation, caused by this event.
    #[must_use]
    pub fn correlation(&self) -> &Correlation {
        &self.correlation
    }

    /// The same with the event as something else.
    pub fn map<T>(self, map: impl FnOnce(E) -> T) -> Received<T> {
        Received { event: map(self.event), envelope: self.envelope, correlation: self.correlation }
    }
}

/// Why a handler could not handle an event. Its changes are rolled back in every case.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandlerError {
    /// Not now: the event is parked and tried again, as often as [`Redelivery`](super::Redelivery) says; its key waits.
    #[error("{0}")]
    Retry(String),
    /// Never: the event is a dead letter at once; its key waits.
    #[error("{0}")]
    Poison(String),
    /// Nothing can be handled now, whichever event it is, for instance since the outbox is full: the consumer waits, and the
    /// attempt does not count.
    #[error("{0}")]
    Wait(String),
    /// The database refused a statement. If waiting helps the consumer waits, otherwise it counts as [`HandlerError::Retry`].
    #[error(transparent)]
    Store(#[from] leeward_store::Error),
}

impl From<outbox::Error> for HandlerError {
    fn from(error: outbox::Error) -> Self {
        match error {
            outbox::Error::Full { .. } => Self::Wait(error.to_string()),
            outbox::Error::Event(_) => Self::Poison(error.to_string()),
            outbox::Error::Store(cause) => Self::Store(cause),
        }
    }
}

impl From<DecodeError> for HandlerError {
    fn from(error: DecodeError) -> Self {
        Self::Poison(error.to_string())
    }
}

impl From<envelope::Error> for HandlerError {
    fn from(error: envelope::Error) -> Self {
        Self::Poison(error.to_string())
    }
}

/// A handler's failure that is the event's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Retry(String),
    Poison(String),
}

impl Fault {
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Retry(reason) | Self::Poison(reason) => reason,
        }
    }
}

/// Whose failure it is.
#[derive(Clone, Debug)]
pub(super) enum Blame {
    /// This event's.
    Event(Fault),
    /// Nobody's in particular: everything waits.
    World(String),
}

impl From<HandlerError> for Blame {
    fn from(error: HandlerError) -> Self {
        match error {
            HandlerError::Retry(reason) => Self::Event(Fault::Retry(reason)),
            HandlerError::Poison(reason) => Self::Event(Fault::Poison(reason)),
            HandlerError::Wait(reason) => Self::World(reason),
            HandlerError::Store(cause) => cause.into(),
        }
    }
}

impl From<leeward_store::Error> for Blame {
    fn from(error: leeward_store::Error) -> Self {
        let reason = error.to_string();
        match error.kind() {
            Kind::Full
            | Kind::DiskFull
            | Kind::Busy
            | Kind::Closed
            | Kind::Io
            | Kind::Fenced
            | Kind::Corrupt => Self::World(reason),
            _ => Self::Event(Fault::Retry(reason)),
        }
    }
}

/// What a handler returns, on the database's thread.
pub(crate) type HandlerFuture<'a> = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + 'a>>;

/// A handler whose event type is erased.
pub(crate) trait Handler: Send + Sync + 'static {
    fn call<'a>(&'a self, tx: &'a mut Tx, received: Received<()>) -> HandlerFuture<'a>;
}

/// A handler of one event type.
pub(super) struct Typed<E, F> {
    handle: F,
    event: PhantomData<fn() -> E>,
}

impl<E, F> Typed<E, F> {
    pub(super) fn new(handle: F) -> Self {
        Self { handle, event: PhantomData }
    }
}

impl<E, F> Handler for Typed<E, F>
where
    E: Event,
    F: AsyncFn(&mut Tx, Received<E>) -> Result<(), HandlerError> + Send + Sync + 'static,
{
    fn call<'a>(&'a self, tx: &'a mut Tx, received: Received<()>) -> HandlerFuture<'a> {
        Box::pin(async move {
            let event = received.envelope.decode::<E>()?;
            (self.handle)(tx, received.map(|()| event)).await
        })
    }
}

/// A handler of whatever matches a pattern.
pub(super) struct Untyped<F>(pub(super) F);

impl<F> Handler for Untyped<F>
where
    F: AsyncFn(&mut Tx, Received<()>) -> Result<(), HandlerError> + Send + Sync + 'static,
{
    fn call<'a>(&'a self, tx: &'a mut Tx, received: Received<()>) -> HandlerFuture<'a> {
        Box::pin((self.0)(tx, received))
    }
}

/// Which handler takes which kind: exact names first, then wildcards in the order they were given.
#[derive(Default)]
pub(super) struct Routes {
    exact: HashMap<Arc<str>, Route>,
    wild: Vec<(Pattern, Route)>,
}

#[derive(Clone)]
pub(super) struct Route {
    /// For spans: few distinct values.
    pub(super) name: &'static str,
    pub(super) handler: Arc<dyn Handler>,
}

impl Routes {
    /// Adds a handler; `false` when the pattern has one already.
    pub(super) fn add(&mut self, pattern: Pattern, route: Route) -> bool {
        if pattern.is_exact() {
            return self.exact.insert(pattern.as_str().into(), route).is_none();
        }
        let known = self.wild.iter().any(|(known, _)| *known == pattern);
        self.wild.push((pattern, route));
        !known
    }

    pub(super) fn find(&self, kind: &str) -> Option<&Route> {
        let wild = || self.wild.iter().find(|(pattern, _)| pattern.matches(kind)).map(|(_, route)| route);
        self.exact.get(kind).or_else(wild)
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wild = self.wild.iter().map(|(pattern, _)| pattern.as_str());
        f.debug_set().entries(self.exact.keys().map(|kind| &**kind)).entries(wild).finish()
    }
}
