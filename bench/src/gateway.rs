//! `gateway`: what a request costs the gateway, beside nginx, HAProxy and Envoy.
//!
//! Every engine runs alone on one core, in front of an upstream that answers at once; load and upstream are one thread on
//! another core. What is compared is the CPU time that the kernel counts for the engine, divided by the answers: requests
//! a second depend on what else the machine does. The floor, a forwarder that decides nothing, says what the sockets alone
//! cost. Within a round all engines of a case take turns, each starting on an empty folder; figures are medians of the
//! rounds, and ratios medians of the ratios within each. A case of a round in which a peer is not what it should be is
//! repeated, and fails the run when it stays so.

mod case;
mod driver;
mod engine;
pub(crate) mod floor;
mod goals;
mod judge;
mod lookup;
mod measure;
pub(crate) mod process;
mod proof;
mod reload;
mod report;
mod start;
mod tokens;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use self::case::{CASES, Case, Pace};
use self::driver::Driver;
use self::engine::{Engine, Programs, find};
use self::judge::{Band, judge};
use self::measure::{Bench, Samples};
use self::process::{Cores, pin};
use self::report::{Beside, Report};
use self::tokens::Tokens;
use crate::cargo;

/// What to measure, and with what.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The binary under test [default: `leeward` of profile dist, else the one beside this program].
    #[arg(long)]
    binary: Option<PathBuf>,
    /// nginx [default: the one in PATH].
    #[arg(long)]
    nginx: Option<PathBuf>,
    /// HAProxy [default: the one in PATH].
    #[arg(long)]
    haproxy: Option<PathBuf>,
    /// Envoy [default: the one in PATH].
    #[arg(long)]
    envoy: Option<PathBuf>,
    /// Folder for configurations and logs; a folder of its own is made in it for each measurement and removed again.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
    /// Only these engines [default: all but pingora, which is built when it is asked for, and takes minutes].
    #[arg(long, value_delimiter = ',')]
    engines: Vec<Engine>,
    /// Where the source of pingora's forwarder is.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/pingora"))]
    pingora: PathBuf,
    /// Only these cases.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// What is measured once, beside the cases.
    #[arg(long, value_delimiter = ',', default_value = "lookup,reload,start")]
    beside: Vec<Once>,
    /// Rounds; each measures every engine in every case once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load before what counts.
    #[arg(long, default_value_t = 3.0)]
    warm: f64,
    /// Seconds that count.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Requests a second of the open loop [default: half of nginx's in the first case of the round].
    #[arg(long)]
    rate: Option<f64>,
    /// What a peer may cost, in floors; a round outside it is repeated.
    #[arg(long, value_delimiter = ',', default_value = "nginx=1.4..1.75,envoy=5..7")]
    bands: Vec<Band>,
    /// Repetitions of a case of a round that is not valid.
    #[arg(long, default_value_t = 2)]
    repeats: u32,
    /// The engines' core.
    #[arg(long, default_value_t = 0)]
    engine_core: usize,
    /// The core of load and upstream.
    #[arg(long, default_value_t = 1)]
    driver_core: usize,
}

/// What is measured once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Once {
    /// What finding a route costs.
    Lookup,
    /// How soon another configuration is in force, and what it breaks.
    Reload,
    /// How long a start takes.
    Start,
}

/// Longest warm-up or window, in seconds.
const SECONDS_MAX: f64 = 600.0;

/// Runs the benchmark.
///
/// # Errors
/// When an engine does not run, or what it did is not what was asked.
pub(crate) fn run(arguments: Arguments) -> Result<(), String> {
    let seconds = |given: f64| (0.0..=SECONDS_MAX).contains(&given);
    if arguments.rounds == 0
        || !seconds(arguments.warm)
        || !(seconds(arguments.seconds) && arguments.seconds > 0.0)
    {
        return Err(format!("there must be a round, and seconds up to {SECONDS_MAX}"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    // The work stays on one thread, which is pinned; this one waits for signals, so that no engine outlives the benchmark.
    let work = std::thread::Builder::new().name("gateway".into()).spawn(move || measure(&arguments, stop));
    let work = work.map_err(|error| error.to_string())?;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        while !work.is_finished() {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => told.store(true, Ordering::Relaxed),
                _ = terminate.recv() => told.store(true, Ordering::Relaxed),
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
        }
        Ok::<(), String>(())
    });
    told.store(true, Ordering::Relaxed);
    let measured = work.join().map_err(|_| "the benchmark panicked".to_owned())?;
    ended.and(measured)
}

fn measure(arguments: &Arguments, stop: Arc<AtomicBool>) -> Result<(), String> {
    let programs = programs(arguments)?;
    let wanted = |engine: &Engine| match arguments.engines.as_slice() {
        [] => *engine != Engine::Pingora,
        named => named.contains(engine),
    };
    let (engines, absent): (Vec<Engine>, Vec<Engine>) =
        Engine::ALL.into_iter().filter(wanted).partition(|engine| engine.is_installed(&programs));
    let cases = cases(&arguments.cases)?;
    let cores = Cores { engine: arguments.engine_core, driver: arguments.driver_core };
    pin(cores.driver)?;
    // The idle connections have both ends in this process; engines inherit the limit.
    let files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files })
        .map_err(|error| format!("open files: {error}"))?;
    std::fs::create_dir_all(&arguments.dir).map_err(|error| error.to_string())?;

    let tokens = Tokens::new(engines.iter().any(|engine| engine.is_cold()))?;
    let mut driver = Driver::new(&tokens.keys, stop)?;
    let dir = arguments.dir.canonicalize().map_err(|error| error.to_string())?;
    let (warm, window) =
        (Duration::from_secs_f64(arguments.warm), Duration::from_secs_f64(arguments.seconds));
    let bench = Bench { programs, tokens, cores, dir, warm, window };
    let mut report = Report::new(&engines, absent, &cases);
    for number in 0..arguments.rounds {
        eprintln!("round {} of {}", number + 1, arguments.rounds);
        let mut turn = engines.clone();
        // Each round starts elsewhere, so that nobody always follows the same one.
        let places = turn.len().max(1);
        turn.rotate_left(number % places);
        round(arguments, &bench, &mut driver, &turn, &cases, &mut report)?;
    }
    let beside =
        beside(&arguments.beside, &bench, &mut driver, &engines, arguments.rate.or(report.half_of_nginx()))?;
    report.end(
        &beside,
        &json!({
            "binary": bench.programs.leeward, "rounds": arguments.rounds,
            "warm_s": arguments.warm, "seconds": arguments.seconds,
        }),
    )
}

/// What is measured once.
fn beside(
    wanted: &[Once],
    bench: &Bench,
    driver: &mut Driver,
    engines: &[Engine],
    rate: Option<f64>,
) -> Result<Beside, String> {
    let mut beside = Beside::default();
    for once in wanted {
        match once {
            Once::Lookup => beside.lookups = lookup::run()?,
            Once::Reload => {
                eprintln!("reload under load");
                beside.reloads = Some(reload::run(bench, driver, rate)?);
            }
            Once::Start => {
                eprintln!("starts");
                beside.starts = start::run(bench, driver, engines)?;
            }
        }
    }
    Ok(beside)
}

fn round(
    arguments: &Arguments,
    bench: &Bench,
    driver: &mut Driver,
    engines: &[Engine],
    cases: &[Case],
    report: &mut Report,
) -> Result<(), String> {
    let mut rate = arguments.rate;
    for case in cases {
        let mut again = arguments.repeats;
        let (samples, faults) = loop {
            let (samples, mut faults) = take_turns(bench, driver, engines, case, rate)?;
            faults.extend(judge(case, &samples, &arguments.bands));
            report.faults(case, &faults, again > 0);
            if faults.is_empty() || again == 0 {
                break (samples, faults);
            }
            again -= 1;
        };
        let nginx = samples.iter().find(|(engine, _)| *engine == Engine::Nginx);
        if let Some((_, nginx)) = nginx.filter(|_| case.is_reference() && arguments.rate.is_none()) {
            rate = Some((nginx.rps / 2.0).round());
        }
        report.add(case, samples, faults);
    }
    Ok(())
}

/// Every engine once; what could not be measured is a fault.
fn take_turns(
    bench: &Bench,
    driver: &mut Driver,
    engines: &[Engine],
    case: &Case,
    rate: Option<f64>,
) -> Result<(Samples, Vec<String>), String> {
    let rate = match case.pace {
        Pace::Closed => None,
        Pace::HalfOfNginx => {
            let missing = format!("{} needs nginx and {} before it, or --rate", case.name, CASES[0].name);
            Some(rate.filter(|rate| *rate > 0.0).ok_or(missing)?)
        }
    };
    let (mut samples, mut faults) = (Vec::with_capacity(engines.len()), Vec::new());
    for &engine in engines.iter().filter(|engine| engine.takes(case)) {
        match bench.measure(driver, engine, case, rate) {
            Ok(sample) => samples.push((engine, sample)),
            Err(error) if driver.is_stopped() => return Err(error),
            Err(error) => faults.push(format!("{}: {error}", engine.name())),
        }
    }
    Ok((samples, faults))
}

/// The cases by their names, in their own order.
fn cases(names: &[String]) -> Result<Vec<Case>, String> {
    if let Some(unknown) = names.iter().find(|name| CASES.iter().all(|case| case.name != **name)) {
        return Err(format!("`{unknown}` is none of {}", CASES.map(|case| case.name).join(", ")));
    }
    let wanted = |case: &Case| names.is_empty() || names.iter().any(|name| name == case.name);
    Ok(CASES.into_iter().filter(wanted).collect())
}

fn programs(arguments: &Arguments) -> Result<Programs, String> {
    let floor = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = floor.with_file_name("leeward");
    let dist = floor.parent().map(|folder| folder.with_file_name("dist").join("leeward"));
    let built = dist.filter(|program| program.is_file()).unwrap_or(beside);
    let leeward = arguments.binary.clone().unwrap_or(built);
    let leeward = leeward.canonicalize().map_err(|error| {
        format!("{}: {error}; build it with `cargo build --profile dist -p leeward`", leeward.display())
    })?;
    eprintln!("leeward is {}", leeward.display());
    let or_found = |given: &Option<PathBuf>, name: &str| given.clone().or_else(|| find(name));
    Ok(Programs {
        nginx: or_found(&arguments.nginx, "nginx"),
        haproxy: or_found(&arguments.haproxy, "haproxy"),
        envoy: or_found(&arguments.envoy, "envoy"),
        pingora: arguments
            .engines
            .contains(&Engine::Pingora)
            .then(|| cargo::build(&arguments.pingora.join("Cargo.toml")))
            .transpose()?,
        leeward,
        floor,
    })
}
