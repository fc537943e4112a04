//! Putting a consumer together.

use std::sync::Arc;

use leeward_resilience::{Clock, FastRng, Rng, TokioClock};
use leeward_store::{Db, Tx};

use super::handler::{Handler, HandlerError, Received, Route, Routes, Typed, Untyped};
use super::{Consumer, Core, Gate, Redelivery};
use crate::bus::{Bus, Start};
use crate::event::Event;
use crate::inbox::{Dedupe, Inbox};
use crate::metrics::ConsumerMetrics;
use crate::pattern::{self, Pattern, Patterns};

/// What every wildcard handler's span is called.
const WILDCARD_SPAN: &str = "event";

/// A consumer in the making. Mistakes are kept and reported by [`Builder::build`].
#[derive(Debug)]
#[must_use]
pub struct Builder {
    group: Arc<str>,
    db: Db,
    bus: Bus,
    dedupe: Option<Arc<dyn Dedupe>>,
    routes: Routes,
    patterns: Vec<String>,
    mistakes: Vec<Error>,
    redelivery: Redelivery,
    start: Start,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    metrics: ConsumerMetrics,
    gate: Gate,
}

/// What is wrong with a consumer's definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The group's name is not taken.
    #[error(
        "`{0}` is no group name: use dot-separated segments of letters, digits, `_` and `-`, such as `catalog.stock`"
    )]
    Group(String),
    /// A pattern is not taken, or there is no handler at all.
    #[error(transparent)]
    Pattern(#[from] pattern::Error),
    /// Two handlers for the same pattern.
    #[error("two handlers for `{0}`: an event has one handler in a group; use a second group")]
    Twice(String),
}

impl Builder {
    pub(super) fn new(group: &str, db: Db, bus: Bus) -> Self {
        Self {
            group: group.into(),
            db,
            bus,
            dedupe: None,
            routes: Routes::default(),
            patterns: Vec::new(),
            mistakes: Vec::new(),
            redelivery: Redelivery::default(),
            start: Start::Acknowledged,
            clock: Arc::new(TokioClock),
            rng: Arc::new(FastRng::from_entropy()),
            metrics: ConsumerMetrics::default(),
            gate: Gate::default(),
        }
    }

    /// Handles events of type `E`. The handler runs inside the transaction on the consumer's database: it changes rows, appends to the
    /// outbox, and awaits nothing else. It may run more than once for an event; what it changed in the other runs is rolled back.
    pub fn on<E: Event>(
        self,
        handler: impl AsyncFn(&mut Tx, Received<E>) -> Result<(), HandlerError> + Send + Sync + 'static,
    ) -> Self {
        self.handler(E::TYPE, E::TYPE, Arc::new(Typed::<E, _>::new(handler)))
    }

    /// Handles every event whose kind matches a pattern and has no handler of its own, undecoded.
    pub fn on_envelope(
        self,
        pattern: &str,
        handler: impl AsyncFn(&mut Tx, Received<()>) -> Result<(), HandlerError> + Send + Sync + 'static,
    ) -> Self {
        self.handler(pattern, WILDCARD_SPAN, Arc::new(Untyped(handler)))
    }

    pub(crate) fn handler(mut self, pattern: &str, name: &'static str, handler: Arc<dyn Handler>) -> Self {
        match Pattern::new(pattern) {
            Err(mistake) => self.mistakes.push(mistake.into()),
            Ok(parsed) => {
                if !self.routes.add(parsed, Route { name, handler }) {
                    self.mistakes.push(Error::Twice(pattern.to_owned()));
                }
                self.patterns.push(pattern.to_owned());
            }
        }
        self
    }

    /// Another store of seen events than the [`Inbox`].
    pub fn dedupe(mut self, dedupe: Arc<dyn Dedupe>) -> Self {
        self.dedupe = Some(dedupe);
        self
    }

    /// How often, and after which delays, a failed event is tried again.
    pub fn redelivery(mut self, redelivery: Redelivery) -> Self {
        self.redelivery = redelivery;
        self
    }

    /// Where a group that has handled nothing yet starts. Default: at the oldest event that the bus still has.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Another clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Another source of jitter.
    pub fn rng(mut self, rng: Arc<dyn Rng>) -> Self {
        self.rng = rng;
        self
    }

    /// What counts.
    pub fn metrics(mut self, metrics: ConsumerMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    pub(crate) fn gate(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }

    /// The consumer.
    ///
    /// # Errors
    /// The first mistake: a group name or pattern that is not taken, two handlers for one pattern, or no handler.
    pub fn build(mut self) -> Result<Consumer, Error> {
        if !pattern::is_kind(&self.group) {
            return Err(Error::Group(self.group.to_string()));
        }
        if !self.mistakes.is_empty() {
            return Err(self.mistakes.swap_remove(0));
        }
        let patterns = Patterns::new(&self.patterns)?;
        let dedupe = self.dedupe.unwrap_or_else(|| Arc::new(Inbox::new(self.clock.clone())));
        let service = self.group.split('.').next().unwrap_or_default().into();
        let core = Core {
            group: self.group,
            service,
            db: self.db,
            dedupe,
            routes: self.routes,
            redelivery: self.redelivery,
            clock: self.clock,
            rng: self.rng,
            metrics: self.metrics,
        };
        Ok(Consumer { core: Arc::new(core), bus: self.bus, patterns, start: self.start, gate: self.gate })
    }
}
