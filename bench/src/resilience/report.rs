//! The table and the `RESULT` line.

use serde_json::{Value, json};

use super::peers::{Sample, Subject};
use crate::figures::{median, round};

/// What a row is to reach.
struct Target {
    case: &'static str,
    threads: usize,
    ns_max: f64,
}

const fn target(case: &'static str, threads: usize, ns_max: f64) -> Target {
    Target { case, threads, ns_max }
}

const TARGETS: [Target; 7] = [
    target("breaker_closed_core", 1, 15.0),
    target("breaker_closed", 1, 45.0),
    target("breaker_closed", 2, 60.0),
    target("breaker_closed_count_window", 2, 120.0),
    target("breaker_open", 1, 20.0),
    target("pipeline", 1, 250.0),
    target("pipeline_pending", 1, 600.0),
];

/// At two threads the breaker is to be so many times as fast as the best peer's.
const TIMES_FASTER: f64 = 3.0;

struct Row {
    subject: Subject,
    threads: usize,
    samples: Vec<Sample>,
}

/// The samples of all rounds.
pub(super) struct Report {
    rows: Vec<Row>,
}

/// A demand, and whether it is met.
struct Verdict {
    what: String,
    met: bool,
}

impl Report {
    pub(super) fn new(rows: impl Iterator<Item = (Subject, usize)>) -> Self {
        let row = |(subject, threads)| Row { subject, threads, samples: Vec::new() };
        Self { rows: rows.map(row).collect() }
    }

    pub(super) fn add(&mut self, row: usize, sample: Sample) {
        self.rows[row].samples.push(sample);
    }

    pub(super) fn print(&self, rounds: usize, skipped: Option<&str>) {
        println!("nanoseconds and allocations a call, medians of {rounds} rounds");
        println!(
            "{:<28} {:>7}  {:<22} {:>9} {:>7}  {:>12}  clock",
            "case", "threads", "lib", "ns", "allocs", "to best peer"
        );
        for row in &self.rows {
            println!("{}", self.line(row));
        }
        if let Some(reason) = skipped {
            println!("opossum and cockatiel: skipped, {reason}");
        }
        let verdicts = self.verdicts();
        for Verdict { what, met } in &verdicts {
            println!("{}  {what}", if *met { "met   " } else { "MISSED" });
        }
        println!("RESULT {}", self.json(rounds, skipped, &verdicts));
    }

    fn line(&self, row: &Row) -> String {
        let Subject { case, lib, clock, note, .. } = &row.subject;
        let allocs = row.allocs().map_or_else(|| "-".to_owned(), |allocs| format!("{allocs:.2}"));
        let ratio = self.to_best_peer(row).map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
        let (threads, ns) = (row.threads, row.ns());
        format!("{case:<28} {threads:>7}  {lib:<22} {ns:>9.1} {allocs:>7}  {ratio:>12}  {clock}{note}")
    }

    /// Our time as a part of the best peer's.
    fn to_best_peer(&self, row: &Row) -> Option<f64> {
        let best = self.best_peer(&[&row.subject.case], row.threads)?;
        (row.subject.is_ours() && row.subject.case != "clock_read").then(|| row.ns() / best.ns())
    }

    fn best_peer(&self, cases: &[&str], threads: usize) -> Option<&Row> {
        self.rows
            .iter()
            .filter(|row| !row.subject.is_ours() && row.threads == threads)
            .filter(|row| cases.contains(&row.subject.case.as_str()))
            .filter(|row| !row.samples.is_empty())
            .min_by(|one, other| one.ns().total_cmp(&other.ns()))
    }

    fn find(&self, case: &str, lib: &str, threads: usize) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.threads == threads && row.subject.case == case && row.subject.lib == lib)
    }

    fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for Target { case, threads, ns_max } in TARGETS {
            if let Some(row) = self.find(case, "leeward", threads) {
                let what = format!("{case} at {threads} threads: {:.1} of {ns_max} ns", row.ns());
                verdicts.push(Verdict { what, met: row.ns() <= ns_max });
            }
        }
        let count = "breaker_closed_count_window";
        let (ours, theirs) = (self.find(count, "leeward", 1), self.find(count, "recloser", 1));
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            let what = format!("{count} at 1 thread: {:.1} ns, recloser {:.1}", ours.ns(), theirs.ns());
            verdicts.push(Verdict { what, met: ours.ns() <= theirs.ns() });
        }
        let best = self.best_peer(&["breaker_closed", count], 2);
        if let (Some(ours), Some(best)) = (self.find("breaker_closed", "leeward", 2), best) {
            let times = best.ns() / ours.ns();
            let lib = &best.subject.lib;
            let what =
                format!("breaker_closed at 2 threads: {times:.1} of {TIMES_FASTER} times as fast as {lib}");
            verdicts.push(Verdict { what, met: times >= TIMES_FASTER });
        }
        let plain = self.rows.iter().filter(|row| row.subject.lib == "leeward");
        let most = plain.filter_map(Row::allocs).fold(0.0, f64::max);
        let what = format!("allocations a call: at most {most:.2} of 0");
        verdicts.push(Verdict { what, met: most == 0.0 });
        verdicts
    }

    fn json(&self, rounds: usize, skipped: Option<&str>, verdicts: &[Verdict]) -> Value {
        let row = |row: &Row| {
            let Subject { case, lib, clock, note, .. } = &row.subject;
            json!({
                "case": case, "threads": row.threads, "lib": lib, "ns": round(row.ns()), "allocs": row.allocs(),
                "clock": clock, "reads_clock": !clock.starts_with("none"), "note": note,
                "to_best_peer": self.to_best_peer(row).map(round),
            })
        };
        let verdict = |Verdict { what, met }: &Verdict| json!({ "target": what, "met": met });
        json!({
            "bench": "resilience",
            "rounds": rounds,
            "skipped": skipped,
            "targets": verdicts.iter().map(verdict).collect::<Vec<_>>(),
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

impl Row {
    fn ns(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.ns)).unwrap_or(f64::NAN)
    }

    fn allocs(&self) -> Option<f64> {
        median(self.samples.iter().filter_map(|sample| sample.allocs))
    }
}
