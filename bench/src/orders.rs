//! `orders`: what the shop takes, end to end, on the machine that runs it.
//!
//! The stock release binary runs as a process of its own on a folder of a real file system; this process is its
//! customers, on the same cores. One order is two cart puts and a checkout through the gateway over kept-alive
//! connections. It counts once it is confirmed and its shipment exists. Orders start when the clock says so, whatever
//! became of those before (an open loop), and every latency counts from the moment at which its order should have
//! started, so that a server that stalls cannot slow its own examiner down.

mod customers;
mod facts;
mod load;
mod metrics;
mod oracle;
mod report;
mod shop;
mod starts;
mod syncs;
mod watch;
mod zipf;

use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use self::customers::Customers;
use self::load::{Plan, Step};
use self::report::Report;
use self::zipf::Zipf;
use crate::disk::durable_fs_type;

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The binary under test.
    #[arg(long, default_value = "target/release/leeward")]
    binary: PathBuf,
    /// Folder for the databases, on a real disk; a folder of its own is made in it and removed again.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
    /// Gateway configuration in place of the built-in one.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Orders a second to try, lowest first; the first that is not steady ends the list.
    #[arg(long, value_delimiter = ',', default_value = "200,300,400,500,600,700,800,900,1000")]
    rates: Vec<u32>,
    /// Rates tried between the highest steady one and the lowest that is not.
    #[arg(long, default_value_t = 2)]
    refine: u32,
    /// Seconds at each rate.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Customers, each logged in.
    #[arg(long, default_value_t = 1_000)]
    customers: usize,
    /// Starts on an empty folder; the report has their median.
    #[arg(long, default_value_t = 5)]
    starts: u32,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave the data where it is.
    #[arg(long)]
    keep: bool,
}

/// How unequal products sell: the exponent of Zipf's law as word counts and web shops show it.
const ZIPF_EXPONENT: f64 = 1.0;

/// Quiet before idle memory is read.
const IDLE: Duration = Duration::from_secs(5);

/// Runs the benchmark.
///
/// # Errors
/// When the folder is not on a disk, the shop does not run, or what it did does not add up.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    if arguments.rates.is_empty()
        || arguments.customers == 0
        || arguments.starts == 0
        || arguments.seconds == 0
    {
        return Err("there must be at least one rate, customer, start and second".to_owned());
    }
    std::fs::create_dir_all(&arguments.dir).map_err(|error| error.to_string())?;
    let fs_type = durable_fs_type(&arguments.dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::select! {
            measured = measure(arguments, fs_type) => measured,
            signal = stopped() => Err(signal?.to_owned()),
        }
    })
}

/// Resolves when somebody stops the benchmark: the shop that it started must not outlive it.
async fn stopped() -> Result<&'static str, String> {
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| format!("signals cannot be received: {error}"))?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(|error| error.to_string())?,
        _ = terminate.recv() => {}
    }
    Ok("stopped by a signal")
}

async fn measure(arguments: &Arguments, fs_type: &'static str) -> Result<(), String> {
    let mut report = Report::new(fs_type);
    let mut folder = tempfile::Builder::new().prefix("leeward-orders-").tempdir_in(&arguments.dir);
    let folder = folder.as_mut().map_err(|error| error.to_string())?;
    folder.disable_cleanup(arguments.keep);
    report.begin(folder.path(), arguments);

    // Start, several times over; the last one stays.
    let (shop, first_order) = starts::run(arguments, folder.path(), &mut report).await?;
    tokio::time::sleep(IDLE).await;
    report.idle(shop.memory()?);

    let customers = Customers::prepare(&shop, arguments.customers, &mut report).await?;
    let products = Zipf::new(shop.products().await?, ZIPF_EXPONENT, arguments.seed);
    let plan = Plan::new(&shop, &customers, &products, arguments.seconds)?;

    // The highest rate at which nothing piles up, and then half of it, where latencies mean something.
    let mut steps = Vec::new();
    let best = highest(arguments, &plan, &mut steps, &mut report).await?;
    let half = at(half_of(&best), &plan, &mut report).await?;
    report.memory_after(shop.memory()?);

    let settings = shop.settings().await?;
    let mut accepted: Vec<_> =
        steps.iter().chain([&half]).flat_map(|step| step.accepted.iter().copied()).collect();
    accepted.push(first_order);
    let unanswered = steps.iter().chain([&half]).map(|step| step.unanswered).sum();
    let data = shop.data().to_owned();
    shop.stop()?;
    let checks = oracle::judge(&data, &accepted, unanswered, &settings)?;
    report.end(&best, &half, &checks)
}

/// Climbs until a rate is not steady, and then narrows down what lies between.
async fn highest(
    arguments: &Arguments,
    plan: &Plan<'_>,
    steps: &mut Vec<Step>,
    report: &mut Report,
) -> Result<Step, String> {
    let (mut best, mut above) = (None::<usize>, None);
    for &rate in &arguments.rates {
        let step = at(rate, plan, report).await?;
        let steady = step.is_steady();
        steps.push(step);
        if !steady {
            above = Some(rate);
            break;
        }
        best = Some(steps.len() - 1);
    }
    for _ in 0..arguments.refine {
        let Some(above_rate) = above else { break };
        let below = best.map_or(0, |best| steps[best].rate);
        let between = u32::midpoint(below, above_rate) / 10 * 10;
        if between <= below {
            break;
        }
        let step = at(between, plan, report).await?;
        let steady = step.is_steady();
        steps.push(step);
        if steady { best = Some(steps.len() - 1) } else { above = Some(between) }
    }
    let best = best.ok_or("no rate was steady: try lower ones with --rates")?;
    Ok(steps[best].clone())
}

/// Half of what was completed at the highest steady rate.
fn half_of(best: &Step) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "orders a second, far below 2^31"
    )]
    let half = (best.completed_per_s() / 2.0).round() as u32;
    half.max(1)
}

async fn at(rate: u32, plan: &Plan<'_>, report: &mut Report) -> Result<Step, String> {
    plan.customers.keep_logged_in(plan.shop).await?;
    let step = load::run(plan, rate).await?;
    report.step(&step);
    Ok(step)
}
