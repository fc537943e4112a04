//! One measurement of one resilience library in one case, by the same loop for all of them, Leeward's among them.
//!
//! `list` prints what there is, one JSON object a line; `run CASE LIB THREADS MILLIS` proves that the case does its work,
//! measures it, and prints `{"ns": .., "allocs": ..}`: nanoseconds and allocations a call. `leeward-bench resilience` builds
//! and drives it.

mod failsafe_crate;
mod governor_crate;
mod harness;
mod leeward;
mod recloser_crate;
mod tower_crate;
mod tower_resilience_crate;

use std::process::ExitCode;

use harness::{Run, Subject};

fn subjects() -> Vec<Subject> {
    [
        harness::subjects(),
        leeward::subjects(),
        recloser_crate::subjects(),
        failsafe_crate::subjects(),
        governor_crate::subjects(),
        tower_crate::subjects(),
        tower_resilience_crate::subjects(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match answer(&arguments) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn answer(arguments: &[&str]) -> Result<String, String> {
    match arguments {
        ["list"] => Ok(subjects().iter().map(Subject::json).collect::<Vec<_>>().join("\n")),
        ["run", case, lib, threads, millis] => {
            let subjects = subjects();
            let subject = subjects
                .iter()
                .find(|subject| subject.case == *case && subject.lib == *lib)
                .ok_or_else(|| format!("no {lib} in {case}"))?;
            let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
            let run = Run { threads: number(threads)? as usize, millis: number(millis)? };
            let sample = (subject.measure)(&run).map_err(|message| format!("{case}, {lib}: {message}"))?;
            Ok(sample.json())
        }
        _ => Err("list, or: run CASE LIB THREADS MILLIS".to_owned()),
    }
}
