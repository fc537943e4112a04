//! A retry storm: the same five slow seconds, once without a retry budget and once with it.
//!
//! Run it with `cargo run -p leeward-resilience --example retry_storm`, or with `-- csv` behind it for the numbers.
//!
//! The upstream manages 1,000 calls a second and gets 700. For five seconds it is five times as slow. Without a budget
//! each failed call becomes three, so that the queue stays full when the upstream is well again, every answer comes after
//! its caller gave up, and the outage outlives its cause. With the budget at most a fifth is added, which it can bear.
#![allow(clippy::print_stdout, reason = "a program that shows something")]

use std::time::Duration;

use leeward_resilience::ConfigErrors;
use leeward_resilience::storm::{Client, Report, Storm, Weather};

/// The slow seconds are 10 to 15.
pub(crate) fn outage(with_budget: bool) -> Result<Report, ConfigErrors> {
    let storm = Storm {
        seconds: 40,
        client: Client { with_budget, ..Client::default() },
        script: vec![(Duration::from_secs(10), Weather::Slow(5.0)), (Duration::from_secs(15), Weather::Well)],
        ..Storm::default()
    };
    storm.run()
}

pub(crate) fn text(csv: bool) -> Result<String, ConfigErrors> {
    let mut text = String::new();
    for (title, with_budget) in [("without a retry budget", false), ("with the retry budget", true)] {
        let report = outage(with_budget)?;
        let shown = if csv { report.csv() } else { report.picture() };
        let (after, times) = (report.goodput(25, 40) * 100.0, report.amplification(25, 40));
        text += &format!(
            "{title}: ten seconds after the outage {after:.0} % good, {times:.1} attempts a call\n{shown}\n"
        );
    }
    Ok(text)
}

pub(crate) fn main() -> Result<(), ConfigErrors> {
    let csv = std::env::args().any(|argument| argument == "csv");
    print!("{}", text(csv)?);
    Ok(())
}
