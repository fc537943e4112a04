//! The access log: one line for each request, written when the last byte of its answer is out, and never waited for.
//!
//! ```text
//! core: facts of a request > wanted? (sample, always) > a line in the core's own chunk > bounded channel > writer thread
//! ```
//!
//! The rule: a request pays for making its line and for nothing else. Each core fills chunks of its own, without a lock and, once
//! warm, without allocating; a thread writes them. Where that thread does not keep up (a pipe that nobody reads, a slow disk) or
//! cannot write (a full disk), lines are dropped and counted, and the log says so once a minute.
//!
//! What a client sends is written escaped, so that no byte of it ends a line or a field. Headers other than `Host`, `Referer`
//! (without its query) and `User-Agent` are not at hand here at all, so that no token or cookie can be logged; the query is, and
//! the values of parameters that are secrets by their name are left out.

mod chunk;
mod delivery;
mod escape;
mod facts;
mod field;
mod format;
mod query;
mod recorder;
mod sink;
mod writer;

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use leeward_resilience::{Clock, Rng};
use leeward_runtime::{Stage, Tasks};
use leeward_telemetry::metrics::Counter;

pub(crate) use self::chunk::CHUNK_BYTES;
use self::chunk::Message;
pub(crate) use self::delivery::Delivery;
pub(crate) use self::facts::{Begin, Notes, Ticket};
pub use self::field::Field;
pub use self::format::{Error, Format, Template};
pub use self::query::SECRETS;
pub(crate) use self::query::secret_in;
pub(crate) use self::recorder::Recorder;
use self::sink::Sink;
use crate::config::AccessLog as Options;
use crate::metrics::Metrics;

/// How long a stop waits for lines that are not written yet: a pipe that nobody reads must not keep the process.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How often it is looked whether lines were lost, and how often that is said at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const SAY_EVERY: u32 = 60;

/// What became of lines.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    pub(crate) written: Counter,
    /// For want of room: the writer does not keep up.
    pub(crate) dropped: Counter,
    /// The system took them not.
    pub(crate) failed: Counter,
}

impl Counted {
    fn new(metrics: &Metrics) -> Self {
        let result = |name| metrics.access_records.with([name]);
        Self { written: result("written"), dropped: result("dropped"), failed: result("failed") }
    }

    fn lost(&self) -> (u64, u64) {
        (self.dropped.get(), self.failed.get())
    }
}

/// The access log of a gateway, from which each core takes its recorder.
#[derive(Debug)]
pub(crate) struct AccessLog {
    options: Options,
    counted: Counted,
    full: SyncSender<Message>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl AccessLog {
    /// Opens what is written to, and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened, or the system gives no thread.
    pub(crate) fn start(
        options: &Options,
        cores: usize,
        metrics: &Metrics,
        (clock, rng): (Arc<dyn Clock>, Arc<dyn Rng>),
        tasks: &Tasks,
    ) -> std::io::Result<Arc<Self>> {
        let sink = Sink::open(&options.to)?;
        let counted = Counted::new(metrics);
        // Room for every chunk that there can be, and for the word that it is over.
        let (full, chunks) = sync_channel(cores * options.chunks() + 1);
        writer::start(sink, chunks, counted.clone())?;
        let log = Arc::new(Self { options: options.clone(), counted, full, clock, rng });
        let (said, ending) = (Arc::clone(&log), Arc::clone(&log));
        tasks.spawn(Stage::Work, "gateway.access-log", |stop| async move {
            stop.or(said.say_what_is_lost()).await;
        });
        tasks.spawn(Stage::Store, "gateway.access-log-end", |stop| async move {
            stop.requested().await;
            ending.finish().await;
        });
        Ok(log)
    }

    /// For one core.
    pub(crate) fn recorder(&self) -> std::rc::Rc<Recorder> {
        let (clock, rng) = (Arc::clone(&self.clock), Arc::clone(&self.rng));
        Recorder::start(self.options.clone(), self.full.clone(), self.counted.dropped.clone(), clock, rng)
    }

    async fn say_what_is_lost(&self) {
        let mut said = (0, 0);
        let mut looks_since = SAY_EVERY;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            looks_since = looks_since.saturating_add(1);
            let lost = self.counted.lost();
            if lost == said || looks_since < SAY_EVERY {
                continue;
            }
            let (dropped, failed) = (lost.0 - said.0, lost.1 - said.1);
            tracing::warn!(dropped, failed, to = %self.options.to, "records of the access log were lost");
            (said, looks_since) = (lost, 0);
        }
    }

    /// The cores have handed in their last lines: waits until those are written, but not for ever.
    async fn finish(&self) {
        let (done, written) = tokio::sync::oneshot::channel();
        if self.full.try_send(Message::End(done)).is_ok() {
            let _late = tokio::time::timeout(LAST_LINES, written).await;
        }
    }
}
