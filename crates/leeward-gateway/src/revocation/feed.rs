//! How revocations get here: from the bus into memory and into the gateway's own file, before anything is served.
//!
//! That all of them are here is found out, not assumed: the head of the bus is asked for, and once everything up to it has been
//! read, and the file has taken that, the set is whole as of the moment of the question. What fails on the way (the bus, its
//! owner, the file, the disk) makes the view older and is tried again; a file that is gone is made anew from memory.
//!
//! The file has one owner. While it is lent to the process that is to take this one's place, revocations go from the bus into memory
//! alone; nothing is acknowledged then, so that whoever has the file next finds all of them on the bus.

use std::sync::Arc;
use std::time::Duration;

use leeward_events::{Bus, Envelope, Patterns, bus};
use leeward_resilience::{Clock, Instant};
use leeward_runtime::Stop;
use leeward_telemetry::metrics::{Counter, Histogram};
use serde::Deserialize;
use tokio::time::MissedTickBehavior;

use super::store::Store;
use super::{Revocations, Revoked, Target};
use crate::handover::Handover;

/// Events taken at a time: one commit for all of them.
const BATCH_EVENTS_MAX: usize = 256;
/// How long it takes to look again after the bus or the file failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often expired revocations are dropped.
const PURGE_EVERY: Duration = Duration::from_secs(60);
/// How often it is found out, at most, whether the set is whole; more often where it may be less than four times that old.
const CONFIRM_EVERY: Duration = Duration::from_secs(5);
/// How often the bus hears how far the feed has looked. Nearly all that passes is not for it, and until it has said so the bus keeps
/// everything for it.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_secs(1);
/// How long a start waits for what was revoked while the gateway was down, when the bus does not answer.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// One look at the bus while catching up.
const CATCH_UP_LOOK: Duration = Duration::from_millis(20);

/// Why revocations cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The gateway's own file.
    #[error("the gateway's database {url} cannot be used: {cause}")]
    Store {
        /// Which one.
        url: String,
        /// Why.
        cause: leeward_store::Error,
    },
    /// The folder of the file cannot be made.
    #[error("the folder of {url} cannot be made: {cause}")]
    Folder {
        /// Whose folder.
        url: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The event type in the configuration is not one.
    #[error("`revocation.event`: {0}")]
    Event(String),
}

/// What an event that revokes says. Fields that it may have beyond these mean nothing here.
#[derive(Deserialize)]
struct TokenRevoked {
    user_id: Arc<str>,
    /// The token; without it all tokens of the user that were issued before.
    #[serde(default)]
    token_id: Option<Arc<str>>,
    revoked_at_ms: i64,
    expires_at_ms: i64,
}

impl From<TokenRevoked> for Revoked {
    fn from(event: TokenRevoked) -> Self {
        let TokenRevoked { user_id, token_id, revoked_at_ms, expires_at_ms } = event;
        let target = token_id.map_or(Target::User(user_id), Target::Token);
        Self { target, revoked_at_ms, expires_at_ms }
    }
}

/// What is counted.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    pub(crate) applied: Counter,
    pub(crate) unreadable: Counter,
    pub(crate) delay: Histogram,
}

/// The way from the bus to the set.
#[derive(Debug)]
pub(crate) struct Feed {
    store: Store,
    /// Whether the file is closed here, for the next process to open it.
    is_lent: bool,
    /// Up to where the bus was read into the file.
    read: Option<(Arc<str>, bus::Position)>,
    handover: Handover,
    set: Arc<Revocations>,
    bus: Bus,
    patterns: Patterns,
    /// The name under which the bus is read.
    group: Arc<str>,
    clock: Arc<dyn Clock>,
    /// When this gateway opened the file. What was said before is replayed, and says nothing of how fast events come.
    started_ms: i64,
    /// How often it is found out whether the set is whole.
    confirm_every: Duration,
    counted: Counted,
}

impl Feed {
    /// Opens the file and puts into `set` what it holds.
    pub(crate) async fn open(
        options: &crate::config::Revocation,
        bus: Bus,
        set: Arc<Revocations>,
        clock: Arc<dyn Clock>,
        counted: Counted,
        handover: Handover,
    ) -> Result<Self, Error> {
        let store = Store::open(&options.database).await?;
        let patterns = Patterns::new([&options.event]).map_err(|error| Error::Event(error.to_string()))?;
        let started_ms = clock.unix_ms();
        let loaded = store.load(&set, started_ms).await;
        loaded.map_err(|cause| Error::Store { url: options.database.clone(), cause })?;
        let group = options.group.as_str().into();
        let confirm_every = CONFIRM_EVERY.min(options.stale_after / 4);
        Ok(Self {
            store,
            is_lent: false,
            read: None,
            handover,
            set,
            bus,
            patterns,
            group,
            clock,
            started_ms,
            confirm_every,
            counted,
        })
    }

    /// Takes in what was revoked while the gateway was down, so that nothing is served before. A bus that does not
    /// answer holds the start up for two seconds at most: what is in the file counts already.
    pub(crate) async fn catch_up(&mut self) {
        let caught_up = tokio::time::timeout(CATCH_UP_MAX, async {
            let mut subscription = self.subscribe().await.ok()?;
            // A bus that is asked for the first time knows of this group once it has been asked for events.
            let asked = loop {
                if let Some(asked) = self.asked().await.ok()? {
                    break asked;
                }
                self.look(&mut subscription).await?;
            };
            while subscription.scanned() < asked.head {
                self.look(&mut subscription).await?;
            }
            let read = (subscription.bus()?.clone(), subscription.scanned());
            self.confirm(read, &asked).await.ok()
        });
        if !matches!(caught_up.await, Ok(Some(()))) {
            tracing::warn!(
                "revocations: the bus did not answer at the start; those in the file are in force"
            );
        }
    }

    /// Takes in what comes within a moment; `None` when that fails.
    async fn look(&mut self, subscription: &mut bus::Subscription) -> Option<()> {
        let look = tokio::time::timeout(CATCH_UP_LOOK, subscription.next_batch(BATCH_EVENTS_MAX)).await;
        let Ok(batch) = look else { return Some(()) };
        self.take(batch.ok()?).await.ok()
    }

    /// Follows the bus until `stop`.
    pub(crate) async fn run(mut self, stop: Stop) {
        let mut purge_at = tokio::time::Instant::now() + PURGE_EVERY;
        let handover = self.handover.clone();
        let mut gone = std::pin::pin!(handover.gone());
        while !stop.is_requested() {
            let followed = tokio::select! {
                // A group has one reader, which is the next process from here on. What is known ages until the last request is answered.
                () = gone.as_mut() => break,
                followed = stop.or(self.follow(&mut purge_at)) => followed,
            };
            let Some(followed) = followed else { break };
            let Err(error) = followed else { continue };
            tracing::warn!(%error, "revocations: the bus or the file failed, trying again");
            if stop.or(tokio::time::sleep(AGAIN_AFTER.min(self.confirm_every))).await.is_none() {
                break;
            }
            if !self.is_lent && !self.store.is_there().await {
                match self.store.make_anew(&self.set).await {
                    Ok(()) => tracing::warn!("revocations: the file was gone and is made anew from memory"),
                    Err(error) => tracing::error!(%error, "revocations: the file is gone"),
                }
            }
        }
        self.close().await;
    }

    /// Closes the file, where it is open.
    async fn close(&mut self) {
        if !std::mem::replace(&mut self.is_lent, true) {
            self.store.close().await;
        }
        self.handover.closed();
    }

    /// Opens the file, or closes it, as the handover says.
    async fn settle(&mut self) -> Result<(), String> {
        if !self.handover.has_files() {
            // Where the next look at the bus begins.
            if self.read.is_none() && !self.is_lent {
                self.read = self.stored().await?;
            }
            self.close().await;
        } else if self.is_lent {
            let opened = if self.store.is_there().await {
                self.store.reopen().await
            } else {
                self.store.make_anew(&self.set).await
            };
            opened.map_err(|error| error.to_string())?;
            self.is_lent = false;
            // What was taken in meanwhile is not in the file: it is read from the bus again, and says nothing of how fast events come.
            (self.read, self.started_ms) = (None, self.clock.unix_ms());
        }
        Ok(())
    }

    /// Follows the bus until it fails, or until the file changes hands.
    async fn follow(&mut self, purge_at: &mut tokio::time::Instant) -> Result<(), String> {
        self.settle().await?;
        let (handover, has_file) = (self.handover.clone(), !self.is_lent);
        let mut changed = std::pin::pin!(handover.changed(has_file));
        let mut subscription = self.subscribe().await.map_err(|error| error.to_string())?;
        let (mut acknowledged, mut asked) = (None, None);
        let mut ask_at = tokio::time::Instant::now();
        let mut tick = tokio::time::interval(ACKNOWLEDGE_EVERY.min(self.confirm_every));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                batch = subscription.next_batch(BATCH_EVENTS_MAX) => {
                    let batch = batch.map_err(|error| error.to_string())?;
                    self.take(batch).await.map_err(|error| error.to_string())?;
                }
                // Whatever was handed out is done whenever this runs.
                _ = tick.tick() => {
                    let scanned = (subscription.bus().cloned(), subscription.scanned());
                    if has_file && acknowledged.as_ref() != Some(&scanned) {
                        subscription.acknowledge(scanned.1).await.map_err(|error| error.to_string())?;
                        acknowledged = Some(scanned);
                    }
                    let (bus, read) = (subscription.bus().cloned(), subscription.scanned());
                    // How far another bus went says nothing of this one, which may never come to that.
                    let waits_max = self.confirm_every * 4;
                    let now = self.clock.now();
                    let _outdated = asked.take_if(|(asked, of): &mut (Asked, _)| {
                        *of != bus || now.saturating_duration_since(asked.at) > waits_max
                    });
                    if let Some(bus) = &bus
                        && let Some((asked, _)) = asked.take_if(|(asked, _)| asked.head <= read)
                    {
                        self.confirm((Arc::clone(bus), read), &asked).await?;
                    }
                    // Looked at with the next tick at the earliest: by then a subscription knows whether its bus has another owner.
                    if asked.is_none() && ask_at <= tokio::time::Instant::now() {
                        asked = self.asked().await?.map(|asked| (asked, bus));
                        ask_at = tokio::time::Instant::now() + self.confirm_every;
                    }
                }
                () = tokio::time::sleep_until(*purge_at) => {
                    *purge_at += PURGE_EVERY;
                    self.purge().await.map_err(|error| error.to_string())?;
                }
                () = changed.as_mut() => return Ok(()),
            }
        }
    }

    async fn subscribe(&self) -> Result<bus::Subscription, String> {
        let read = if self.is_lent { self.read.clone() } else { self.stored().await? };
        let start = match read {
            Some((bus, position)) => bus::Start::Resume { bus, position },
            None => bus::Start::Beginning,
        };
        self.bus.subscribe(&self.group, self.patterns.clone(), start).await.map_err(|error| error.to_string())
    }

    /// Up to where the file says that the bus was read.
    async fn stored(&self) -> Result<Option<(Arc<str>, bus::Position)>, String> {
        self.store.read_to(&self.group).await.map_err(|error| error.to_string())
    }

    /// Into memory first: a token that is refused a moment too early does no harm.
    async fn take(&mut self, batch: bus::Batch) -> Result<(), leeward_store::Error> {
        let now_ms = self.clock.unix_ms();
        let mut revoked: Vec<Revoked> = Vec::with_capacity(batch.deliveries.len());
        for delivery in &batch.deliveries {
            let envelope = delivery.envelope().map_err(|error| error.to_string());
            match envelope.and_then(|envelope| Ok((read(&envelope)?, envelope.time_ms))) {
                Ok((one, time_ms)) => {
                    self.set.add(&one, now_ms);
                    self.note(now_ms, time_ms);
                    revoked.push(one);
                }
                Err(error) => {
                    self.counted.unreadable.inc();
                    tracing::error!(%error, position = %delivery.position, "revocations: an event cannot be read");
                }
            }
        }
        // Where the file stands is where the bus is read from again: what it does not have must not be taken for done.
        if self.is_lent {
            return Ok(());
        }
        self.read = Some((Arc::clone(&batch.bus), batch.through));
        self.store.keep(revoked, &self.group, &batch.bus, batch.through).await
    }

    fn note(&self, now_ms: i64, time_ms: i64) {
        self.counted.applied.inc();
        if time_ms < self.started_ms {
            return;
        }
        let delay_ms = now_ms - time_ms;
        self.set.note_delay(delay_ms, self.clock.now());
        self.counted.delay.observe_duration(Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0)));
    }

    async fn purge(&self) -> Result<(), leeward_store::Error> {
        let now_ms = self.clock.unix_ms();
        self.set.purge(now_ms);
        if self.is_lent {
            return Ok(());
        }
        self.store.purge(now_ms).await
    }

    /// Asks the bus, or the process that owns it, how far it goes now; `None`: it knows no group yet, this one included.
    async fn asked(&self) -> Result<Option<Asked>, String> {
        let at = self.clock.now();
        let lag = tokio::time::timeout(self.confirm_every, self.bus.lag()).await;
        let lag =
            lag.map_err(|_| "the bus does not say how far it goes")?.map_err(|error| error.to_string())?;
        Ok(lag.into_iter().map(|lag| lag.head).max().map(|head| Asked { at, head }))
    }

    /// All up to the head that was asked for has been read: where the file takes that too, and is still the one that the next start
    /// reads, the set is whole. A file that is lent is the next process's to look after.
    async fn confirm(&self, (bus, scanned): (Arc<str>, bus::Position), asked: &Asked) -> Result<(), String> {
        if self.is_lent {
            self.set.is_whole_as_of(asked.at);
            return Ok(());
        }
        let kept = self.store.keep(Vec::new(), &self.group, &bus, scanned).await;
        kept.map_err(|error| error.to_string())?;
        if !self.store.is_there().await {
            return Err("the file is gone".to_owned());
        }
        self.set.is_whole_as_of(asked.at);
        Ok(())
    }
}

/// How far the bus went, and when.
#[derive(Debug)]
struct Asked {
    at: Instant,
    head: bus::Position,
}

fn read(envelope: &Envelope) -> Result<Revoked, String> {
    let event: TokenRevoked = serde_json::from_str(envelope.data.get()).map_err(|error| error.to_string())?;
    Ok(event.into())
}
