use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for a slow reader at most; some two megabytes.
pub const LINES_MAX: usize = 8192;

/// How long the end of the process waits for lines still queued.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// What one write to standard error takes at most: half of what a Linux pipe holds.
const WRITE_BYTES: usize = 32 * 1024;

/// The queue between those who log and the thread that writes.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Told when a line comes in.
    filled: Condvar,
    /// Told when all lines are written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    dropped: u64,
    is_writing: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Starts the thread that writes to `output` for the life of the process.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<(Self, LogGuard)> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        // Lines that came in together leave in one system call.
        let mut output = BufWriter::with_capacity(WRITE_BYTES, output);
        let write = move || {
            loop {
                let (lines, dropped) = of_thread.next_lines();
                // If standard error is gone there is nobody to tell.
                let _nobody_to_tell = write_all(&mut output, lines, dropped);
            }
        };
        thread::Builder::new().name("leeward-logs".to_owned()).spawn(write)?;
        Ok((Self { shared: Arc::clone(&shared) }, LogGuard { shared }))
    }
}

impl Shared {
    /// All lines that wait, and how many were dropped since the last time.
    fn next_lines(&self) -> (VecDeque<Vec<u8>>, u64) {
        let mut state = self.state();
        state.is_writing = false;
        self.written.notify_all();
        while state.lines.is_empty() {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_writing = true;
        (std::mem::take(&mut state.lines), std::mem::take(&mut state.dropped))
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.lines.len() >= LINES_MAX {
            state.dropped += 1;
            return;
        }
        state.lines.push_back(line.to_vec());
        if state.lines.len() == 1 {
            self.filled.notify_one();
        }
    }
}

fn write_all(output: &mut impl Write, lines: VecDeque<Vec<u8>>, dropped: u64) -> io::Result<()> {
    for line in lines {
        output.write_all(&line)?;
    }
    if dropped > 0 {
        // Plain JSON is readable to people too.
        writeln!(
            output,
            r#"{{"level":"WARN","target":"leeward_telemetry::logs","message":"log lines dropped","count":{dropped}}}"#
        )?;
    }
    output.flush()
}

/// Keeps logging up; see [`init`](super::init).
#[derive(Debug)]
#[must_use = "dropping it ends the wait for queued lines"]
pub struct LogGuard {
    shared: Arc<Shared>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let is_busy = |state: &mut State| state.is_writing || !state.lines.is_empty();
        // A reader that does not read must not keep the process from ending.
        let _timed_out = self.shared.written.wait_timeout_while(self.shared.state(), FLUSH_MAX, is_busy);
    }
}

/// One event's line on its way into the queue. The formatter writes it at once and whole.
#[derive(Debug)]
pub(super) struct Line<'q>(&'q Shared);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Queue {
    type Writer = Line<'w>;

    fn make_writer(&'w self) -> Line<'w> {
        Line(&self.shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// An output that writes once it is opened.
    struct Gate {
        open: Receiver<()>,
        is_open: bool,
        out: SyncSender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.is_open {
                self.open.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
                self.is_open = true;
            }
            self.out.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gate() -> (Gate, SyncSender<()>, Receiver<Vec<u8>>) {
        let (out, lines) = sync_channel(3 * LINES_MAX);
        let (opener, open) = sync_channel(1);
        (Gate { open, is_open: false, out }, opener, lines)
    }

    #[test]
    fn the_guard_waits_until_all_lines_are_written() {
        let (gate, opener, lines) = gate();
        let (queue, guard) = Queue::start(gate).unwrap();
        queue.make_writer().write_all(b"one\n").unwrap();
        queue.make_writer().write_all(b"two\n").unwrap();
        opener.send(()).unwrap();
        drop(guard);
        assert_eq!(lines.try_iter().collect::<Vec<_>>().concat(), b"one\ntwo\n");
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_which_are_counted_and_never_blocks() {
        let (gate, opener, lines) = gate();
        let (queue, _guard) = Queue::start(gate).unwrap();
        let pushed = u64::try_from(LINES_MAX).unwrap() * 3;
        for number in 0..pushed {
            queue.make_writer().write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        opener.send(()).unwrap();
        let (mut text, mut written, mut dropped) = (Vec::new(), 0, 0);
        while written + dropped < pushed {
            text.extend(lines.recv_timeout(Duration::from_secs(30)).unwrap());
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            for line in String::from_utf8(text.drain(..whole).collect()).unwrap().lines() {
                match serde_json::from_str::<serde_json::Value>(line).unwrap()["count"].as_u64() {
                    Some(count) => dropped += count,
                    None => written += 1,
                }
            }
        }
        assert_eq!(written + dropped, pushed);
        assert!(dropped >= pushed / 3, "{dropped}");
    }
}
