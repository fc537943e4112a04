//! Reloads under load: a gateway with 5,000 routes gets another value in each of them, again and again, while clients go on asking.
//!
//! A reload is live at the first right answer of a route that only the new configuration has; its time runs from before the operator's
//! call. Another thread asks for it, since the driver is busy with the load.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use super::case::MANY_ROUTES;
use super::driver::{Driver, Load};
use super::engine::leeward::{bare_text, command, path_of_edition};
use super::engine::{Engine, Seat, free_address};
use super::measure::{Bench, await_ready};
use super::process::Process;
use crate::figures::{median, round};
use crate::http::Http;

/// Reloads.
const RELOADS: u32 = 10;
/// The pause between two of them.
const PAUSE: Duration = Duration::from_millis(700);
/// A reload that takes longer than this does not come.
const LIVE_WITHIN: Duration = Duration::from_secs(10);
/// How often it is asked whether it came.
const ASK_EVERY: Duration = Duration::from_millis(1);
/// Longest run: every reload as slow as it may be.
const LONGEST: Duration = Duration::from_secs(120);
/// Requests a second, where nobody says.
const RATE: f64 = 4_000.0;

/// What the reloads did.
#[derive(Clone, Debug)]
pub(super) struct Reloads {
    /// Milliseconds until each was live.
    live_ms: Vec<f64>,
    requests: u64,
    pub(super) failed: u64,
    /// The first that failed.
    pub(super) error: Option<String>,
    p99_ms: f64,
    rate: f64,
}

impl Reloads {
    /// The one in the middle.
    pub(super) fn median_ms(&self) -> f64 {
        median(self.live_ms.iter().copied()).unwrap_or(f64::NAN)
    }

    fn most_ms(&self) -> f64 {
        self.live_ms.iter().copied().fold(0.0, f64::max)
    }

    pub(super) fn line(&self) -> String {
        format!(
            "reload_under_load   {} routes live after {:.1} ms (median of {}, most {:.1}); {} requests at {:.0}/s, p99 {:.2} ms, failed {}",
            MANY_ROUTES.routes,
            self.median_ms(),
            self.live_ms.len(),
            self.most_ms(),
            self.requests,
            self.rate,
            self.p99_ms,
            self.failed
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "routes": MANY_ROUTES.routes, "reloads": self.live_ms.len(), "live_ms": round(self.median_ms()),
            "live_ms_max": round(self.most_ms()), "requests": self.requests, "rate": self.rate.round(),
            "p99_ms": round(self.p99_ms), "failed": self.failed,
        })
    }
}

/// Loads a gateway at `rate` requests a second and reloads it.
///
/// # Errors
/// A gateway that does not run, or a reload that does not come into force.
#[allow(clippy::cast_precision_loss, reason = "nanoseconds of a minute are far below 2^52")]
pub(super) fn run(bench: &Bench, driver: &mut Driver, rate: Option<f64>) -> Result<Reloads, String> {
    let case = &MANY_ROUTES;
    let folder = bench.folder()?;
    let (listen, admin, upstream) = (free_address()?, free_address()?, driver.upstream()?);
    let seat = Seat { folder: folder.path(), listen, admin, upstream, keys: &bench.tokens.keys, case };
    let file = folder.path().join("leeward.yaml");
    let editions: Vec<String> = (0..=RELOADS).map(|edition| bare_text(&seat, Some(edition))).collect();
    replace(&file, &editions[0])?;
    let command = command(&bench.programs.leeward, &seat, file.clone());
    let mut process = Process::start(command, bench.cores, &folder.path().join("output"))?;
    let requests = Engine::LeewardBare.requests(case, listen, &bench.tokens)?;
    let rate = rate.unwrap_or(RATE);
    let load = Load {
        address: listen,
        requests: &requests,
        size: case.size,
        connections: case.connections,
        idle: 0,
        rate: Some(rate),
    };
    await_ready(driver, &mut process, &load)?;

    let operator = std::thread::spawn(move || -> Result<Vec<f64>, String> {
        (1..=RELOADS)
            .map(|edition| {
                std::thread::sleep(PAUSE);
                replace(&file, &editions[edition as usize])?;
                reload(listen, admin, edition).map(|took| took.as_secs_f64() * 1_000.0)
            })
            .collect()
    });
    let mut run = driver.start(&load)?;
    let tally = run.run_until(LONGEST, || operator.is_finished())?;
    let rest = run.finish()?;
    let live_ms = operator.join().map_err(|_| "the operator panicked".to_owned())??;
    process.check()?;
    Ok(Reloads {
        live_ms,
        requests: tally.completed + rest.completed,
        failed: tally.errors + rest.errors,
        error: tally.error.or(rest.error),
        p99_ms: tally.latency_ns.value_at_quantile(0.99) as f64 / 1e6,
        rate,
    })
}

/// Puts another file in the place of the one before, in one step.
fn replace(file: &Path, text: &str) -> Result<(), String> {
    let new = file.with_extension("new");
    std::fs::write(&new, text)
        .and_then(|()| std::fs::rename(&new, file))
        .map_err(|error| format!("{}: {error}", file.display()))
}

/// Asks for a reload, and meanwhile for what only the new configuration has.
fn reload(listen: SocketAddr, admin: SocketAddr, edition: u32) -> Result<Duration, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (operator, client) = (Http::new(admin)?, Http::new(listen)?);
        let path = format!("{}/1k", path_of_edition(edition));
        let from = Instant::now();
        let called = async {
            let answer = operator.send(operator.request(Method::POST, "/v1/reload", "")).await?;
            if answer.status == 200 { Ok(()) } else { Err(format!("the reload: {}", answer.text())) }
        };
        let live = async {
            while client.get(&path).await?.status != 200 {
                if from.elapsed() > LIVE_WITHIN {
                    return Err(format!("edition {edition} was not live within {LIVE_WITHIN:?}"));
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
            Ok(from.elapsed())
        };
        let (called, live) = tokio::join!(called, live);
        called.and(live)
    })
}
