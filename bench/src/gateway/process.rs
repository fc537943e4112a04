//! An engine's process, on a core of its own, and what the kernel says of it and its children.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::process::memory;

/// How long an engine has to end by itself.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// The core of the engines and the one of everything else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cores {
    pub(super) engine: usize,
    pub(super) driver: usize,
}

/// Keeps the calling thread, and what it starts from now on, on one core.
pub(crate) fn pin(core: usize) -> Result<(), String> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).map_err(|error| format!("core {core}: {error}"))
}

/// The calling thread goes back to the cores that it had when this value was made, once it is dropped.
#[derive(Debug)]
pub(crate) struct Unpinned(CpuSet);

impl Unpinned {
    /// What is done after this is undone.
    pub(crate) fn after() -> Result<Self, String> {
        let cores = sched_getaffinity(None).map_err(|error| format!("the cores of this thread: {error}"))?;
        Ok(Self(cores))
    }
}

impl Drop for Unpinned {
    fn drop(&mut self) {
        let _best_effort = sched_setaffinity(None, &self.0);
    }
}

/// A running engine: a group of processes that ends with this value.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Pid,
    output: PathBuf,
}

impl Process {
    /// Starts `command` on the engines' core; what it says goes to `output`.
    pub(super) fn start(mut command: Command, cores: Cores, output: &Path) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = std::fs::File::create(output).map_err(|error| error.to_string())?;
        let both = file.try_clone().map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(file).stderr(both);
        // Nothing of this shell's environment changes what is measured; its children die with it.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").process_group(0);
        pin(cores.engine)?;
        let child = command.spawn();
        pin(cores.driver)?;
        let child = child.map_err(|error| format!("{name}: {error}"))?;
        let group = Pid::from_child(&child);
        Ok(Self { child, group, output: output.to_owned() })
    }

    /// An error when it has ended.
    pub(super) fn check(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("ended with {status}: {}", self.said())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The last of what it said.
    pub(super) fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.output).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// CPU time so far, of every thread.
    pub(super) fn usage(&self) -> Result<Usage, String> {
        let mut threads = BTreeMap::new();
        for pid in self.members()? {
            // A process or thread may end while it is looked at: then it is not there any more.
            let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                let on_cpu = text.split_whitespace().next().and_then(|ns| ns.parse().ok());
                if let (Ok(thread), Some(ns)) = (task.file_name().into_string(), on_cpu) {
                    threads.insert(thread, Duration::from_nanos(ns));
                }
            }
        }
        if threads.values().all(Duration::is_zero) {
            return Err("the kernel does not say how long threads ran: /proc/PID/schedstat".to_owned());
        }
        Ok(Usage { threads })
    }

    /// Resident memory of all its processes; what two share counts twice.
    pub(super) fn rss_kib(&self) -> Result<u64, String> {
        self.members()?.into_iter().map(|pid| Ok(memory(pid)?.rss_kib)).sum()
    }

    /// All processes of the group.
    fn members(&self) -> Result<Vec<u32>, String> {
        let group = self.group.as_raw_nonzero().to_string();
        let processes = std::fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
        let pids = processes.flatten().filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name in parentheses may hold blanks; state, parent and group follow it.
            let (_, rest) = stat.rsplit_once(')')?;
            (rest.split_whitespace().nth(2)? == group).then_some(pid)
        });
        Ok(pids.collect())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone_already = rustix::process::kill_process(self.group, Signal::TERM);
        let from = Instant::now();
        while from.elapsed() < STOP_WITHIN && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _gone_already = rustix::process::kill_process_group(self.group, Signal::KILL);
        let _status = self.child.wait();
    }
}

/// CPU time by thread.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    threads: BTreeMap<String, Duration>,
}

impl Usage {
    /// What was used since `before`. A thread that has ended since takes what it used in between with it.
    pub(super) fn since(&self, before: &Self) -> Duration {
        let used = |(thread, now): (&String, &Duration)| {
            now.saturating_sub(before.threads.get(thread).copied().unwrap_or_default())
        };
        self.threads.iter().map(used).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_come_and_go_are_not_subtracted_from_others() {
        let usage = |threads: &[(&str, u64)]| Usage {
            threads: threads.iter().map(|&(name, ms)| (name.to_owned(), Duration::from_millis(ms))).collect(),
        };
        let before = usage(&[("1", 100), ("2", 5_000)]);
        let after = usage(&[("1", 130), ("3", 20)]);
        assert_eq!(after.since(&before), Duration::from_millis(50));
    }
}
