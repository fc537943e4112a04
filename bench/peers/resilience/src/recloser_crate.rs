//! `recloser`: a ring of the last so many calls, lock-free.

use std::time::Duration;

use recloser::{Error, Recloser};

use crate::harness::{Run, Sample, Subject, expect, measure};

const LIB: &str = "recloser";

pub fn subjects() -> Vec<Subject> {
    vec![
        Subject::new("breaker_closed", LIB, "none", closed)
            .note("a window of 100 calls: it has no window of time"),
        Subject::new("breaker_closed_count_window", LIB, "none", closed),
        Subject::new("breaker_open", LIB, "std once", open),
    ]
}

fn breaker() -> Recloser {
    Recloser::custom().error_rate(0.5).closed_len(100).open_wait(Duration::from_secs(60)).build()
}

fn fail(breaker: &Recloser) -> bool {
    matches!(breaker.call(|| Err::<(), u32>(1)), Err(Error::Inner(1)))
}

fn opens(breaker: &Recloser) -> Result<(), String> {
    let failures = (0..1000).take_while(|_| fail(breaker)).count();
    expect((50..1000).contains(&failures), &format!("{failures} failures in a row passed"))
}

fn closed(run: &Run) -> Result<Sample, String> {
    opens(&breaker())?;
    let breaker = breaker();
    let sample = measure(run, || || assert!(breaker.call(|| Ok::<u32, u32>(7)).is_ok()))?;
    opens(&breaker)?;
    Ok(sample)
}

fn open(run: &Run) -> Result<Sample, String> {
    let breaker = breaker();
    opens(&breaker)?;
    measure(run, || || assert!(breaker.call(|| Ok::<u32, u32>(7)).is_err()))
}
