//! The table and the `RESULT` line.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::case::Case;
use super::engine::Engine;
use super::goals;
use super::lookup;
use super::measure::{Sample, Samples};
use super::reload::Reloads;
use crate::figures::{median, round};
use crate::process::load_average;

/// One figure of a sample.
pub(super) type Figure = fn(&Sample) -> f64;

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Report {
    engines: Vec<Engine>,
    /// By case, in their order; each with its rounds.
    cases: Vec<(Case, Vec<Samples>)>,
    absent: Vec<Engine>,
    faults: Vec<String>,
}

impl Report {
    pub(super) fn new(engines: &[Engine], absent: Vec<Engine>, cases: &[Case]) -> Self {
        println!("gateways, each on a core of its own; load average before {}", load_average());
        for engine in &absent {
            println!("{} is not installed, and left out (bench/README.md)", engine.name());
        }
        let cases = cases.iter().map(|&case| (case, Vec::new())).collect();
        Self { engines: engines.to_vec(), cases, absent, faults: Vec::new() }
    }

    /// A case of a round is being repeated, or is not.
    pub(super) fn faults(&self, case: &Case, faults: &[String], again: bool) {
        let then = if again { "once more" } else { "it counts as it is, and the run fails" };
        for fault in faults {
            eprintln!("{}: {fault}: {then}", case.name);
        }
    }

    /// Takes what a case of a round measured, with what is still wrong with it.
    pub(super) fn add(&mut self, case: &Case, samples: Samples, faults: Vec<String>) {
        for (engine, sample) in &samples {
            eprintln!(
                "{:<15} {:<20} {:>8.2} us {:>8.0}/s p99 {:>8.2} ms, core {:.2}, load {}",
                case.name,
                engine.name(),
                sample.cpu_us,
                sample.rps,
                sample.p99_ms,
                sample.core_share,
                load_average()
            );
        }
        self.faults.extend(faults.into_iter().map(|fault| format!("{}: {fault}", case.name)));
        if let Some((_, rounds)) = self.cases.iter_mut().find(|(known, _)| known == case) {
            rounds.push(samples);
        }
    }

    /// Half of the requests a second that nginx does where the rates are read from.
    pub(super) fn half_of_nginx(&self) -> Option<f64> {
        let (_, rounds) = self.cases.iter().find(|(case, _)| case.is_reference())?;
        median(each(Engine::Nginx, rounds).map(|sample| sample.rps / 2.0))
    }

    /// The table and the last line.
    ///
    /// # Errors
    /// When a round stayed invalid.
    pub(super) fn end(&mut self, beside: &Beside, about: &Value) -> Result<(), String> {
        println!(
            "\n{:<15} {:<20} {:>8} {:>8} {:>9} {:>9} {:>8} {:>6} {:>8} {:>8}",
            "case", "engine", "CPU us", "req/s", "p50 ms", "p99 ms", "MiB", "errors", "x nginx", "x floor"
        );
        let (mut rows, mut ratios) = (Vec::new(), BTreeMap::new());
        for (case, rounds) in &self.cases {
            let mut of_case = BTreeMap::new();
            for &engine in &self.engines {
                let Some(row) = Row::of(engine, rounds) else { continue };
                println!("{:<15} {:<20} {}", case.name, engine.name(), row.line());
                rows.push(row.json(engine, case));
                of_case.insert(engine.name(), row.ratios());
            }
            ratios.insert(case.name, of_case);
        }
        beside.print();
        if let Some(reloads) = beside.reloads.as_ref().filter(|reloads| reloads.failed > 0) {
            let error = reloads.error.as_deref().unwrap_or_default();
            self.faults.push(format!("reload_under_load: {} failed, the first: {error}", reloads.failed));
        }
        let goals = goals::goals(&self.cases, beside);
        goals::print(&goals);
        let absent: Vec<&str> = self.absent.iter().map(|engine| engine.name()).collect();
        let result = json!({
            "bench": "gateway", "rows": rows, "ratios": ratios, "beside": beside.json(), "goals": goals::json(&goals),
            "about": about, "absent": absent,
            "valid": self.faults.is_empty(), "faults": self.faults, "load_average": load_average(),
        });
        println!("RESULT {result}");
        if self.faults.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{} faults stayed, so that the figures above do not count:\n{}",
            self.faults.len(),
            self.faults.join("\n")
        ))
    }
}

/// What is measured beside the cases.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub(super) lookups: Vec<lookup::Cost>,
    pub(super) reloads: Option<Reloads>,
    pub(super) starts: Vec<(Engine, f64)>,
}

impl Beside {
    fn print(&self) {
        println!();
        for lookup::Cost { kind, nanos } in &self.lookups {
            println!("route_lookup_ns     {kind:<12} {nanos:>6.0}");
        }
        if let Some(reloads) = &self.reloads {
            println!("{}", reloads.line());
        }
        for (engine, ms) in &self.starts {
            println!("start_ms            {:<20} {ms:>6.1}", engine.name());
        }
    }

    fn json(&self) -> Value {
        let lookups: BTreeMap<_, _> =
            self.lookups.iter().map(|cost| (cost.kind, cost.nanos.round())).collect();
        let starts: BTreeMap<_, _> =
            self.starts.iter().map(|(engine, ms)| (engine.name(), round(*ms))).collect();
        let reloads = self.reloads.as_ref().map(Reloads::json);
        json!({ "route_lookup_ns": lookups, "reload_under_load": reloads, "start_ms": starts })
    }
}

/// The medians of one engine's rounds.
struct Row {
    sample: Sample,
    /// To nginx within the same round: CPU, requests a second, 99th percentile.
    to_nginx: [Option<f64>; 3],
    /// CPU to the floor's.
    to_floor: Option<f64>,
}

impl Row {
    fn of(engine: Engine, rounds: &[Samples]) -> Option<Self> {
        let of = |figure: Figure| median(each(engine, rounds).map(figure));
        let cpu: Figure = |sample| sample.cpu_us;
        let rps: Figure = |sample| sample.rps;
        let p99: Figure = |sample| sample.p99_ms;
        Some(Self {
            sample: Sample {
                cpu_us: of(cpu)?,
                rps: of(rps)?,
                p50_ms: of(|sample| sample.p50_ms)?,
                p99_ms: of(p99)?,
                rss_mib: of(|sample| sample.rss_mib)?,
                core_share: of(|sample| sample.core_share)?,
                errors: each(engine, rounds).map(|sample| sample.errors).sum(),
                opened_share: of(|sample| sample.opened_share)?,
                unsent_share: of(|sample| sample.unsent_share)?,
                faults: Vec::new(),
            },
            to_nginx: [cpu, rps, p99].map(|figure| ratio(rounds, engine, Engine::Nginx, figure)),
            to_floor: ratio(rounds, engine, Engine::Floor, cpu),
        })
    }

    fn line(&self) -> String {
        let Sample { cpu_us, rps, p50_ms, p99_ms, rss_mib, errors, unsent_share, .. } = self.sample;
        let shown = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let (nginx, floor) = (shown(self.to_nginx[0]), shown(self.to_floor));
        let behind = if unsent_share > 0.01 {
            format!("  {:.0} % not sent in time", unsent_share * 100.0)
        } else {
            String::new()
        };
        format!(
            "{cpu_us:>8.2} {rps:>8.0} {p50_ms:>9.2} {p99_ms:>9.2} {rss_mib:>8.1} {errors:>6} {nginx:>8} {floor:>8}{behind}"
        )
    }

    fn json(&self, engine: Engine, case: &Case) -> Value {
        let sample = &self.sample;
        json!({
            "engine": engine.name(), "case": case.name, "cpu_us": round(sample.cpu_us), "rps": sample.rps.round(),
            "p50_ms": round(sample.p50_ms), "p99_ms": round(sample.p99_ms), "rss_mib": round(sample.rss_mib),
            "errors": sample.errors, "core_share": round(sample.core_share),
            "upstream_opened_share": round(sample.opened_share), "unsent_share": round(sample.unsent_share),
        })
    }

    fn ratios(&self) -> Value {
        let [cpu, rps, p99] = self.to_nginx.map(|ratio| ratio.map(round));
        json!({ "cpu_to_nginx": cpu, "rps_to_nginx": rps, "p99_to_nginx": p99, "cpu_to_floor": self.to_floor.map(round) })
    }
}

pub(super) fn each(engine: Engine, rounds: &[Samples]) -> impl Iterator<Item = &Sample> {
    let of_engine = move |samples: &Samples| samples.iter().position(|(other, _)| *other == engine);
    rounds.iter().filter_map(move |samples| of_engine(samples).map(|at| &samples[at].1))
}

/// The median of the ratios within each round: a machine that slows down slows both.
pub(super) fn ratio(rounds: &[Samples], engine: Engine, to: Engine, figure: Figure) -> Option<f64> {
    let ratios = rounds.iter().filter_map(|round| {
        let of = |engine| each(engine, std::slice::from_ref(round)).next().map(figure);
        Some(of(engine)? / of(to)?).filter(|ratio| ratio.is_finite())
    });
    median(ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu_us: f64) -> Sample {
        Sample {
            cpu_us,
            rps: 1.0,
            p50_ms: 1.0,
            p99_ms: 1.0,
            rss_mib: 1.0,
            core_share: 1.0,
            errors: 1,
            opened_share: 0.0,
            unsent_share: 0.0,
            faults: Vec::new(),
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine halves its speed in the second round: the ratio of the medians would be 30 / 20.
        let round = |nginx, ours| vec![(Engine::Nginx, sample(nginx)), (Engine::LeewardBare, sample(ours))];
        let rounds = [round(10.0, 30.0), round(20.0, 60.0), round(40.0, 28.0)];
        let cpu: Figure = |sample| sample.cpu_us;
        assert_eq!(ratio(&rounds, Engine::LeewardBare, Engine::Nginx, cpu), Some(3.0));
        assert_eq!(ratio(&rounds, Engine::LeewardBare, Engine::Floor, cpu), None);
        let row = Row::of(Engine::LeewardBare, &rounds);
        assert_eq!(row.map(|row| (row.sample.cpu_us, row.sample.errors)), Some((30.0, 3)));
    }
}
