//! The table and the `RESULT` line.

use serde_json::{Value, json};

use super::{Arguments, Sample};

/// What the writer is to reach with 16 or more callers on two cores.
const TARGET_TX_PER_S: f64 = 50_000.0;

/// From this many callers on.
const TARGET_CALLERS_MIN: usize = 16;

/// The samples of all rounds.
pub(super) struct Report {
    fs_type: &'static str,
    rounds: usize,
    rows: Vec<Row>,
}

struct Row {
    callers: usize,
    ours: Vec<Sample>,
    peer: Vec<Sample>,
}

impl Report {
    pub(super) fn new(fs_type: &'static str, arguments: &Arguments) -> Self {
        let row = |&callers| Row { callers, ours: Vec::new(), peer: Vec::new() };
        Self { fs_type, rounds: arguments.rounds, rows: arguments.callers.iter().map(row).collect() }
    }

    pub(super) fn ours(&mut self, row: usize, sample: Sample) {
        self.rows[row].ours.push(sample);
    }

    pub(super) fn peer(&mut self, row: usize, sample: Sample) {
        self.rows[row].peer.push(sample);
    }

    pub(super) fn print(&self) {
        println!("durable inserts, {}, synchronous=FULL, medians of {} rounds", self.fs_type, self.rounds);
        println!("callers  contender    tx/s  commits/s  syncs/s  p50 us  p99 us  CPU us/tx");
        for row in &self.rows {
            for (name, samples) in [("leeward", &row.ours), ("mutex", &row.peer)] {
                if let Some(median) = median(samples) {
                    println!("{:>7}  {name:<9} {}", row.callers, line(&median));
                }
            }
        }
        println!("RESULT {}", self.json());
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| json!({ "callers": row.callers, "leeward": object(&row.ours), "mutex": object(&row.peer) }))
            .collect();
        let reached = self
            .rows
            .iter()
            .filter(|row| row.callers >= TARGET_CALLERS_MIN)
            .filter_map(|row| median(&row.ours))
            .all(|sample| sample.tx_per_s >= TARGET_TX_PER_S);
        json!({
            "bench": "store",
            "fs_type": self.fs_type,
            "rounds": self.rounds,
            "target_tx_per_s": TARGET_TX_PER_S,
            "target_reached": reached,
            "rows": rows,
        })
    }
}

fn line(sample: &Sample) -> String {
    format!(
        "{:>8.0}   {:>8.0} {:>8.0} {:>7.0} {:>7.0}     {:>6.1}",
        sample.tx_per_s,
        sample.commits_per_s,
        sample.syncs_per_s,
        sample.p50_us,
        sample.p99_us,
        sample.cpu_us_per_tx
    )
}

fn object(samples: &[Sample]) -> Value {
    median(samples).map_or(Value::Null, |sample| {
        json!({
            "tx_per_s": sample.tx_per_s.round(),
            "commits_per_s": sample.commits_per_s.round(),
            "syncs_per_s": sample.syncs_per_s.round(),
            "p50_us": sample.p50_us.round(),
            "p99_us": sample.p99_us.round(),
            "cpu_us_per_tx": (sample.cpu_us_per_tx * 10.0).round() / 10.0,
        })
    })
}

/// The median of each figure by itself.
fn median(samples: &[Sample]) -> Option<Sample> {
    if samples.is_empty() {
        return None;
    }
    let of = |figure: fn(&Sample) -> f64| {
        let mut figures: Vec<f64> = samples.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Some(Sample {
        tx_per_s: of(|sample| sample.tx_per_s),
        commits_per_s: of(|sample| sample.commits_per_s),
        p50_us: of(|sample| sample.p50_us),
        p99_us: of(|sample| sample.p99_us),
        cpu_us_per_tx: of(|sample| sample.cpu_us_per_tx),
        syncs_per_s: of(|sample| sample.syncs_per_s),
    })
}
