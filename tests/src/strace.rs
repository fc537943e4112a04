//! What a process asked of the kernel, and in which order: whether an order was on the disk before its 202 left.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A trace has begun by then.
const ATTACHED_WITHIN: Duration = Duration::from_secs(20);

/// Whether `strace` can be run here. Without it nothing is shown, which is said aloud, and is a failure where
/// `LEEWARD_TEST_REQUIRE` names it.
#[must_use]
pub fn is_there() -> bool {
    let there = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        let required = std::env::var("LEEWARD_TEST_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|word| word.trim() == "strace"),
            "strace is required, and is not there"
        );
        println!("SKIPPED: no strace here, so it is not shown that the log is synced before the 202 leaves");
    }
    there
}

/// A trace of a running process.
#[derive(Debug)]
pub struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    /// Attaches to a process; it is slower from now on.
    ///
    /// # Panics
    /// When the kernel does not allow it.
    #[must_use]
    pub fn attach(pid: u32, file: &Path) -> Self {
        let calls = "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,fsync,fdatasync";
        let strace = Command::new("strace")
            .args(["-f", "-y", "-s", "64", "-e", calls, "-e", "signal=none", "-o"])
            .arg(file)
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut trace = Self { strace, file: file.to_owned() };
        let from = Instant::now();
        // The first line is written as soon as a thread of the process does anything.
        while std::fs::metadata(&trace.file).map_or(0, |file| file.len()) == 0 {
            assert!(trace.strace.try_wait().unwrap().is_none(), "strace may not look at the process");
            assert!(from.elapsed() < ATTACHED_WITHIN, "strace shows nothing");
            std::thread::sleep(Duration::from_millis(20));
        }
        trace
    }

    /// Detaches, and gives all lines.
    pub fn finish(mut self) -> Vec<String> {
        kill_process(Pid::from_child(&self.strace), Signal::INT).unwrap();
        self.strace.wait().unwrap();
        let text = String::from_utf8_lossy(&std::fs::read(&self.file).unwrap()).into_owned();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _gone_already = self.strace.kill();
        let _status = self.strace.wait();
    }
}

/// Whether, in the one checkout of a trace, the log of the database `db` was written and then synced before the first byte
/// of the 202 left.
///
/// # Errors
/// What was seen instead.
pub fn synced_before_202(lines: &[String], db: &str) -> Result<(), String> {
    let log = format!("{db}-wal>");
    let asked =
        position(lines, 0, |line| is_read(line) && line.contains("POST ") && line.contains("/checkout"));
    let asked = asked.ok_or("no checkout was read")?;
    // A call that waits stands in the trace twice: where it began, and where it ended.
    let answered = position(lines, asked, |line| is_write(line) && line.contains("HTTP/1.1 202"));
    let answered = answered.ok_or("no 202 was written")?;
    let between = &lines[asked..answered];
    let written = between.iter().rposition(|line| line.contains("pwrite64(") && line.contains(&log));
    let written =
        written.ok_or_else(|| format!("nothing was written to {db}-wal between request and answer"))?;
    let began = between.iter().skip(written).position(|line| is_sync(line) && line.contains(&log));
    let began = written + began.ok_or_else(|| format!("{db}-wal was not synced after it was written"))?;
    if between[began].contains("unfinished") {
        let thread = between[began].split_whitespace().next().unwrap_or_default();
        let ended =
            |line: &String| line.starts_with(thread) && line.contains("resumed") && line.contains("= 0");
        if !between[began..].iter().any(ended) {
            return Err(format!("the 202 left while the sync was under way: {}", lines[answered]));
        }
    } else if !between[began].contains("= 0") {
        return Err(format!("the sync failed: {}", between[began]));
    }
    Ok(())
}

fn position(lines: &[String], from: usize, fits: impl Fn(&String) -> bool) -> Option<usize> {
    lines.iter().skip(from).position(fits).map(|place| from + place)
}

fn is_read(line: &str) -> bool {
    ["read(", "readv(", "recvfrom(", "recvmsg(", "read resumed", "recvfrom resumed"]
        .iter()
        .any(|call| line.contains(call))
}

fn is_write(line: &str) -> bool {
    ["write(", "writev(", "sendto(", "sendmsg("].iter().any(|call| line.contains(call))
        && !line.contains("pwrite")
}

fn is_sync(line: &str) -> bool {
    line.contains("fdatasync(") || line.contains("fsync(")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = "11 recvfrom(20<TCP:[1->2]>, \"POST /checkout HTTP/1.1\", 8192, 0, NULL, NULL) = 99";
    const WRITTEN: &str = "12 pwrite64(9</d/orders.db-wal>, \"\"..., 4096, 32) = 4096";
    const SYNCED: &str = "12 fdatasync(9</d/orders.db-wal>) = 0";
    const SYNC_BEGINS: &str = "12 fdatasync(9</d/orders.db-wal> <unfinished ...>";
    const SYNC_ENDS: &str = "12 <... fdatasync resumed>) = 0";
    const ANSWERED: &str = "11 writev(20<TCP:[1->2]>, [{\"HTTP/1.1 202 Accepted\"}], 1) = 50";

    fn judge(lines: &[&str]) -> Result<(), String> {
        synced_before_202(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), "orders.db")
    }

    #[test]
    fn the_order_of_the_calls_decides() {
        assert_eq!(judge(&[ASKED, WRITTEN, SYNCED, ANSWERED]), Ok(()));
        assert_eq!(judge(&[ASKED, WRITTEN, SYNC_BEGINS, "13 read(1) = 0", SYNC_ENDS, ANSWERED]), Ok(()));
        for wrong in [
            &[ASKED, WRITTEN, ANSWERED, SYNCED][..],
            &[ASKED, SYNCED, WRITTEN, ANSWERED],
            &[ASKED, WRITTEN, SYNC_BEGINS, ANSWERED, SYNC_ENDS],
            &[WRITTEN, SYNCED, ASKED, ANSWERED],
            &[
                ASKED,
                "12 pwrite64(9</d/bus.db-wal>, \"\"..., 1, 0) = 1",
                "12 fdatasync(9</d/bus.db-wal>) = 0",
                ANSWERED,
            ],
            &[ASKED, WRITTEN, SYNCED],
            &[],
        ] {
            assert!(judge(wrong).is_err(), "{wrong:?}");
        }
    }
}
