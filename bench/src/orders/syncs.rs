//! How often the process asked the kernel to sync a file: the kernel's own count, which no counter of ours can miss.
//!
//! `perf stat` counts the entries of the two system calls without stopping the process. Where it is missing, or may
//! not, the counters of the databases stand alone, and the report says so.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The system calls.
const EVENTS: &str = "syscalls:sys_enter_fdatasync,syscalls:sys_enter_fsync";

/// A count under way.
#[derive(Debug)]
pub(super) struct Syncs(Option<Child>);

/// What was counted; none where the kernel could not be asked.
pub(super) type SyncsFound = Option<u64>;

impl Syncs {
    /// Counts the syncs of process `pid` for `time`.
    pub(super) fn begin(pid: u32, time: Duration) -> Self {
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x", ",", "-e", EVENTS, "-p", &pid.to_string(), "--"]);
        perf.args(["sleep", &time.as_secs_f64().to_string()]);
        Self(perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok())
    }

    /// Waits for the time to pass.
    pub(super) fn end(self) -> SyncsFound {
        let output = self.0?.wait_with_output().ok()?;
        let counts = String::from_utf8_lossy(&output.stderr);
        let counts = counts.lines().filter(|line| line.contains("syscalls:sys_enter_"));
        let counts: Option<Vec<u64>> =
            counts.map(|line| line.split(',').next().and_then(|count| count.parse().ok())).collect();
        counts.filter(|counts| counts.len() == 2).map(|counts| counts.iter().sum())
    }
}
