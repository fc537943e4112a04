//! How revocations get here: from the bus into the gateway's own file and from there into memory, before anything is
//! served.
//!
//! The file has one owner. While it is lent to the process that is to take this one's place, revocations go from the bus into memory
//! alone; nothing is acknowledged then, so that whoever has the file next finds all of them on the bus.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leeward_events::{Bus, Envelope, Patterns, bus};
use leeward_resilience::Clock;
use leeward_runtime::Stop;
use leeward_store::{Db, Migration, Options, Tx, params};
use leeward_telemetry::metrics::{Counter, Histogram};
use serde::Deserialize;
use tokio::time::MissedTickBehavior;

use super::{Revocations, Revoked, Target};
use crate::handover::Handover;

/// Events taken at a time: one commit for all of them.
const BATCH_EVENTS_MAX: usize = 256;
/// How long it takes to look again after the bus or the file failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often expired revocations are dropped.
const PURGE_EVERY: Duration = Duration::from_secs(60);
/// How often the bus hears how far the feed has looked. Nearly all that passes is not for it, and until it has said so the bus keeps
/// everything for it.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_secs(1);
/// How long a start waits for what was revoked while the gateway was down, when the bus does not answer.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// One look at the bus while catching up.
const CATCH_UP_LOOK: Duration = Duration::from_millis(20);

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "revocations",
    sqlite: "CREATE TABLE gateway_revocations (
            kind TEXT NOT NULL, id TEXT NOT NULL, revoked_at_ms INTEGER NOT NULL, expires_at_ms INTEGER NOT NULL,
            PRIMARY KEY (kind, id)) STRICT, WITHOUT ROWID;
        CREATE TABLE gateway_position (
            name TEXT PRIMARY KEY, bus TEXT NOT NULL, position INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
    postgres: "CREATE TABLE gateway_revocations (
            kind TEXT NOT NULL, id TEXT NOT NULL, revoked_at_ms BIGINT NOT NULL, expires_at_ms BIGINT NOT NULL,
            PRIMARY KEY (kind, id));
        CREATE TABLE gateway_position (name TEXT PRIMARY KEY, bus TEXT NOT NULL, position BIGINT NOT NULL);",
}];

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
    /// None while it is lent.
    db: Option<Db>,
    url: String,
    /// Up to where the bus was read.
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
        let url = options.database.clone();
        let db = Some(open(&url).await?);
        let patterns = Patterns::new([&options.event]).map_err(|error| Error::Event(error.to_string()))?;
        let started_ms = clock.unix_ms();
        let group = options.group.as_str().into();
        let feed =
            Self { db, url, read: None, handover, set, bus, patterns, group, clock, started_ms, counted };
        feed.load().await.map_err(|cause| Error::Store { url: feed.url.clone(), cause })?;
        Ok(feed)
    }

    async fn load(&self) -> Result<(), leeward_store::Error> {
        let Some(db) = &self.db else { return Ok(()) };
        let rows = db
            .read(async move |tx: &mut leeward_store::ReadTx| {
                tx.query("SELECT kind, id, revoked_at_ms, expires_at_ms FROM gateway_revocations", params![])
                    .await
            })
            .await?;
        let now_ms = self.clock.unix_ms();
        for row in rows {
            let (kind, id): (String, Arc<str>) = (row.get(0)?, row.get(1)?);
            let target = if kind == "user" { Target::User(id) } else { Target::Token(id) };
            self.set.add(&Revoked { target, revoked_at_ms: row.get(2)?, expires_at_ms: row.get(3)? }, now_ms);
        }
        Ok(())
    }

    /// Takes in what was revoked while the gateway was down, so that nothing is served before. A bus that does not
    /// answer holds the start up for two seconds at most: what is in the file counts already.
    pub(crate) async fn catch_up(&mut self) {
        let caught_up = tokio::time::timeout(CATCH_UP_MAX, async {
            let head = self.bus.lag().await.ok()?.into_iter().map(|lag| lag.head).max();
            let mut subscription = self.subscribe().await.ok()?;
            let head = match head {
                Some(head) => head,
                None => self.bus.lag().await.ok()?.into_iter().map(|lag| lag.head).max()?,
            };
            while subscription.scanned() < head {
                if let Ok(batch) =
                    tokio::time::timeout(CATCH_UP_LOOK, subscription.next_batch(BATCH_EVENTS_MAX)).await
                {
                    self.take(batch.ok()?).await.ok()?;
                }
            }
            Some(())
        });
        if !matches!(caught_up.await, Ok(Some(()))) {
            tracing::warn!(
                "revocations: the bus did not answer at the start; those in the file are in force"
            );
        }
    }

    /// Follows the bus until `stop`.
    pub(crate) async fn run(mut self, stop: Stop) {
        let mut purge_at = tokio::time::Instant::now() + PURGE_EVERY;
        while !stop.is_requested() {
            let followed = stop.or(self.follow(&mut purge_at)).await;
            let Some(followed) = followed else { break };
            let Err(error) = followed else { continue };
            tracing::warn!(%error, "revocations: the bus or the file failed, trying again");
            if stop.or(tokio::time::sleep(AGAIN_AFTER)).await.is_none() {
                break;
            }
        }
        self.close().await;
    }

    /// Closes the file, where it is open.
    async fn close(&mut self) {
        if let Some(db) = self.db.take() {
            db.close().await;
        }
        self.handover.closed();
    }

    /// Opens the file, or closes it, as the handover says.
    async fn settle(&mut self) -> Result<(), String> {
        let has_file = self.handover.has_files();
        match (has_file, &self.db) {
            (false, _) => {
                // Where the next look at the bus begins.
                if self.read.is_none() {
                    self.read = self.stored().await.map_err(|error| error.to_string())?;
                }
                self.close().await;
            }
            (true, None) => {
                self.db = Some(open(&self.url).await.map_err(|error| error.to_string())?);
                // What was taken in meanwhile is not in the file: it is read from the bus again, and says nothing of how fast events come.
                (self.read, self.started_ms) = (None, self.clock.unix_ms());
            }
            (true, Some(_)) => {}
        }
        Ok(())
    }

    /// Follows the bus until it fails, or until the file changes hands.
    async fn follow(&mut self, purge_at: &mut tokio::time::Instant) -> Result<(), String> {
        self.settle().await?;
        let (handover, has_file) = (self.handover.clone(), self.db.is_some());
        let mut changed = std::pin::pin!(handover.changed(has_file));
        let mut subscription = self.subscribe().await.map_err(|error| error.to_string())?;
        let mut acknowledged = None;
        let mut tick = tokio::time::interval(ACKNOWLEDGE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                batch = subscription.next_batch(BATCH_EVENTS_MAX) => {
                    let batch = batch.map_err(|error| error.to_string())?;
                    self.take(batch).await.map_err(|error| error.to_string())?;
                }
                // Whatever was handed out is done whenever this runs.
                _ = tick.tick(), if has_file => {
                    let scanned = (subscription.bus().cloned(), subscription.scanned());
                    if acknowledged.as_ref() != Some(&scanned) {
                        subscription.acknowledge(scanned.1).await.map_err(|error| error.to_string())?;
                        acknowledged = Some(scanned);
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
        let read = match &self.db {
            Some(_) => self.stored().await.map_err(|error| error.to_string())?,
            None => self.read.clone(),
        };
        let start = match read {
            Some((bus, position)) => bus::Start::Resume { bus, position },
            None => bus::Start::Beginning,
        };
        self.bus.subscribe(&self.group, self.patterns.clone(), start).await.map_err(|error| error.to_string())
    }

    /// Up to where the file says that the bus was read.
    async fn stored(&self) -> Result<Option<(Arc<str>, bus::Position)>, leeward_store::Error> {
        let (Some(db), group) = (&self.db, Arc::clone(&self.group)) else { return Ok(None) };
        let stored = db.read(async move |tx: &mut leeward_store::ReadTx| {
            tx.query_opt("SELECT bus, position FROM gateway_position WHERE name = $1", params![*group]).await
        });
        stored.await?.map(|row| Ok((row.get(0)?, bus::Position::new(row.get(1)?)))).transpose()
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
        self.read = Some((batch.bus.clone(), batch.through));
        let Some(db) = &self.db else { return Ok(()) };
        let (group, bus, through) = (Arc::clone(&self.group), batch.bus, batch.through.get());
        db.write(async move |tx: &mut Tx| store(tx, &revoked, &group, &bus, through).await).await
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
        let Some(db) = &self.db else { return Ok(()) };
        db.write(async move |tx: &mut Tx| {
            tx.execute("DELETE FROM gateway_revocations WHERE expires_at_ms <= $1", params![now_ms])
                .await
                .map(drop)
        })
        .await
    }
}

async fn open(url: &str) -> Result<Db, Error> {
    make_folder(url).map_err(|cause| Error::Folder { url: url.to_owned(), cause })?;
    let failed = |cause| Error::Store { url: url.to_owned(), cause };
    let db = Db::open(url, Options::default()).await.map_err(failed)?;
    db.migrate("gateway", MIGRATIONS).await.map_err(failed)?;
    Ok(db)
}

fn read(envelope: &Envelope) -> Result<Revoked, String> {
    let event: TokenRevoked = serde_json::from_str(envelope.data.get()).map_err(|error| error.to_string())?;
    Ok(event.into())
}

async fn store(
    tx: &mut Tx,
    revoked: &[Revoked],
    group: &str,
    bus: &str,
    through: i64,
) -> Result<(), leeward_store::Error> {
    for one in revoked {
        let (kind, id) = match &one.target {
            Target::Token(id) => ("token", id),
            Target::User(id) => ("user", id),
        };
        tx.execute(
            "INSERT INTO gateway_revocations (kind, id, revoked_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (kind, id) DO UPDATE SET
               revoked_at_ms = CASE WHEN excluded.revoked_at_ms > gateway_revocations.revoked_at_ms
                   THEN excluded.revoked_at_ms ELSE gateway_revocations.revoked_at_ms END,
               expires_at_ms = CASE WHEN excluded.expires_at_ms > gateway_revocations.expires_at_ms
                   THEN excluded.expires_at_ms ELSE gateway_revocations.expires_at_ms END",
            params![kind, **id, one.revoked_at_ms, one.expires_at_ms],
        )
        .await?;
    }
    tx.execute(
        "INSERT INTO gateway_position (name, bus, position) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET bus = excluded.bus, position = excluded.position",
        params![*group, *bus, through],
    )
    .await?;
    Ok(())
}

fn make_folder(url: &str) -> std::io::Result<()> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    if path.starts_with(':') {
        return Ok(());
    }
    match Path::new(path).parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::create_dir_all(folder),
        _ => Ok(()),
    }
}
