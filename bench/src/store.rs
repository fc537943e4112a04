//! `store`: how many small durable transactions a second the writer thread makes, and at what cost.
//!
//! Every caller is a task that inserts one row, waits until it is on disk, and starts over. Beside it, in the
//! same rounds, stands what one would write first: a rusqlite connection behind a mutex, one commit a
//! transaction, the same settings and the same row.

mod peer;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use leeward_store::{Db, Error, Migration, Options, Tx, params};

use crate::disk::durable_fs_type;

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folder for the databases, on a real disk; a folder of its own is made in it and removed again.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
    /// Numbers of concurrent callers.
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,64,256")]
    callers: Vec<usize>,
    /// Rounds; each measures every row and both contenders once, and the report has the medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds a row, a round and a contender.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Leave the peer out.
    #[arg(long)]
    no_peer: bool,
}

/// The table that both write to.
const TABLE: &str =
    "CREATE TABLE entries (id INTEGER PRIMARY KEY, account TEXT NOT NULL, amount_minor INTEGER NOT NULL,
                     note TEXT NOT NULL) STRICT;";

/// The statement that both run.
const INSERT: &str = "INSERT INTO entries (account, amount_minor, note) VALUES ($1, $2, $3)";

/// A row is about 150 bytes.
const NOTE: &str =
    "one entry of a ledger, long enough to be like the rows that services write, and no longer than these";

/// Part of each measurement before it counts.
const WARM_UP: Duration = Duration::from_millis(200);

/// What one contender did in one row of one round.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) tx_per_s: f64,
    pub(crate) commits_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) cpu_us_per_tx: f64,
    pub(crate) syncs_per_s: f64,
}

/// Runs the benchmark.
///
/// # Errors
/// When the folder is not on a disk, a database fails, or a row that was acknowledged is not there.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    std::fs::create_dir_all(&arguments.dir).map_err(|error| error.to_string())?;
    let fs_type = durable_fs_type(&arguments.dir)?;
    let folder = tempfile::tempdir_in(&arguments.dir).map_err(|error| error.to_string())?;
    let mut report = report::Report::new(fs_type, arguments);
    for round in 0..arguments.rounds {
        for (row, &callers) in arguments.callers.iter().enumerate() {
            let path = folder.path().join(format!("ours-{round}-{callers}.db"));
            report.ours(row, on_runtime(leeward(&path, callers, arguments.seconds))?);
            if !arguments.no_peer {
                let path = folder.path().join(format!("peer-{round}-{callers}.db"));
                report.peer(row, on_runtime(peer::measure(&path, callers, arguments.seconds))?);
            }
        }
    }
    report.print();
    Ok(())
}

/// A runtime of its own for each measurement, so that none inherits threads.
fn on_runtime<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(work)
}

async fn leeward(path: &Path, callers: usize, seconds: f64) -> Result<Sample, String> {
    let db = open(path).await.map_err(|error| error.to_string())?;
    let writer = db.clone();
    let load = Load::start(callers, move || {
        let writer = writer.clone();
        async move { insert(&writer).await.map_err(|error| error.to_string()) }
    });
    tokio::time::sleep(WARM_UP).await;
    let (before, clock) = (db.stats(), load.begin());
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let measured = load.end(clock).await?;
    let after = db.stats();
    let rows =
        db.read(async |tx| tx.query_one("SELECT count(*) FROM entries", params![]).await?.get::<u64>(0));
    measured.expect_rows(rows.await.map_err(|error: Error| error.to_string())?)?;
    db.close().await;
    Ok(measured.sample(after.commits - before.commits, after.syncs - before.syncs))
}

async fn open(path: &Path) -> Result<Db, Error> {
    let db = Db::open(&format!("sqlite:{}", path.display()), Options::default()).await?;
    let tables = [Migration { version: 1, name: "entries", sqlite: TABLE, postgres: TABLE }];
    db.migrate("bench", &tables).await?;
    Ok(db)
}

async fn insert(db: &Db) -> Result<(), Error> {
    db.write(async |tx: &mut Tx| {
        tx.execute(INSERT, params!["0192f0c1-8a7b-7c3d-9e4f-0123456789ab", 4_999_i64, NOTE]).await?;
        Ok(())
    })
    .await
}

/// Callers that run until they are told to stop.
struct Load {
    callers: Vec<tokio::task::JoinHandle<Result<Caller, String>>>,
    counts: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

/// What one caller saw: all it had acknowledged, and how long those took that count.
struct Caller {
    acknowledged: u64,
    latency_ns: Histogram<u64>,
}

struct Clock {
    at: Instant,
    cpu: Duration,
}

struct Measured {
    acknowledged: u64,
    latency_ns: Histogram<u64>,
    took: Duration,
    cpu: Duration,
}

impl Load {
    fn start<F, R>(callers: usize, transaction: F) -> Self
    where
        F: Fn() -> R + Clone + Send + 'static,
        R: Future<Output = Result<(), String>> + Send,
    {
        let (counts, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let callers = (0..callers)
            .map(|_| {
                let (transaction, counts, stop) =
                    (transaction.clone(), Arc::clone(&counts), Arc::clone(&stop));
                tokio::spawn(async move { call(transaction, &counts, &stop).await })
            })
            .collect();
        Self { callers, counts, stop }
    }

    fn begin(&self) -> Clock {
        self.counts.store(true, Ordering::Relaxed);
        Clock { at: Instant::now(), cpu: cpu_time() }
    }

    async fn end(self, clock: Clock) -> Result<Measured, String> {
        self.counts.store(false, Ordering::Relaxed);
        let (took, cpu) = (clock.at.elapsed(), cpu_time().saturating_sub(clock.cpu));
        self.stop.store(true, Ordering::Relaxed);
        let mut measured = Measured { acknowledged: 0, latency_ns: histogram()?, took, cpu };
        for caller in self.callers {
            let caller = caller.await.map_err(|error| error.to_string())??;
            measured.acknowledged += caller.acknowledged;
            measured.latency_ns.add(&caller.latency_ns).map_err(|error| error.to_string())?;
        }
        Ok(measured)
    }
}

async fn call<F, R>(transaction: F, counts: &AtomicBool, stop: &AtomicBool) -> Result<Caller, String>
where
    F: Fn() -> R,
    R: Future<Output = Result<(), String>>,
{
    let mut caller = Caller { acknowledged: 0, latency_ns: histogram()? };
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        transaction().await?;
        caller.acknowledged += 1;
        if counts.load(Ordering::Relaxed) {
            caller
                .latency_ns
                .saturating_record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
    }
    Ok(caller)
}

impl Measured {
    fn expect_rows(&self, rows: u64) -> Result<(), String> {
        if rows == self.acknowledged {
            return Ok(());
        }
        Err(format!("{} transactions were acknowledged, {rows} rows are there", self.acknowledged))
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of a run of seconds are far below 2^52")]
    fn sample(&self, commits: u64, syncs: u64) -> Sample {
        let (transactions, seconds) = (self.latency_ns.len() as f64, self.took.as_secs_f64());
        Sample {
            tx_per_s: transactions / seconds,
            commits_per_s: commits as f64 / seconds,
            p50_us: self.latency_ns.value_at_quantile(0.50) as f64 / 1e3,
            p99_us: self.latency_ns.value_at_quantile(0.99) as f64 / 1e3,
            cpu_us_per_tx: self.cpu.as_secs_f64() * 1e6 / transactions,
            syncs_per_s: syncs as f64 / seconds,
        }
    }
}

/// Three digits up to a minute.
fn histogram() -> Result<Histogram<u64>, String> {
    Histogram::new_with_max(60_000_000_000, 3).map_err(|error| error.to_string())
}

/// CPU time of all threads of this process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
