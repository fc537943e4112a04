//! One measurement: one engine, one case, from an empty folder to the end of its process.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::case::Case;
use super::driver::{Driver, Load, Seen, Tally};
use super::engine::{Engine, Programs, Seat, free_address};
use super::process::{Cores, Process};
use super::proof;
use super::tokens::Tokens;

/// An engine that takes longer than this to answer never will.
const READY_WITHIN: Duration = Duration::from_secs(15);

/// How often a start is asked whether it is done.
const ASK_EVERY: Duration = Duration::from_millis(30);

/// What every measurement has in common.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) programs: Programs,
    pub(super) tokens: Tokens,
    pub(super) cores: Cores,
    /// Where folders are made.
    pub(super) dir: PathBuf,
    pub(super) warm: Duration,
    pub(super) window: Duration,
}

/// What one engine did in one case of one round.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) cpu_us: f64,
    pub(super) rps: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) rss_mib: f64,
    /// The share of the engine's core that it had.
    pub(super) core_share: f64,
    pub(super) errors: u64,
    /// Connections to the upstream opened in the window, a request.
    pub(super) opened_share: f64,
    /// The share of the open loop's requests that could not be sent in time.
    pub(super) unsent_share: f64,
    /// Why it is worth nothing.
    pub(super) faults: Vec<String>,
}

/// What a case of a round measured.
pub(super) type Samples = Vec<(Engine, Sample)>;

/// The phases of the load, one after the other.
struct Phases {
    window: Tally,
    took: Duration,
    cpu: Duration,
    rss_kib: u64,
    /// What the upstream saw in the window.
    seen: Seen,
    /// From the first request to the last: right answers, those with a limit, errors.
    completed: u64,
    limited: u64,
    errors: u64,
    error: Option<String>,
    /// What the upstream saw in that time.
    seen_in_all: Seen,
}

impl Bench {
    /// Measures `engine` in `case`; `rate` is that of the open loop.
    pub(super) fn measure(
        &self,
        driver: &mut Driver,
        engine: Engine,
        case: &Case,
        rate: Option<f64>,
    ) -> Result<Sample, String> {
        let folder = self.folder()?;
        let (listen, admin, upstream) = (free_address()?, free_address()?, driver.upstream()?);
        let seat = Seat { folder: folder.path(), listen, admin, upstream, keys: &self.tokens.keys, case };
        let command = engine.prepare(&self.programs, &seat)?;
        let mut process = Process::start(command, self.cores, &folder.path().join("output"))?;
        let requests = engine.requests(case, listen, &self.tokens)?;
        let Case { size, connections, idle, .. } = *case;
        let load = Load { address: listen, requests: &requests, size, connections, idle, rate };
        await_ready(driver, &mut process, &load)?;

        let proves = engine.checks_tokens();
        let before = if proves && engine.is_leeward() { Some(proof::Counted::read(admin)?) } else { None };
        let phases = self.run(driver, &process, &load)?;
        process.check()?;

        let mut faults = Vec::new();
        if proves {
            faults.extend(proof::work(phases.completed, phases.limited, phases.seen_in_all));
            faults.extend(proof::bad_token(listen, case, &self.tokens.bad)?);
        }
        if let Some(before) = before {
            let after = proof::Counted::read(admin)?;
            faults.extend(after.judge(&before, phases.completed));
            faults.extend(after.logged(&seat.access_log())?);
            faults.extend(proof::traced(phases.completed, phases.seen_in_all));
        }
        Ok(phases.sample(faults))
    }

    /// A folder that goes with the value.
    pub(super) fn folder(&self) -> Result<tempfile::TempDir, String> {
        let folder = tempfile::Builder::new().prefix("leeward-gateway-").tempdir_in(&self.dir);
        folder.map_err(|error| error.to_string())
    }

    fn run(&self, driver: &mut Driver, process: &Process, load: &Load<'_>) -> Result<Phases, String> {
        let seen_before = driver.seen();
        let mut run = driver.start(load)?;
        let warm = run.run(self.warm)?;
        let (from, cpu_before, seen_at_start) = (Instant::now(), process.usage()?, run.seen());
        let window = run.run(self.window)?;
        let (cpu, took) = (process.usage()?.since(&cpu_before), from.elapsed());
        let (seen, rss_kib) = (run.seen().since(seen_at_start), process.rss_kib()?);
        let rest = run.finish()?;
        let all = [&warm, &window, &rest];
        let sum = |count: fn(&Tally) -> u64| all.iter().map(|tally| count(tally)).sum();
        Ok(Phases {
            completed: sum(|tally| tally.completed),
            limited: sum(|tally| tally.limited),
            errors: sum(|tally| tally.errors),
            error: all.iter().find_map(|tally| tally.error.clone()),
            took,
            cpu,
            rss_kib,
            seen,
            seen_in_all: driver.seen().since(seen_before),
            window,
        })
    }
}

/// Asks until the first right answer.
pub(super) fn await_ready(driver: &mut Driver, process: &mut Process, load: &Load<'_>) -> Result<(), String> {
    let from = Instant::now();
    let probe = Load { connections: 1, idle: 0, rate: None, ..*load };
    let mut last = String::new();
    while from.elapsed() < READY_WITHIN {
        process.check()?;
        driver.serve(ASK_EVERY)?;
        if !listens(load.address) {
            continue;
        }
        match ask(driver, &probe) {
            Ok(tally) if tally.completed > 0 && tally.errors == 0 => return Ok(()),
            Ok(tally) => last = tally.error.unwrap_or_default(),
            Err(error) => last = error,
        }
    }
    Err(format!("not ready within {READY_WITHIN:?}: {last}\n{}", process.said()))
}

fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, ASK_EVERY).is_ok()
}

fn ask(driver: &mut Driver, probe: &Load<'_>) -> Result<Tally, String> {
    let mut run = driver.start(probe)?;
    let asked = run.run(ASK_EVERY)?;
    run.finish()?;
    Ok(asked)
}

impl Phases {
    #[allow(clippy::cast_precision_loss, reason = "counts of a run of seconds are far below 2^52")]
    fn sample(self, mut faults: Vec<String>) -> Sample {
        let Self { window, took, cpu, rss_kib, seen, errors, error, .. } = self;
        let completed = window.completed.max(1) as f64;
        let (due, seconds) = (completed + window.unsent as f64, took.as_secs_f64());
        if window.completed == 0 {
            faults.push("no request was answered".to_owned());
        }
        if errors > 0 {
            faults.push(format!("{errors} errors, the first: {}", error.unwrap_or_default()));
        }
        if self.seen_in_all.wrong > 0 {
            faults.push(format!("{} requests reached the upstream changed", self.seen_in_all.wrong));
        }
        let quantile = |at: f64| window.latency_ns.value_at_quantile(at) as f64 / 1e6;
        Sample {
            cpu_us: cpu.as_secs_f64() * 1e6 / completed,
            rps: completed / seconds,
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            rss_mib: rss_kib as f64 / 1_024.0,
            core_share: cpu.as_secs_f64() / seconds,
            errors,
            opened_share: seen.opened as f64 / completed,
            unsent_share: window.unsent as f64 / due,
            faults,
        }
    }
}
