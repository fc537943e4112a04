//! How long an engine takes from the start of its process to the first right answer.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::case::CASES;
use super::driver::{Driver, Load};
use super::engine::{Engine, Seat, free_address};
use super::measure::Bench;
use super::process::Process;
use crate::figures::median;

/// Starts of each engine; the figure is their median.
const STARTS: usize = 5;
/// An engine that takes longer than this to answer never will.
const WITHIN: Duration = Duration::from_secs(15);
/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(1);
/// How long an answer may take, where there will be one.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The median of several starts of each engine, in milliseconds. They take turns.
///
/// # Errors
/// An engine that does not start.
pub(super) fn run(
    bench: &Bench,
    driver: &mut Driver,
    engines: &[Engine],
) -> Result<Vec<(Engine, f64)>, String> {
    let mut taken = vec![Vec::with_capacity(STARTS); engines.len()];
    for _ in 0..STARTS {
        for (engine, taken) in engines.iter().zip(&mut taken) {
            let took = once(bench, driver, *engine).map_err(|error| format!("{}: {error}", engine.name()))?;
            taken.push(took.as_secs_f64() * 1_000.0);
        }
    }
    let medians =
        engines.iter().zip(taken).filter_map(|(engine, taken)| Some((*engine, median(taken.into_iter())?)));
    Ok(medians.collect())
}

fn once(bench: &Bench, driver: &mut Driver, engine: Engine) -> Result<Duration, String> {
    let case = &CASES[0];
    let folder = bench.folder()?;
    let (listen, admin, upstream) = (free_address()?, free_address()?, driver.upstream()?);
    let seat = Seat { folder: folder.path(), listen, admin, upstream, keys: &bench.tokens.keys, case };
    let command = engine.prepare(&bench.programs, &seat)?;
    let requests = engine.requests(case, listen, &bench.tokens)?;
    let load = Load {
        address: listen,
        requests: &requests[..1],
        size: case.size,
        connections: 1,
        idle: 0,
        rate: None,
    };
    let from = Instant::now();
    let mut process = Process::start(command, bench.cores, &folder.path().join("output"))?;
    while from.elapsed() < WITHIN {
        process.check()?;
        driver.serve(ASK_EVERY)?;
        if TcpStream::connect(listen).is_err() {
            continue;
        }
        let mut run = driver.start(&load)?;
        if run.until_answered(ANSWER_WITHIN)? {
            let took = from.elapsed();
            run.finish()?;
            return Ok(took);
        }
    }
    Err(format!("no right answer within {WITHIN:?}\n{}", process.said()))
}
