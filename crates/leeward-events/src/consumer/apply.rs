//! Events into the database: several in one transaction, each failing one alone.
//!
//! A transaction is tried with all events at once. If one fails, everything is rolled back and tried again up to and including that
//! one, which is now parked instead of handled; what comes after it follows in a transaction of its own. So an event that works costs no
//! savepoint, and an event that fails costs one more run of those before it.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use leeward_store::{Db, Tx};
use leeward_telemetry::{SpanKind, span};

use super::handler::{Blame, Fault, Received, Route};
use super::schema::{Stored, save_position};
use super::work::{Origin, Work};
use super::{Core, parking};
use crate::envelope::Envelope;

/// Why a transaction was given up.
#[derive(Debug)]
enum Failure {
    /// The event at this index failed.
    Event { index: usize, blame: Blame },
    /// The transaction as a whole failed.
    Store(leeward_store::Error),
}

impl From<leeward_store::Error> for Failure {
    fn from(error: leeward_store::Error) -> Self {
        Self::Store(error)
    }
}

/// What became of some events.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) handled: u64,
    pub(super) duplicates: u64,
    /// Keys with an event parked now.
    pub(super) parked: Vec<Arc<str>>,
    pub(super) set_aside: u64,
    pub(super) failures: u64,
}

/// Nothing can be applied right now.
#[derive(Debug)]
pub(super) struct Stuck {
    pub(super) reason: String,
    /// How many events of the list are done.
    pub(super) done: usize,
    pub(super) applied: Applied,
}

/// Applies the events of a list from `start`, in order; on the way it shortens the transaction so that one that fails is parked alone.
pub(super) async fn apply(
    core: &Arc<Core>,
    work: &Arc<[Work]>,
    mut start: usize,
    parked: &Arc<HashSet<Arc<str>>>,
    position: Option<&Stored>,
) -> Result<Applied, Stuck> {
    let mut total = Applied::default();
    let mut parked = parked.clone();
    while start < work.len() {
        let mut end = work.len();
        let mut fault = None;
        let applied = loop {
            let at = position.map(|at| position_at(work, end, at));
            let attempt =
                Attempt { core: core.clone(), work: work.clone(), range: start..end, fault: fault.clone() };
            match attempt.commit(&core.db, parked.clone(), at).await {
                Ok(applied) => break applied,
                Err(failure) => match blame(failure, start..end, fault.is_some()) {
                    Next::Park { index, fault: found } => {
                        total.failures += 1;
                        (end, fault) = (index + 1, Some(found));
                    }
                    Next::Alone => (end, fault) = (start + 1, None),
                    Next::Wait(reason) => return Err(Stuck { reason, done: start, applied: total }),
                },
            }
        };
        total.handled += applied.handled;
        total.duplicates += applied.duplicates;
        total.set_aside += applied.set_aside;
        if !applied.parked.is_empty() {
            Arc::make_mut(&mut parked).extend(applied.parked.iter().cloned());
            total.parked.extend(applied.parked);
        }
        start = end;
        // What is parked already goes one key at a time: behind a failed head nothing may be tried.
        if fault.is_some() && position.is_none() {
            break;
        }
    }
    Ok(total)
}

/// After all of the list the whole of what was looked at is done, after a part of it only that part.
fn position_at(work: &[Work], end: usize, whole: &Stored) -> Stored {
    match work.get(end.saturating_sub(1)).map(|work| work.origin) {
        Some(Origin::Bus { position }) if end < work.len() => Stored { bus: whole.bus.clone(), position },
        _ => whole.clone(),
    }
}

/// What to do about a failed transaction.
enum Next {
    /// Try again up to this event, parking it.
    Park { index: usize, fault: Fault },
    /// Try the first event alone: somebody in the list spoilt the transaction and it is not known who.
    Alone,
    /// Wait: it is nobody's fault.
    Wait(String),
}

fn blame(failure: Failure, range: Range<usize>, parking: bool) -> Next {
    let (index, blame) = match failure {
        Failure::Event { index, blame } => (Some(index), blame),
        Failure::Store(cause) => (None, cause.into()),
    };
    match (blame, index) {
        (Blame::World(reason), _) => Next::Wait(reason),
        (Blame::Event(fault), Some(index)) => Next::Park { index, fault },
        (Blame::Event(_), None) if range.len() > 1 => Next::Alone,
        // Parking itself failed: no event is to blame for that.
        (Blame::Event(fault), None) if parking => Next::Wait(fault.reason().to_owned()),
        (Blame::Event(fault), None) => Next::Park { index: range.start, fault },
    }
}

/// One transaction over a part of the list, whose last event is known to fail if there is a fault.
struct Attempt {
    core: Arc<Core>,
    work: Arc<[Work]>,
    range: Range<usize>,
    fault: Option<Fault>,
}

impl Attempt {
    async fn commit(
        self,
        db: &Db,
        parked: Arc<HashSet<Arc<str>>>,
        position: Option<Stored>,
    ) -> Result<Applied, Failure> {
        db.write(async move |tx: &mut Tx| {
            let mut applied = Applied::default();
            for index in self.range.clone() {
                let fault = self.fault.as_ref().filter(|_| index + 1 == self.range.end);
                self.one(tx, index, fault, &parked, &mut applied).await?;
            }
            match position {
                Some(position) => save_position(tx, &self.core.group, &position).await?,
                None => self.promote(tx).await?,
            }
            Ok(applied)
        })
        .await
    }

    async fn one(
        &self,
        tx: &mut Tx,
        index: usize,
        fault: Option<&Fault>,
        parked: &HashSet<Arc<str>>,
        applied: &mut Applied,
    ) -> Result<(), Failure> {
        let work = &self.work[index];
        match work.origin {
            Origin::Bus { .. } if waits(work, parked, &applied.parked) => {
                parking::park(tx, &self.core, work, None).await?;
                applied.set_aside += 1;
            }
            Origin::Bus { .. } => match (fault.cloned().or_else(|| work.unreadable()), &work.event) {
                (None, Ok(event)) => self.handle(tx, index, event, applied).await?,
                (fault, _) => {
                    parking::park(tx, &self.core, work, fault.as_ref()).await?;
                    applied.set_aside += 1;
                    applied.parked.push(work.names().key);
                }
            },
            Origin::Parked { seq, .. } => match (fault, &work.event) {
                (Some(fault), _) => parking::failed(tx, &self.core, seq, work, fault).await?,
                (None, Ok(event)) => {
                    self.handle(tx, index, event, applied).await?;
                    parking::remove(tx, seq).await?;
                }
                // What comes after it in its key must wait: the list is cut here.
                (None, Err(reason)) => {
                    let blame = Blame::Event(Fault::Poison(reason.clone()));
                    return Err(Failure::Event { index, blame });
                }
            },
        }
        Ok(())
    }

    /// The heart of it: inbox row and effect in one transaction.
    async fn handle(
        &self,
        tx: &mut Tx,
        index: usize,
        event: &Arc<Envelope>,
        applied: &mut Applied,
    ) -> Result<(), Failure> {
        // A kind without a handler can stand in the parking table of an earlier version: it is done.
        let Some(route) = self.core.routes.find(&event.kind) else { return Ok(()) };
        if !self.core.dedupe.first_time(tx, &self.core.group, event).await? {
            applied.duplicates += 1;
            return Ok(());
        }
        match self.call(tx, route, event).await {
            Ok(()) => applied.handled += 1,
            Err(error) => return Err(Failure::Event { index, blame: error.into() }),
        }
        Ok(())
    }

    async fn call(
        &self,
        tx: &mut Tx,
        route: &Route,
        event: &Arc<Envelope>,
    ) -> Result<(), super::HandlerError> {
        let cause = event.correlation(&*self.core.rng);
        let mut span = span(route.name, SpanKind::Consumer, &self.core.service, &cause.trace);
        if span.is_recording() {
            span.attr("messaging.message.id", event.id.clone());
            span.attr("messaging.consumer.group.name", self.core.group.clone());
            span.attr("messaging.destination.name", event.kind.clone());
        }
        let correlation = cause.at(span.context());
        let received = Received::new(event.clone(), correlation.clone());
        let handled = correlation.scope(route.handler.call(tx, received)).await;
        if let Err(error) = &handled {
            span.error(error);
        }
        handled
    }

    /// After parked events of a key were handled, the one behind them is the head.
    async fn promote(&self, tx: &mut Tx) -> Result<(), leeward_store::Error> {
        match self.work.first() {
            Some(first) if self.fault.is_none() => {
                let key = first.names().key;
                parking::promote(tx, &self.core.group, &key).await
            }
            _ => Ok(()),
        }
    }
}

/// Whether an event's key is parked, so that it has to queue up.
fn waits(work: &Work, parked: &HashSet<Arc<str>>, now: &[Arc<str>]) -> bool {
    work.key().is_some_and(|key| parked.contains(key) || now.contains(key))
}
