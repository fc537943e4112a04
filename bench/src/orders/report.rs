//! What the benchmark prints: what it does while it does it, a table, and the `RESULT` line.

use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::Arguments;
use super::load::Step;
use super::oracle::Check;
use crate::process::{Memory, load_average};

/// What is to be reached on two cores.
const TARGETS: &str = "500 completed/s (300 at least), checkout p99 20 ms and completion p50 30 ms at half of it, \
                       ready in 1 s, idle below 80 MiB";

/// All figures.
#[derive(Debug)]
pub(super) struct Report {
    fs_type: &'static str,
    ready: Vec<Duration>,
    first_order: Vec<Duration>,
    idle_kib: u64,
    peak_kib: u64,
    has_head: bool,
}

impl Report {
    pub(super) fn new(fs_type: &'static str) -> Self {
        Self {
            fs_type,
            ready: Vec::new(),
            first_order: Vec::new(),
            idle_kib: 0,
            peak_kib: 0,
            has_head: false,
        }
    }

    pub(super) fn begin(&self, folder: &Path, arguments: &Arguments) {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!(
            "orders through {}, data in {} ({})",
            arguments.binary.display(),
            folder.display(),
            self.fs_type
        );
        println!("{cores} cores for shop and driver together, load average before {}", load_average());
        match &arguments.config {
            Some(config) => {
                println!("the gateway runs with {}, not with its built-in configuration", config.display())
            }
            None => println!("the gateway runs with its built-in configuration, rate limits among it"),
        }
        println!("targets: {TARGETS}\n");
    }

    pub(super) fn start(&mut self, ready: Duration, first_order: Duration) {
        println!(
            "start {}: ready after {:.0} ms, first order confirmed after {:.0} ms (load average {})",
            self.ready.len() + 1,
            ms(ready),
            ms(first_order),
            load_average()
        );
        self.ready.push(ready);
        self.first_order.push(first_order);
    }

    pub(super) fn idle(&mut self, memory: Memory) {
        self.idle_kib = memory.rss_kib;
        println!(
            "idle: {:.1} MiB resident, at most {:.1} MiB so far",
            mib(memory.rss_kib),
            mib(memory.peak_kib)
        );
    }

    /// A bar on a terminal; nothing elsewhere.
    pub(super) fn progress(&self, length: usize, what: &'static str) -> ProgressBar {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} {eta}");
        let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX)).with_message(what);
        style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
    }

    pub(super) fn prepared(&self, customers: usize, took: Duration, memory: Memory) {
        println!(
            "{customers} customers registered and logged in within {:.1} s, {:.1} MiB resident after it\n",
            took.as_secs_f64(),
            mib(memory.rss_kib)
        );
    }

    pub(super) fn step(&mut self, step: &Step) {
        if !self.has_head {
            println!(
                "  rate completed/s  checkout p50 / p99 ms  order p50 / p99 ms  completion p50 / p99 ms (own clock)  \
                 in flight by quarter, peak     CPU ms  driver ms  others  load"
            );
            self.has_head = true;
        }
        let [first, second, third, last] = step.in_flight;
        println!(
            "{:>6} {:>11.1} {:>13.1} / {:>5.1} {:>12.1} / {:>5.1} {:>13.1} / {:>5.1} ({:>4} / {:>4}) {:>9.0} {:>5.0} {:>5.0} \
             {:>5.0} {:>6} {:>9.2} {:>10.2} {:>6.0}% {:>5}",
            step.rate,
            step.completed_per_s(),
            quantile(&step.checkout_ns, 0.5),
            quantile(&step.checkout_ns, 0.99),
            quantile(&step.order_ns, 0.5),
            quantile(&step.order_ns, 0.99),
            quantile(&step.completion_ns, 0.5),
            quantile(&step.completion_ns, 0.99),
            step.own_completion_ms.0,
            step.own_completion_ms.1,
            first,
            second,
            third,
            last,
            step.in_flight_peak,
            step.per_order(ms(step.cpu.server)),
            step.per_order(ms(step.cpu.driver)),
            step.cores(step.cpu.others()) * 100.0,
            step.load_average,
        );
        if let Some(reason) = step.unsteady_since() {
            println!("       not steady: {reason}");
        }
        for (refusal, count) in &step.refusals {
            println!("       {count} times {refusal}");
        }
        if step.unwatched > 0 {
            println!("       {} orders of the sample were not watched", step.unwatched);
        }
    }

    pub(super) fn memory_after(&mut self, memory: Memory) {
        self.peak_kib = memory.peak_kib;
        println!(
            "\nafter the load: {:.1} MiB resident, {:.1} MiB at most",
            mib(memory.rss_kib),
            mib(memory.peak_kib)
        );
    }

    /// The table's rest, the checks and the `RESULT` line.
    pub(super) fn end(&self, best: &Step, half: &Step, checks: &[Check]) -> Result<(), String> {
        for (name, step) in [("highest steady rate", best), ("half of it", half)] {
            detail(name, step);
        }
        println!("\nchecks after the drain:");
        for check in checks {
            let verdict =
                if check.broken == 0 { "holds".to_owned() } else { format!("BROKEN {} times", check.broken) };
            println!("  {verdict:<16} {}", check.rule);
        }
        let broken = checks.iter().filter(|check| check.broken > 0).count();
        if broken > 0 {
            return Err(format!("{broken} rules are broken: the figures above are worth nothing"));
        }
        println!("RESULT {}", self.json(best, half));
        Ok(())
    }

    fn json(&self, best: &Step, half: &Step) -> serde_json::Value {
        let (commits, syncs) = (half.per_order(half.counts.commits()), half.per_order(syncs_of(half)));
        json!({
            "bench": "orders",
            "completed_per_s": tenth(best.completed_per_s()),
            "checkout_p50_ms": tenth(quantile(&half.checkout_ns, 0.5)),
            "checkout_p99_ms": tenth(quantile(&half.checkout_ns, 0.99)),
            "completion_p50_ms": tenth(quantile(&half.completion_ns, 0.5)),
            "completion_p99_ms": tenth(quantile(&half.completion_ns, 0.99)),
            "ready_ms": tenth(ms(median(&self.ready))),
            "first_order_ms": tenth(ms(median(&self.first_order))),
            "idle_rss_mib": tenth(mib(self.idle_kib)),
            "peak_rss_mib": tenth(mib(self.peak_kib)),
            "cpu_ms_per_order": hundredth(half.per_order(ms(half.cpu.server))),
            "commits_per_order": hundredth(commits),
            "fsyncs_per_order": hundredth(syncs),
            "fsyncs_by": if half.syncs.is_some() { "kernel" } else { "databases" },
            "fs_type": self.fs_type,
            "half_rate": half.rate,
            "at_best": {
                "cpu_ms_per_order": hundredth(best.per_order(ms(best.cpu.server))),
                "commits_per_order": hundredth(best.per_order(best.counts.commits())),
                "fsyncs_per_order": hundredth(best.per_order(syncs_of(best))),
                "checkout_p99_ms": tenth(quantile(&best.checkout_ns, 0.99)),
                "completion_p50_ms": tenth(quantile(&best.completion_ns, 0.5)),
            },
            "driver_cpu_ms_per_order": hundredth(half.per_order(ms(half.cpu.driver))),
            "others_cpu_cores": hundredth(best.cores(best.cpu.others())),
            "seconds": best.seconds,
        })
    }
}

/// The kernel's count where there is one.
#[allow(clippy::cast_precision_loss, reason = "counts of a run of minutes are far below 2^52")]
fn syncs_of(step: &Step) -> f64 {
    step.syncs.map_or_else(|| step.counts.syncs(), |syncs| syncs as f64)
}

fn detail(name: &str, step: &Step) {
    println!("\n{name}, {:.1} orders/s:", step.completed_per_s());
    println!(
        "  CPU of the shop {:.2} ms an order ({:.0} % of a core), of the driver {:.2} ms ({:.0} %), of everything else {:.0} %",
        step.per_order(ms(step.cpu.server)),
        step.cores(step.cpu.server) * 100.0,
        step.per_order(ms(step.cpu.driver)),
        step.cores(step.cpu.driver) * 100.0,
        step.cores(step.cpu.others()) * 100.0,
    );
    println!("  orders started late by {:.2} ms at the 99th percentile", quantile(&step.late_ns, 0.99));
    let (commits, syncs) = (step.per_order(step.counts.commits()), step.per_order(step.counts.syncs()));
    println!(
        "  {commits:.2} commits and {syncs:.2} syncs an order by the databases' own count (the provider, outside, counts in the kernel's alone):"
    );
    for (server, commits, syncs) in step.counts.each() {
        println!("    {server:<14} {:>6.2} {:>6.2}", step.per_order(commits), step.per_order(syncs));
    }
    match step.syncs {
        Some(_) => println!(
            "  {:.2} fdatasync and fsync an order by the kernel's count",
            step.per_order(syncs_of(step))
        ),
        None => {
            println!("  the kernel could not be asked for its count of syncs: `perf` is missing or may not")
        }
    }
}

fn quantile(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    ms(Duration::from_nanos(histogram.value_at_quantile(quantile)))
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[allow(clippy::cast_precision_loss, reason = "memory of a process in KiB")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn tenth(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

fn hundredth(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}
