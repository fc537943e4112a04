//! `resilience`: what each policy costs a call that goes well, beside the same policy of others.
//!
//! Every library runs in the same loop, in `bench/peers/resilience`, which is a workspace of its own and built here on
//! demand; those of Node.js run in `bench/peers/resilience-node`, when node and npm are there. One measurement is one
//! process. Within a round all libraries of a case take turns, so that a disturbance hits none alone; the figures are the
//! medians of the rounds. On a machine that is too busy to run the threads together a row stays empty. Each measurement first proves that the case does its work: that an open breaker rejects, that a
//! limit limits, that failures and successes are counted.

mod peers;
mod report;

use std::path::PathBuf;

use peers::{Peers, Subject};
use report::Report;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; each measures every row once, and the report has the medians.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Milliseconds a row and round.
    #[arg(long, default_value_t = 100)]
    millis: u64,
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Only these cases.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Where the sources of the peers are.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/peers"))]
    peers: PathBuf,
    /// Leave out the libraries of Node.js.
    #[arg(long)]
    no_node: bool,
}

/// Runs the benchmark.
///
/// # Errors
/// When the peers cannot be built, or a library does not do the work that is measured.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let peers = Peers::build(&arguments.peers, arguments.no_node)?;
    let wanted = |subject: &Subject| arguments.cases.is_empty() || arguments.cases.contains(&subject.case);
    let subjects: Vec<Subject> = peers.subjects()?.into_iter().filter(wanted).collect();
    let mut rows = Vec::new();
    for subject in &subjects {
        for &threads in &arguments.threads {
            if threads == 1 || !subject.one_thread {
                rows.push((subject, threads));
            }
        }
    }
    // By case and threads, so that those stand side by side that are compared.
    rows.sort_by_key(|(subject, threads)| (peers::order(&subject.case), *threads));
    let mut report = Report::new(rows.iter().map(|(subject, threads)| ((*subject).clone(), *threads)));
    for round in 0..arguments.rounds {
        for index in 0..rows.len() {
            // Each round starts elsewhere, so that nobody always follows the same one.
            let index = (index + round) % rows.len();
            let (subject, threads) = rows[index];
            match peers.measure(subject, threads, arguments.millis)? {
                Some(sample) => report.add(index, sample),
                None => {
                    eprintln!("{}, {}: the {threads} threads hardly ran together", subject.case, subject.lib)
                }
            }
        }
        eprintln!("round {} of {}", round + 1, arguments.rounds);
    }
    report.print(arguments.rounds, peers.skipped());
    Ok(())
}
