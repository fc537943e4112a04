//! The bus: a log of events with groups of subscribers, in three backends behind one handle.
//!
//! Publishing appends to the log and returns once the events are durable; an event is delivered to each group at least once, in the
//! order of the log, which keeps the order in which one publisher published. A group has one subscriber at a time; the newest
//! takes over. The bus keeps an event until every group has acknowledged it, and the newest [`Options::keep_bytes`] in any case, so
//! that a group may come late; at [`Options::limit_bytes`] it refuses to publish rather than lose anything.

mod error;
mod http;
mod hub;
mod memory;
mod message;
mod remote;
mod server;
mod sqlite;
mod subscription;
mod tail;

use std::fmt;
use std::sync::Arc;

use leeward_resilience::{Clock, FastRng, Rng, TokioClock};
use leeward_runtime::Tasks;
use leeward_telemetry::Registry;

use self::hub::Member;
use self::memory::Memory;
use self::remote::Remote;
use self::sqlite::Sqlite;
use self::subscription::{Local, Log};
use crate::envelope::Envelope;
use crate::ids::new_id;
use crate::metrics;
use crate::pattern::Patterns;

pub use self::error::Error;
pub use self::message::{Batch, Delivery, GroupLag, Message, Position, Start};
pub use self::subscription::Subscription;

/// Most events in one publish: several relays' batches share a commit, and none keeps the others waiting for long.
pub const PUBLISH_EVENTS_MAX: usize = 1024;

/// Most bytes of events in one publish: it is one HTTP body, and is held in memory.
pub const PUBLISH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A bus. A clone is the same bus.
#[derive(Clone, Debug)]
pub struct Bus {
    backend: Backend,
}

#[derive(Clone, Debug)]
enum Backend {
    Memory(Arc<Memory>),
    Sqlite(Arc<Sqlite>),
    Remote(Arc<Remote>),
}

/// What a bus is opened with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Shown to the owner of a `leeward://` bus. No default: without one the owner refuses.
    pub token: Option<Token>,
    /// Most bytes of events that the log holds; at this size a publish is refused. Default 1 GiB: hours of a group's absence at
    /// a megabyte a second, and no more than a small disk can spare. A `memory:` bus counts what its events cost in memory.
    pub limit_bytes: u64,
    /// Bytes of the newest events kept although every group has acknowledged them. Default 64 MiB: a group that subscribes a while
    /// after the first event was published still finds it.
    pub keep_bytes: u64,
    /// Bytes of the newest events of a `sqlite:` bus that are kept in memory for live subscribers. Default 8 MiB: a subscriber that
    /// is less than some seconds behind does not read the file.
    pub tail_bytes: usize,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where jitter comes from.
    pub rng: Arc<dyn Rng>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            token: None,
            limit_bytes: 1 << 30,
            keep_bytes: 64 << 20,
            tail_bytes: 8 << 20,
            clock: Arc::new(TokioClock),
            rng: Arc::new(FastRng::from_entropy()),
        }
    }
}

impl Options {
    /// The same with a token.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// The same with another limit, in bytes.
    #[must_use]
    pub fn limit_bytes(mut self, limit_bytes: u64) -> Self {
        self.limit_bytes = limit_bytes;
        self
    }

    /// The same with another number of bytes kept for groups that come late.
    #[must_use]
    pub fn keep_bytes(mut self, keep_bytes: u64) -> Self {
        self.keep_bytes = keep_bytes;
        self
    }

    /// The same with another number of bytes in memory.
    #[must_use]
    pub fn tail_bytes(mut self, tail_bytes: usize) -> Self {
        self.tail_bytes = tail_bytes;
        self
    }
}

/// The secret that the owner of a bus and its clients share. It is never shown.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    /// A token with this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Compares in a time that depends on the lengths alone, so that a guess cannot be improved byte by byte.
    fn is(&self, given: &str) -> bool {
        let difference = self.0.bytes().zip(given.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        !self.0.is_empty() && self.0.len() == given.len() && difference == 0
    }

    fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Bus {
    /// Opens the bus at `url`: `memory:`, `sqlite:PATH`, whose file this process then owns, or `leeward://host:port`, the bus of
    /// another process. The last is not reached before it is used, so that processes may start in any order.
    ///
    /// `tasks` owns the task that appends to a `sqlite:` bus; it is stopped in the last stage, after relays and consumers.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Backend`], and [`Error::Store`] when the file cannot be opened.
    pub async fn open(url: &str, options: Options, tasks: &Tasks) -> Result<Self, Error> {
        let unknown = || Error::Url { url: url.chars().take(200).collect() };
        let backend = match url.split_once(':').ok_or_else(unknown)? {
            ("memory", "") => Backend::Memory(Arc::new(Memory::new(&options))),
            ("sqlite", _) => Backend::Sqlite(Arc::new(Sqlite::open(url, &options, tasks).await?)),
            ("leeward", rest) => {
                let owner = rest.strip_prefix("//").ok_or_else(unknown)?;
                Backend::Remote(Arc::new(Remote::new(owner, options).ok_or_else(unknown)?))
            }
            (scheme, _) => return Err(error::of_scheme(scheme).unwrap_or_else(unknown)),
        };
        Ok(Self { backend })
    }

    /// Publishes events, all of them or none; gives the position of the last. `Ok` means durable: on disk, for a `sqlite:` bus.
    ///
    /// Events of one publish, and of one publish after the other, keep their order.
    ///
    /// # Errors
    /// [`Error::Full`] and [`Error::Batch`]: nothing was published. [`Error::Event`] for an envelope that no reader would take.
    /// [`Error::Store`], [`Error::Unavailable`] and the like: publish again; whoever handles events recognises a repeated one by its id.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the events were published.
    pub async fn publish(&self, events: Vec<Envelope>) -> Result<Position, Error> {
        let messages = events.iter().map(Message::new).collect::<Result<_, _>>()?;
        self.publish_messages(messages).await
    }

    /// As [`publish`](Self::publish), with events that are serialised already. Without any it gives [`Position::START`].
    ///
    /// # Errors
    /// Those of [`publish`](Self::publish).
    pub async fn publish_messages(&self, messages: Vec<Message>) -> Result<Position, Error> {
        let (events, bytes) = (messages.len(), messages.iter().map(|message| message.body().len()).sum());
        if events > PUBLISH_EVENTS_MAX || bytes > PUBLISH_BYTES_MAX {
            return Err(Error::Batch { events, bytes });
        }
        match &self.backend {
            _ if messages.is_empty() => Ok(Position::START),
            Backend::Memory(memory) => memory.publish(messages),
            Backend::Sqlite(sqlite) => sqlite.publish(messages).await,
            Backend::Remote(remote) => remote.publish(&messages).await,
        }
    }

    /// Subscribes for a group, whose earlier subscriber, if any, is superseded. The bus remembers the group from now on, and keeps
    /// what it has not acknowledged: remove a group that is no longer used.
    ///
    /// # Errors
    /// [`Error::Group`], [`Error::Groups`], [`Error::Closed`], [`Error::Store`]. A remote bus is reached by the first
    /// [`next_batch`](Subscription::next_batch).
    pub async fn subscribe(
        &self,
        group: &str,
        patterns: Patterns,
        start: Start,
    ) -> Result<Subscription, Error> {
        self.subscribe_as(group, patterns, start, false).await
    }

    async fn subscribe_as(
        &self,
        group: &str,
        patterns: Patterns,
        start: Start,
        takes_on: bool,
    ) -> Result<Subscription, Error> {
        match &self.backend {
            Backend::Memory(memory) => {
                let (member, after, _) = memory.hub.enter(group, &start, takes_on)?;
                Ok(Subscription::local(Local::new(&memory.hub, Log::None, member, patterns, after)))
            }
            Backend::Sqlite(sqlite) => {
                let (member, after) = sqlite.enter(group, &start, takes_on).await?;
                let log = Log::File(sqlite.clone());
                Ok(Subscription::local(Local::new(&sqlite.hub, log, member, patterns, after)))
            }
            Backend::Remote(remote) => Ok(Subscription::remote(remote.subscribe(group, patterns, start)?)),
        }
    }

    /// Registers what a `sqlite:` bus does to the disk, asked for at each scrape; nothing for a bus of another kind.
    pub fn measure(&self, registry: &Registry) {
        let Backend::Sqlite(sqlite) = &self.backend else { return };
        let gauge = |name, help, read: fn(&leeward_store::Stats) -> u64| {
            let db = sqlite.db.clone();
            #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            registry.gauge_fn(name, help, move || read(&db.stats()) as f64);
        };
        gauge(metrics::BUS_COMMITS, "Commits of the bus's file since the start.", |stats| stats.commits);
        gauge(metrics::BUS_SYNCS, "Syncs of the disk for the bus's file since the start.", |stats| {
            stats.syncs
        });
    }

    /// How far each group is behind.
    ///
    /// # Errors
    /// What the way to the owner of a remote bus reports.
    pub async fn lag(&self) -> Result<Vec<GroupLag>, Error> {
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.hub.lag()),
            Backend::Sqlite(sqlite) => Ok(sqlite.hub.lag()),
            Backend::Remote(remote) => remote.lag().await,
        }
    }

    /// Forgets a group, so that the bus keeps nothing for it any more; whether there was one. Its subscriber is superseded.
    ///
    /// # Errors
    /// What the bus's file or the way to its owner reports.
    pub async fn remove_group(&self, group: &str) -> Result<bool, Error> {
        match &self.backend {
            Backend::Memory(memory) => Ok(memory.hub.remove(group)),
            Backend::Sqlite(sqlite) => sqlite.remove(group).await,
            Backend::Remote(remote) => remote.remove(group).await,
        }
    }

    /// The routes by which other processes use this bus as `leeward://host:port`, under `/bus/v1`. Every request must carry the token.
    ///
    /// Serve them from a listener with `TCP_NODELAY`: a stream is many small writes, which would wait for acknowledgements otherwise.
    pub fn router(&self, token: Token) -> axum::Router {
        server::router(self.clone(), token)
    }

    /// Stops taking events, waits until those taken are durable, and closes the file. The bus of another process stays open.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the closing.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Memory(memory) => memory.hub.close(),
            Backend::Sqlite(sqlite) => sqlite.close().await,
            Backend::Remote(_) => {}
        }
    }

    async fn acknowledge_as(&self, group: &str, session: u64, position: Position) -> Result<(), Error> {
        let member = Member { group: group.into(), session };
        match &self.backend {
            Backend::Memory(memory) => memory.hub.acknowledge(&member, position).map(drop),
            Backend::Sqlite(sqlite) => sqlite.acknowledge(&member, position).await,
            Backend::Remote(remote) => remote.acknowledge(group, session, position).await,
        }
    }
}

fn new_bus_id(options: &Options) -> Arc<str> {
    new_id(&*options.clock, &*options.rng)
}
