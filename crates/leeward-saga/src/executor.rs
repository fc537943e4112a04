//! The engine: what is due, driven forward, many sagas at once, one task.
//!
//! A saga that can go on is one future, which drives it from commit to commit until it has to wait; then the saga is parked in memory,
//! or, when there are too many, left on disk. All futures run on the engine's one task, so that a saga costs no task and no lock, and
//! their commits meet in the writer's group commit. What can go on is found by wake-ups (a start, a signal, an operator), by timers,
//! and by a slow poll that trusts neither.

mod advance;
mod ahead;
mod attempt;
mod book;
mod drive;
mod engine;
mod feed;
mod load;
mod pulse;
mod record;
mod turn;
mod upkeep;

use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use leeward_runtime::Stop;
use leeward_store::Watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::error::Error;
use crate::sagas::{DECIDED_TOPIC, SIGNALLED_TOPIC, STARTED_TOPIC, Shared};

use book::Book;
use drive::Driven;

pub(crate) use ahead::take as take_ahead;
pub(crate) use book::Mail;
pub(crate) use drive::Runnable;
pub(crate) use engine::Engine;
pub(crate) use load::load;
pub(crate) use pulse::Pulse;
#[cfg(any(test, feature = "testing"))]
pub(crate) use pulse::{Moment, Point, Probe};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How serving ended.
enum Served {
    Stopped,
    Fenced,
    Closed,
}

pub(crate) async fn run(shared: &Arc<Shared>, stop: &Stop) -> Result<(), Error> {
    loop {
        let Some(engine) = stop.or(engine::take_over(shared)).await else { return Ok(()) };
        let engine = Arc::new(engine?);
        // What came for an engine before this one is on disk.
        *shared.mail.lock() = Mail::default();
        *shared.engine.write() = Arc::downgrade(&engine);
        match Box::pin(Server::new(engine.clone()).serve(stop)).await {
            Served::Stopped => {
                engine.release().await;
                return Ok(());
            }
            Served::Closed => return Err(leeward_store::Error::Closed.into()),
            // The same owner took the lease: taking it back would only begin a fight.
            Served::Fenced if shared.options.owner.is_none() => return Err(Error::TakenOver),
            Served::Fenced => tracing::warn!("the lease on the sagas was lost; waiting for it"),
        }
    }
}

/// The engine's task while it holds the lease.
struct Server {
    engine: Arc<Engine>,
    book: Book,
    driving: FuturesUnordered<Boxed<(Arc<str>, Driven)>>,
    feeding: Option<Boxed<feed::Fed>>,
    upkeep: Option<Boxed<upkeep::Kept>>,
    started: Watch,
    signalled: Watch,
    decided: Watch,
    poll: Interval,
}

impl Server {
    fn new(engine: Arc<Engine>) -> Self {
        let (db, options) = (&engine.shared.db, &engine.shared.options);
        let mut poll = tokio::time::interval_at(Instant::now() + options.poll, options.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            started: db.watch(STARTED_TOPIC),
            signalled: db.watch(SIGNALLED_TOPIC),
            decided: db.watch(DECIDED_TOPIC),
            book: Book::new(options),
            driving: FuturesUnordered::new(),
            feeding: None,
            upkeep: None,
            poll,
            engine,
        }
    }

    async fn serve(mut self, stop: &Stop) -> Served {
        let shared = self.engine.shared.clone();
        // Rows and signals from before this engine are new to it.
        self.book.look_at_everything();
        loop {
            let now_ms = shared.clock.unix_ms();
            self.book.fire_timers(now_ms);
            self.fill(now_ms);
            self.report(now_ms);
            let timer = self.book.next_timer_in(now_ms);
            tokio::select! {
                Some(done) = self.driving.next(), if !self.driving.is_empty() => {
                    if let Some(ended) = self.settle(done) { return ended }
                }
                fed = running(&mut self.feeding) => self.book.take(fed),
                kept = running(&mut self.upkeep) => if kept.is_fenced() { return Served::Fenced },
                () = self.started.changed() => self.book.wants.fresh = true,
                () = self.signalled.changed() => self.book.wants.signals = true,
                () = self.decided.changed() => self.book.wants.due = true,
                () = shared.pulse.touched() => self.book.open_mail(std::mem::take(&mut *shared.mail.lock())),
                () = shared.pulse.kicked() => self.book.look_at_everything(),
                () = tokio::time::sleep(timer) => {}
                _ = self.poll.tick() => self.on_poll(),
                () = stop.requested() => return self.drain().await,
            }
        }
    }

    /// Starts what there is room for: sagas to drive, and a look for more.
    fn fill(&mut self, now_ms: i64) {
        while self.driving.len() < self.engine.shared.options.concurrency {
            let Some((id, work)) = self.book.next() else { break };
            let driven = drive::begin(&self.engine, id.clone(), work);
            self.driving.push(Box::pin(driven.map(move |driven| (id, driven))));
        }
        if self.feeding.is_none()
            && let Some(ask) = self.book.ask(now_ms)
        {
            self.feeding = Some(Box::pin(feed::read(self.engine.shared.clone(), ask)));
        }
    }

    /// Takes in one finished drive and all others that are finished by now.
    fn settle(&mut self, done: (Arc<str>, Driven)) -> Option<Served> {
        let mut next = Some(done);
        while let Some((id, driven)) = next {
            match driven {
                Driven::Fenced => return Some(Served::Fenced),
                Driven::Closed => return Some(Served::Closed),
                Driven::Parked(parked) => self.book.park(id, parked),
                Driven::Gone => self.book.gone(&id),
                Driven::Moved => self.book.moved(&id),
            }
            next = self.driving.next().now_or_never().flatten();
        }
        None
    }

    fn on_poll(&mut self) {
        self.book.look_at_everything();
        self.book.wants.sweep = true;
        if self.upkeep.is_none() {
            self.upkeep = Some(Box::pin(upkeep::keep(self.engine.clone())));
        }
    }

    fn report(&mut self, now_ms: i64) {
        let metrics = &self.engine.shared.metrics;
        metrics.active.set(i64::try_from(self.driving.len()).unwrap_or(i64::MAX));
        metrics.waiting.set(i64::try_from(self.book.waiting()).unwrap_or(i64::MAX));
        let has_mail = !self.engine.shared.mail.lock().is_empty();
        let idle =
            self.driving.is_empty() && self.feeding.is_none() && !has_mail && self.book.is_idle(now_ms);
        self.engine.shared.pulse.beat(idle, self.book.next_due_ms());
    }

    /// Starts nothing any more; lets what is under way come to its next commit.
    async fn drain(mut self) -> Served {
        self.engine.stop();
        let grace = self.engine.shared.options.stop_grace;
        let rest = async { while self.driving.next().await.is_some() {} };
        if tokio::time::timeout(grace, rest).await.is_err() {
            tracing::info!("steps were cut off by the stop; they are reconciled after the next start");
        }
        Served::Stopped
    }
}

/// The result of what is running; for ever pending while nothing is.
async fn running<T>(slot: &mut Option<Boxed<T>>) -> T {
    match slot {
        Some(future) => {
            let result = future.await;
            *slot = None;
            result
        }
        None => std::future::pending().await,
    }
}
