//! The programs that hold the libraries: building, asking and running them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cargo::{answer, build};

/// One library in one case.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) case: String,
    pub(super) lib: String,
    /// Which clock it reads in a call.
    pub(super) clock: String,
    pub(super) note: String,
    pub(super) one_thread: bool,
    on_node: bool,
}

impl Subject {
    pub(super) fn is_ours(&self) -> bool {
        self.lib.starts_with("leeward")
    }
}

/// What one measurement found, a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) ns: f64,
    /// Node cannot say.
    pub(super) allocs: Option<f64>,
}

/// The cases, in the order of the report.
const CASES: [&str; 10] = [
    "clock_read",
    "breaker_closed_core",
    "breaker_closed",
    "breaker_closed_count_window",
    "breaker_open",
    "retry_ok",
    "bulkhead",
    "rate_limit",
    "pipeline",
    "pipeline_pending",
];

/// Where a case stands in the report.
pub(super) fn order(case: &str) -> usize {
    CASES.iter().position(|known| *known == case).unwrap_or(CASES.len())
}

pub(super) struct Peers {
    rust: PathBuf,
    /// The folder of the script with its packages, or why it is left out.
    node: Result<PathBuf, String>,
}

impl Peers {
    /// Builds the Rust libraries, and installs those of Node.js when that can be done.
    pub(super) fn build(sources: &Path, no_node: bool) -> Result<Self, String> {
        let rust = build(&sources.join("resilience/Cargo.toml"))?;
        let node = if no_node {
            Err("it was left out".to_owned())
        } else {
            let beside = rust.with_file_name("resilience-node");
            install_node(&sources.join("resilience-node"), &beside)
        };
        Ok(Self { rust, node })
    }

    pub(super) fn subjects(&self) -> Result<Vec<Subject>, String> {
        let mut subjects = parse(&answer(Command::new(&self.rust).arg("list"))?, false)?;
        if let Ok(folder) = &self.node {
            subjects.extend(parse(&answer(script(folder).arg("list"))?, true)?);
        }
        Ok(subjects)
    }

    pub(super) fn skipped(&self) -> Option<&str> {
        self.node.as_ref().err().map(String::as_str)
    }

    /// One measurement; `None` when the machine was too busy for one.
    pub(super) fn measure(
        &self,
        subject: &Subject,
        threads: usize,
        millis: u64,
    ) -> Result<Option<Sample>, String> {
        let mut command = match &self.node {
            Ok(folder) if subject.on_node => script(folder),
            _ => Command::new(&self.rust),
        };
        command.args(["run", &subject.case, &subject.lib]);
        if !subject.on_node {
            command.arg(threads.to_string());
        }
        let printed = answer(command.arg(millis.to_string()))?;
        let sample: Value = serde_json::from_str(&printed).map_err(|error| format!("{error}: {printed}"))?;
        let allocs = sample["allocs"].as_f64();
        Ok(sample["ns"].as_f64().map(|ns| Sample { ns, allocs }))
    }
}

fn script(folder: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg(folder.join("bench.mjs"));
    command
}

fn parse(lines: &str, on_node: bool) -> Result<Vec<Subject>, String> {
    let subject = |line: &str| {
        let value: Value = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let one_thread = value["one_thread"].as_bool().unwrap_or(false);
        let (case, lib, clock, note) = (text("case"), text("lib"), text("clock"), text("note"));
        Ok(Subject { case, lib, clock, note, one_thread, on_node })
    };
    lines.lines().map(subject).collect()
}

/// Copies the script to where things are built, and installs there exactly what its lock file says.
fn install_node(sources: &Path, folder: &Path) -> Result<PathBuf, String> {
    answer(Command::new("node").arg("--version")).map_err(|_| "there is no node".to_owned())?;
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    for file in ["bench.mjs", "package.json", "package-lock.json"] {
        std::fs::copy(sources.join(file), folder.join(file)).map_err(|error| error.to_string())?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder);
    answer(&mut npm).map_err(|error| format!("npm could not install: {error}"))?;
    Ok(folder.to_owned())
}
