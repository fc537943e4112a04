//! What the kernel says of a process and of the machine.

use std::time::Duration;

/// The unit of times in /proc: a hundredth of a second in the interface of every Linux, whatever the kernel counts in.
const TICKS_PER_S: u64 = 100;

/// Memory of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) rss_kib: u64,
    /// The most that was resident since its start.
    pub(crate) peak_kib: u64,
}

/// The memory of process `pid`.
pub(crate) fn memory(pid: u32) -> Result<Memory, String> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok())
            .ok_or(format!("{path} has no {name}"))
    };
    Ok(Memory { rss_kib: kib("VmRSS:")?, peak_kib: kib("VmHWM:")? })
}

/// CPU time so far: of the process under test, of this one, and of everything on the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    pub(crate) server: Duration,
    pub(crate) driver: Duration,
    machine: Duration,
}

impl Cpu {
    /// Reads all three.
    pub(crate) fn now(server: u32) -> Result<Self, String> {
        Ok(Self {
            server: of_process(server)?,
            driver: of_process(std::process::id())?,
            machine: of_machine()?,
        })
    }

    /// What was used since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            server: self.server.saturating_sub(before.server),
            driver: self.driver.saturating_sub(before.driver),
            machine: self.machine.saturating_sub(before.machine),
        }
    }

    /// What neither of us used: the kernel's own threads, and whoever else is on the machine.
    pub(crate) fn others(self) -> Duration {
        self.machine.saturating_sub(self.server).saturating_sub(self.driver)
    }
}

fn of_process(pid: u32) -> Result<Duration, String> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    // The second field is the program's name in parentheses, and may hold blanks; the third follows it.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks_to_time(ticks))
}

/// All but idle time and waiting for the disk, over all cores; what a hypervisor took counts as used.
fn of_machine() -> Result<Duration, String> {
    let stat = std::fs::read_to_string("/proc/stat").map_err(|error| format!("/proc/stat: {error}"))?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks = line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse::<u64>().ok());
    Ok(ticks_to_time(ticks.enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, ticks)| ticks).sum()))
}

fn ticks_to_time(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1_000 / TICKS_PER_S))
}

/// The load average of the last minute.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}
