//! `gateway-faults`: what the gateway makes of services with too much to do, or that fail.
//!
//! The gateway runs as a process of its own with a few lines of configuration: no limit in it is made for the service
//! behind it. Services are processes too, with a capacity that is known and changes. Load comes in an open loop: it does
//! not slow down when answers do. Each case has bounds, and the run fails when the median of its rounds is beyond one.

mod instances;
mod load;
mod overload;
mod own;
mod storm;
mod upstream;
mod verdict;
mod world;

use std::path::PathBuf;

use serde_json::json;
use tokio::task::LocalSet;

pub(crate) use self::upstream::{Arguments as UpstreamArguments, run as serve};
use self::verdict::Row;
use crate::process::load_average;

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The binary under test [default: `leeward` beside this program].
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Only these cases.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Rounds of each case; what counts is their median.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The service's capacity, in shares of 800 requests a second.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Options of the service in the gateway's configuration beside its address, as `adaptive: off`; none leaves the defaults alone.
    #[arg(long, default_value = "")]
    service: String,
    #[command(flatten)]
    own: own::Arguments,
}

/// Runs the cases.
///
/// # Errors
/// When something does not run, or a median is beyond its bound.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let binary = arguments.binary.clone().unwrap_or_else(|| program.with_file_name("leeward"));
    let names: Vec<&str> = names();
    if let Some(unknown) = arguments.cases.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("`{unknown}` is none of {}", names.join(", ")));
    }
    let wanted = |name: &&str| arguments.cases.is_empty() || arguments.cases.iter().any(|it| it == name);
    let wanted: Vec<&str> = names.into_iter().filter(wanted).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let mut rows: Vec<Row> = Vec::new();
    println!("gateway and faults; load average before {}", load_average());
    for round in 0..arguments.rounds.max(1) {
        for name in &wanted {
            let row = LocalSet::new().block_on(&runtime, case(name, arguments, &binary))?;
            eprintln!("{round} {}", row.line());
            rows.push(row);
        }
    }
    end(&wanted, &rows, arguments)
}

fn end(wanted: &[&str], rows: &[Row], arguments: &Arguments) -> Result<(), String> {
    let (mut medians, mut faults) = (Vec::new(), Vec::new());
    for name in wanted {
        let of_case: Vec<&Row> = rows.iter().filter(|row| row.case() == *name).collect();
        let Some(row) = Row::median(&of_case) else { continue };
        println!("{}", row.line());
        faults.extend(row.faults());
        medians.push(row.json());
    }
    let about = json!({ "rounds": arguments.rounds, "scale": arguments.scale, "service": arguments.service });
    let result = json!({
        "bench": "gateway-faults", "rows": medians, "about": about, "faults": faults,
        "load_average": load_average(),
    });
    println!("RESULT {result}");
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

fn names() -> Vec<&'static str> {
    let overload = overload::CASES.iter().map(|case| case.name);
    let instances = instances::CASES.iter().map(|case| case.name);
    overload.chain([storm::NAME]).chain(instances).chain(own::Case::ALL.map(own::Case::name)).collect()
}

async fn case(name: &str, arguments: &Arguments, binary: &std::path::Path) -> Result<Row, String> {
    let service = match arguments.service.as_str() {
        "" => String::new(),
        more => format!(", {more}"),
    };
    if let Some(case) = overload::CASES.iter().find(|case| case.name == name) {
        return overload::run(binary, case, arguments.scale, &service).await;
    }
    if let Some(case) = instances::CASES.iter().find(|case| case.name == name) {
        return instances::run(binary, case, arguments.scale, &service).await;
    }
    if let Some(case) = own::Case::ALL.into_iter().find(|case| case.name() == name) {
        return own::run(binary, case, &arguments.own).await;
    }
    storm::run(binary, arguments.scale, &service).await
}
