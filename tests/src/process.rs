//! A child process that says when it is ready, and that dies with the test.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A process that is not ready by then never will be: even a debug build on a busy machine takes a tenth.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Lines of output that wait for somebody to read them, while a process starts.
const LINES_MAX: usize = 1_024;

/// The shipped binary: the one that `LEEWARD_TEST_BINARY` names, or else that of this build, built if it is not there yet.
///
/// A test run of the whole workspace has built it; a run of this package alone has not.
pub fn leeward() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(given) = std::env::var_os("LEEWARD_TEST_BINARY") {
            return given.into();
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--package", "leeward", "--bin", "leeward"])
            .status()
            .expect("cargo must be there to build the binary under test");
        assert!(status.success(), "the binary under test does not build");
        let mut path = std::env::current_exe().unwrap();
        // target/debug/deps/it-hash -> target/debug/leeward
        path.pop();
        if path.ends_with("deps") {
            path.pop();
        }
        path.join("leeward")
    })
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts `program` and waits until it prints a line that says `ready`.
    ///
    /// # Errors
    /// What it printed, when it ended or kept silent instead.
    pub fn start(program: &Path, args: &[String], env: &[(String, String)]) -> Result<Self, String> {
        let mut child = Command::new(program)
            .args(args)
            .envs(env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = follow(&mut child, &log);
        let mut process = Self { child, log };
        process.wait_until_ready(&lines)?;
        Ok(process)
    }

    fn wait_until_ready(&mut self, lines: &Receiver<String>) -> Result<(), String> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.trim_end() == "ready" => return Ok(()),
                Ok(_other) => {}
                Err(RecvTimeoutError::Timeout) => return Err(format!("not ready in time:\n{}", self.log())),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait().map_err(|error| error.to_string())?;
                    return Err(format!("ended with {status} before it was ready:\n{}", self.log()));
                }
            }
        }
    }

    /// All lines that it printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: it gets no chance to tidy up.
    pub fn kill(&mut self) {
        let _gone_already = self.child.kill();
        self.child.wait().unwrap();
    }

    /// SIGTERM; gives the exit code and how long it took to end. Panics when it does not end within `budget`.
    pub fn terminate(&mut self, budget: Duration) -> (Option<i32>, Duration) {
        let from = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        while from.elapsed() < budget {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), from.elapsed());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the process did not end within {budget:?}:\n{}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _status = self.child.wait();
        // Whoever looks at a failed test wants to know what the processes had to say; a good one stays silent.
        if std::thread::panicking() {
            println!("---- what process {} said ----\n{}", self.child.id(), self.log());
        }
    }
}

/// Reads both outputs on threads of their own, so that the child never waits for us. Lines on standard output are also
/// handed over until nobody takes them.
fn follow(child: &mut Child, log: &Arc<Mutex<Vec<String>>>) -> Receiver<String> {
    let (sender, lines) = sync_channel(LINES_MAX);
    keep(child.stdout.take().unwrap(), Arc::clone(log), Some(sender));
    keep(child.stderr.take().unwrap(), Arc::clone(log), None);
    lines
}

fn keep(from: impl Read + Send + 'static, log: Arc<Mutex<Vec<String>>>, lines: Option<SyncSender<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if let Some(lines) = &lines {
                let _nobody_waits = lines.try_send(line.clone());
            }
            log.lock().unwrap().push(line);
        }
    });
}

/// Runs `program` to its end; gives its exit code and all that it printed.
pub fn run(program: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}
