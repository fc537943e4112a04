//! The life of a consumer: subscribe, apply what comes, try again what is due, acknowledge now and then.

use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::Instant;
use leeward_runtime::Stop;
use leeward_store::{Tx, Watch};

use super::acknowledge::ACKNOWLEDGE_EVERY;
use super::apply::{Applied, Stuck, apply};
use super::parking::{self, Parked};
use super::schema::{Stored, load_position};
use super::work::Work;
use super::{Consumer, Core, Error, TRANSACTION_EVENTS_MAX};
use crate::backoff::Backoff;
use crate::bus::{self, Batch, Position, Start, Subscription};
use crate::inbox::CLEAN_EVENTS;

/// How long the last words to bus and database may take when the consumer is stopped.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long to wait when bus or database do not take part.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(5) };

/// Keys whose parked events are tried before the bus gets its turn again.
const RETRY_KEYS_MAX: usize = 16;

pub(super) struct Session<'a> {
    pub(super) core: &'a Arc<Core>,
    stop: &'a Stop,
    consumer: &'a Consumer,
    pub(super) subscription: Subscription,
    parked: Parked,
    /// When the next parked event is due.
    retry_at: Option<Instant>,
    /// What the database knows.
    pub(super) stored: Option<Stored>,
    pub(super) stored_at: Instant,
    pub(super) acknowledged: Option<Stored>,
    pub(super) acknowledge_due: Instant,
    failures: u32,
    since_clean: u64,
    /// A stop came before a batch was done: what has been handed out is more than what is done.
    pub(super) abandoned: bool,
}

pub(super) async fn run(consumer: Consumer, stop: Stop) -> Result<(), Error> {
    let mut changed = consumer.core.db.watch(&parking::topic(&consumer.core.group));
    let Some(opened) = stop.or(Session::open(&consumer, &stop)).await else { return Ok(()) };
    let mut session = opened?;
    while !stop.is_requested() {
        session.turn(&mut changed).await?;
    }
    let _ = tokio::time::timeout(STOP_GRACE, session.settle()).await;
    Ok(())
}

impl<'a> Session<'a> {
    async fn open(consumer: &'a Consumer, stop: &'a Stop) -> Result<Self, Error> {
        let core = &consumer.core;
        let mut failures = 0;
        loop {
            match Self::try_open(consumer, stop).await {
                Ok(session) => return Ok(session),
                Err(error) => wait_or_end(core, stop, error, &mut failures).await?,
            }
        }
    }

    async fn try_open(consumer: &'a Consumer, stop: &'a Stop) -> Result<Self, Error> {
        let core = &consumer.core;
        let group = core.group.clone();
        let loaded = core.db.read(async move |tx| {
            let stored = load_position(tx, &group).await?;
            Ok((stored, parking::load(tx, &group).await?))
        });
        let (stored, mut parked) = loaded.await.map_err(|cause| core.store_error(cause))?;
        if parked.events > 0 {
            let group = core.group.clone();
            let healed = core.db.write(async move |tx: &mut Tx| {
                let healed = parking::heal(tx, &group).await?;
                Ok((healed, parking::load(tx, &group).await?))
            });
            let (healed, loaded) = healed.await.map_err(|cause| core.store_error(cause))?;
            if healed {
                tracing::warn!(group = %core.group, "parked events that nothing was before are tried now");
            }
            parked = loaded;
        }
        let start = match &stored {
            Some(Stored { bus, position }) => Start::Resume { bus: bus.clone(), position: *position },
            None => consumer.start.clone(),
        };
        let subscribed = consumer.bus.subscribe(&core.group, consumer.patterns.clone(), start).await;
        let subscription = subscribed.map_err(|cause| core.bus_error(cause))?;
        let now = core.clock.now();
        let mut session = Self {
            core,
            stop,
            consumer,
            subscription,
            parked: Parked::default(),
            retry_at: None,
            stored,
            stored_at: now,
            acknowledged: None,
            acknowledge_due: now + ACKNOWLEDGE_EVERY,
            failures: 0,
            since_clean: 0,
            abandoned: false,
        };
        session.set_parked(parked);
        Ok(session)
    }

    /// One thing after the other: whatever is ready first.
    async fn turn(&mut self, changed: &mut Watch) -> Result<(), Error> {
        let (retry_in, acknowledge_in) = (self.retry_in(), self.acknowledge_in());
        let stop = self.stop;
        let full = self.parked.events >= self.core.redelivery.parked_max;
        tokio::select! {
            () = stop.requested() => Ok(()),
            () = changed.changed() => self.reload().await,
            () = sleep(retry_in) => self.retry_due().await,
            () = sleep(acknowledge_in) => {
                self.acknowledge().await;
                Ok(())
            }
            batch = self.subscription.next_batch(TRANSACTION_EVENTS_MAX), if !full => match batch {
                Ok(batch) => self.take(batch).await,
                Err(cause) => self.wait_or_end(self.core.bus_error(cause)).await,
            },
        }
    }

    /// Applies a batch, however long it takes.
    async fn take(&mut self, batch: Batch) -> Result<(), Error> {
        let behind = batch.head.get() - batch.through.get();
        let at = Stored { bus: batch.bus, position: batch.through };
        let work: Arc<[Work]> = batch.deliveries.into_iter().map(Work::of).collect();
        let mut start = 0;
        loop {
            let gate = self.consumer.gate.clone();
            let open = gate.lock().await;
            let outcome = apply(self.core, &work, start, &self.parked.keys, Some(&at)).await;
            drop(open);
            match outcome {
                Ok(applied) => {
                    self.failures = 0;
                    self.core.metrics.lag.set(behind);
                    self.stored = Some(at);
                    self.stored_at = self.core.clock.now();
                    return self.count(&applied).await;
                }
                Err(Stuck { reason, done, applied }) => {
                    self.count(&applied).await?;
                    start = done;
                    self.pause(&reason).await;
                    if self.stop.is_requested() {
                        self.abandoned = true;
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Tries what is due, one key at a time.
    async fn retry_due(&mut self) -> Result<(), Error> {
        // After the wait it is due, even if the wall clock was set back meanwhile.
        let now_ms = self.core.clock.unix_ms().max(self.parked.due_ms.unwrap_or(i64::MIN));
        for _ in 0..RETRY_KEYS_MAX {
            let group = self.core.group.clone();
            let found =
                self.core.db.read(async move |tx| match parking::due_key(tx, &group, now_ms).await? {
                    Some(key) => parking::of_key(tx, &group, &key).await,
                    None => Ok(Vec::new()),
                });
            let work: Arc<[Work]> = match found.await {
                Ok(work) => work.into(),
                Err(cause) => return self.wait_or_end(self.core.store_error(cause)).await,
            };
            if work.is_empty() {
                break;
            }
            let gate = self.consumer.gate.clone();
            let open = gate.lock().await;
            let outcome = apply(self.core, &work, 0, &self.parked.keys, None).await;
            drop(open);
            match outcome {
                Ok(applied) => {
                    self.failures = 0;
                    self.core.count(&applied);
                }
                Err(Stuck { reason, applied, .. }) => {
                    self.core.count(&applied);
                    self.pause(&reason).await;
                    break;
                }
            }
            if self.stop.is_requested() {
                break;
            }
        }
        self.reload().await
    }

    async fn count(&mut self, applied: &Applied) -> Result<(), Error> {
        self.core.count(applied);
        self.since_clean += applied.handled;
        if self.since_clean >= CLEAN_EVENTS {
            self.since_clean = 0;
            self.clean().await;
        }
        if applied.set_aside > 0 { self.reload().await } else { Ok(()) }
    }

    async fn reload(&mut self) -> Result<(), Error> {
        while !self.stop.is_requested() {
            let group = self.core.group.clone();
            match self.core.db.read(async move |tx| parking::load(tx, &group).await).await {
                Ok(parked) => {
                    self.set_parked(parked);
                    break;
                }
                // What is remembered of the table would be wrong from here on.
                Err(cause) => self.wait_or_end(self.core.store_error(cause)).await?,
            }
        }
        Ok(())
    }

    fn set_parked(&mut self, parked: Parked) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.core.metrics.parked.set(number(parked.events));
        self.core.metrics.dead.set(number(parked.dead));
        let most = self.core.redelivery.parked_max;
        if parked.events >= most && self.parked.events < most {
            let group = &self.core.group;
            tracing::warn!(%group, parked = parked.events, "too many events have failed; the consumer takes no more until some are done");
        }
        if parked.due_ms != self.parked.due_ms {
            self.retry_at = parked.due_ms.map(|due_ms| self.retry_time(due_ms));
        }
        self.parked = parked;
    }

    /// Until the next parked event is due; none when none is.
    fn retry_in(&self) -> Option<Duration> {
        Some(self.retry_at?.saturating_duration_since(self.core.clock.now()))
    }

    /// When the next head is due, on the clock that is never set back. No delay is longer than the longest, whatever the wall clock,
    /// which the table goes by, says by now.
    fn retry_time(&self, due_ms: i64) -> Instant {
        let wait_ms = u64::try_from(due_ms.saturating_sub(self.core.clock.unix_ms())).unwrap_or(0);
        self.core.clock.now() + Duration::from_millis(wait_ms).min(self.core.redelivery.longest)
    }

    async fn pause(&mut self, reason: &str) {
        self.failures = self.failures.saturating_add(1);
        // While nothing is applied nothing else would move the gauge.
        let stored = self.stored.as_ref().map_or(Position::START, |at| at.position);
        self.core.metrics.lag.set(self.subscription.head().get() - stored.get());
        let group = &self.core.group;
        if self.failures == 1 {
            tracing::warn!(%group, reason, "the consumer waits and will try again");
        } else {
            tracing::debug!(%group, reason, failures = self.failures, "the consumer still waits");
        }
        let delay = BACKOFF.delay(self.failures, &*self.core.rng);
        self.stop.or(tokio::time::sleep(delay)).await;
    }

    async fn wait_or_end(&mut self, error: Error) -> Result<(), Error> {
        wait_or_end(self.core, self.stop, error, &mut self.failures).await
    }
}

impl Core {
    fn count(&self, applied: &Applied) {
        self.metrics.applied.add(applied.handled);
        self.metrics.duplicates.add(applied.duplicates);
        self.metrics.parked_total.add(applied.set_aside);
        self.metrics.failures.add(applied.failures);
    }

    fn bus_error(&self, cause: bus::Error) -> Error {
        Error::Bus { group: self.group.to_string(), cause }
    }

    fn store_error(&self, cause: leeward_store::Error) -> Error {
        Error::Store { group: self.group.to_string(), cause }
    }
}

/// Waits before another try, unless no try can help.
async fn wait_or_end(core: &Core, stop: &Stop, error: Error, failures: &mut u32) -> Result<(), Error> {
    let ended = match &error {
        Error::Bus { cause, .. } => matches!(cause, bus::Error::Superseded { .. } | bus::Error::Closed),
        Error::Store { cause, .. } => cause.kind() == leeward_store::Kind::Closed,
    };
    if ended {
        return Err(error);
    }
    *failures = failures.saturating_add(1);
    if *failures == 1 {
        tracing::warn!(cause = %error, "a consumer will try again");
    } else {
        tracing::debug!(cause = %error, failures, "a consumer still cannot go on");
    }
    stop.or(tokio::time::sleep(BACKOFF.delay(*failures, &*core.rng))).await;
    Ok(())
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}
