//! How revocations get here: from the bus into the gateway's own file and from there into memory, before anything is
//! served.

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
    db: Db,
    set: Arc<Revocations>,
    bus: Bus,
    patterns: Patterns,
    /// The name under which the bus is read.
    group: Arc<str>,
    clock: Arc<dyn Clock>,
    /// When this gateway started. What was said before is replayed, and says nothing of how fast events come.
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
    ) -> Result<Self, Error> {
        let url = &options.database;
        make_folder(url).map_err(|cause| Error::Folder { url: url.clone(), cause })?;
        let failed = |cause| Error::Store { url: url.clone(), cause };
        let db = Db::open(url, Options::default()).await.map_err(failed)?;
        db.migrate("gateway", MIGRATIONS).await.map_err(failed)?;
        let patterns = Patterns::new([&options.event]).map_err(|error| Error::Event(error.to_string()))?;
        let started_ms = clock.unix_ms();
        let group = options.group.as_str().into();
        let feed = Self { db, set, bus, patterns, group, clock, started_ms, counted };
        feed.load().await.map_err(failed)?;
        Ok(feed)
    }

    async fn load(&self) -> Result<(), leeward_store::Error> {
        let rows = self
            .db
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
    pub(crate) async fn catch_up(&self) {
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
    pub(crate) async fn run(&self, stop: Stop) {
        let mut purge_at = tokio::time::Instant::now() + PURGE_EVERY;
        while !stop.is_requested() {
            let followed = stop.or(self.follow(&mut purge_at)).await;
            let Some(Err(error)) = followed else { break };
            tracing::warn!(%error, "revocations: the bus or the file failed, trying again");
            if stop.or(tokio::time::sleep(AGAIN_AFTER)).await.is_none() {
                break;
            }
        }
        self.db.close().await;
    }

    async fn follow(&self, purge_at: &mut tokio::time::Instant) -> Result<std::convert::Infallible, String> {
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
                _ = tick.tick() => {
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
            }
        }
    }

    async fn subscribe(&self) -> Result<bus::Subscription, String> {
        let group = Arc::clone(&self.group);
        let stored = self
            .db
            .read(async move |tx: &mut leeward_store::ReadTx| {
                tx.query_opt("SELECT bus, position FROM gateway_position WHERE name = $1", params![*group])
                    .await
            })
            .await
            .map_err(|error| error.to_string())?;
        let start = match stored {
            Some(row) => bus::Start::Resume {
                bus: row.get(0).map_err(|error| error.to_string())?,
                position: bus::Position::new(row.get(1).map_err(|error| error.to_string())?),
            },
            None => bus::Start::Beginning,
        };
        self.bus.subscribe(&self.group, self.patterns.clone(), start).await.map_err(|error| error.to_string())
    }

    /// Into memory first: a token that is refused a moment too early does no harm.
    async fn take(&self, batch: bus::Batch) -> Result<(), leeward_store::Error> {
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
        let (group, bus, through) = (Arc::clone(&self.group), batch.bus, batch.through.get());
        self.db.write(async move |tx: &mut Tx| store(tx, &revoked, &group, &bus, through).await).await
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
        self.db
            .write(async move |tx: &mut Tx| {
                tx.execute("DELETE FROM gateway_revocations WHERE expires_at_ms <= $1", params![now_ms])
                    .await
                    .map(drop)
            })
            .await
    }
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
