//! What the engine costs apart from the steps' own work: CPU of the whole process per saga, and sagas per second.
//!
//! Run with `cargo bench -p leeward-saga`. The database is a file in the folder of temporary files; on a memory file system the figures
//! are those of the CPU all the same, and the rate is a bound. The figures include starting the sagas and their replies.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark prints and may panic"
)]
#![allow(clippy::disallowed_methods, reason = "it measures real time, and owns its tasks")]

use std::sync::Arc;
use std::time::Instant;

use leeward_resilience::{FastRng, TokioClock};
use leeward_runtime::Stop;
use leeward_saga::{Action, Definition, Fault, Options, Outcome, Sagas, Signal, StepCx, Undo};
use leeward_store::{Db, Tx};
use leeward_telemetry::metrics::Counter;
use leeward_telemetry::{Correlation, Registry};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

/// Unless another number is given as the first argument.
const SAGAS: usize = 20_000;
const STARTERS: usize = 64;
/// Sagas under way at once, at most.
const UNDER_WAY: usize = 256;

/// About as large as a small order.
#[derive(Clone, Serialize, Deserialize)]
struct Order {
    user: String,
    lines: Vec<(String, u32, i64)>,
    reservation: Option<String>,
    authorisation: Option<String>,
    shipment: Option<String>,
}

fn order() -> Order {
    let line = |n: u32| (format!("product-{n:08}"), n, 1999);
    Order {
        user: "0198c2f0-7d1e-7cc0-8000-2f8f7c1c5a10".to_owned(),
        lines: (1..4).map(line).collect(),
        reservation: None,
        authorisation: None,
        shipment: None,
    }
}

fn call() -> Action<Order> {
    Action::call(async |cx: StepCx, order: Order| {
        Outcome::Done(Order { authorisation: Some(cx.key().to_string()), ..order })
    })
}

fn undo() -> Undo<Order> {
    Undo::call(async |_cx, order| Outcome::Done(order))
}

fn calls() -> Definition<Order> {
    Definition::builder("calls")
        .step("one", call(), undo())
        .step("two", call(), undo())
        .pivot("three", call())
        .retriable("four", call())
        .retriable("five", call())
        .build()
        .unwrap()
}

/// The shape of a checkout: two commands with replies, two calls, a step in the database.
fn checkout(out: &mpsc::Sender<Arc<str>>) -> Definition<Order> {
    let command = || {
        let out = out.clone();
        Action::command(
            async move |_tx: &mut Tx, cx: StepCx, _order: Order| {
                out.try_send(cx.key().clone()).map_err(Fault::from)
            },
            |order: Order, reply: &Signal| {
                Outcome::Done(Order { reservation: Some(reply.id().to_string()), ..order })
            },
        )
    };
    Definition::builder("checkout")
        .step("reserve", command(), undo())
        .step("authorise", call(), undo())
        .pivot("capture", call())
        .retriable("ship", command())
        .retriable("confirm", Action::tx(async |_tx: &mut Tx, _cx, order| Ok(Outcome::Done(order))))
        .build()
        .unwrap()
}

/// CPU time of this process so far, in microseconds, to the kernel's 10 ms.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = |field: usize| fields[field].parse::<u64>().unwrap();
    (ticks(11) + ticks(12)) * 10_000
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let sagas = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(SAGAS);
    for name in ["calls", "checkout"] {
        runtime.block_on(run(name, sagas));
    }
}

async fn run(name: &'static str, count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("bench.db").display());
    let db = Db::open(&url, leeward_store::Options::default()).await.unwrap();
    let registry = Registry::new();
    let options = Options { registry: registry.clone(), ..Options::default() };
    let sagas = Sagas::new(db.clone(), Arc::new(TokioClock), Arc::new(FastRng::from_entropy()), options);
    sagas.migrate().await.unwrap();
    let (out, commands) = mpsc::channel::<Arc<str>>(4 * UNDER_WAY);
    sagas.register(calls()).unwrap();
    sagas.register(checkout(&out)).unwrap();
    let (stopper, stop) = Stop::manual();
    let engine = tokio::spawn({
        let sagas = sagas.clone();
        async move { sagas.run(stop).await }
    });
    let replies = tokio::spawn(reply(sagas.clone(), db.clone(), commands));
    let ended = registry.counters(leeward_saga::metrics::ENDED, "Sagas ended.", ["saga", "end"]);
    let ended = ended.with([name, "completed"]);
    let (began, cpu, before) = (Instant::now(), cpu_us(), db.stats());
    start_all(&sagas, &db, name, count, ended).await;
    let (took, cpu, after) = (began.elapsed(), cpu_us() - cpu, db.stats());
    stopper.request();
    engine.await.unwrap().unwrap();
    replies.abort();
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let per = |total: u64| total as f64 / count as f64;
    println!(
        "{name}: {:.0} sagas/s, {:.1} us CPU a saga, {:.2} transactions and {:.3} commits a saga, best batch {}",
        f64::from(u32::try_from(count).unwrap()) / took.as_secs_f64(),
        per(cpu),
        per(after.transactions - before.transactions),
        per(after.commits - before.commits),
        after.batch_max,
    );
    db.close().await;
}

/// The other side of the commands: replies in batches, as an inbox would.
async fn reply(sagas: Sagas, db: Db, mut commands: mpsc::Receiver<Arc<str>>) {
    let mut batch = Vec::new();
    while commands.recv_many(&mut batch, 64).await > 0 {
        let (sagas, keys) = (sagas.clone(), std::mem::take(&mut batch));
        let reply = async move |tx: &mut Tx| -> Result<(), leeward_saga::Error> {
            for key in keys {
                let id = format!("reply-{}", key.replace('/', "."));
                sagas.reply(tx, &key, &id, b"{}").await?;
            }
            Ok(())
        };
        db.write(reply).await.unwrap();
    }
}

/// Starts all sagas from many tasks, each start a transaction of its own, with a bound on how many are under way; waits for the last end.
async fn start_all(sagas: &Sagas, db: &Db, name: &'static str, count: usize, ended: Counter) {
    let under_way = Arc::new(Semaphore::new(UNDER_WAY));
    let starters: Vec<_> = (0..STARTERS)
        .map(|starter| {
            let (sagas, db, under_way) = (sagas.clone(), db.clone(), under_way.clone());
            tokio::spawn(async move {
                let rng = FastRng::from_entropy();
                for number in (starter..count).step_by(STARTERS) {
                    under_way.acquire().await.unwrap().forget();
                    let (sagas, work) = (sagas.clone(), Correlation::new_root(&rng));
                    let start = async move |tx: &mut Tx| {
                        sagas
                            .start(tx, name, &format!("0198c2f0-{number:08}"), &order(), &work)
                            .await
                            .map(drop)
                    };
                    let started: Result<(), leeward_saga::Error> = db.write(start).await;
                    started.unwrap();
                }
            })
        })
        .collect();
    let mut seen = 0;
    while seen < u64::try_from(count).unwrap() {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let now = ended.get();
        under_way.add_permits(usize::try_from(now - seen).unwrap());
        seen = now;
    }
    for starter in starters {
        starter.await.unwrap();
    }
}
