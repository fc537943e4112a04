//! The binary as a process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A command that has not ended by then serves, and should not.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// A running `leeward`, which ends with the test.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// What it printed before it was ready.
    said: String,
}

/// The command, out of reach of what the person at the terminal has set, with `folder` as its working folder.
pub(crate) fn command(folder: &Path, env: &[(&str, &str)], args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leeward"));
    for key in ["LEEWARD_DATA", "LEEWARD_BUS", "LEEWARD_BUS_TOKEN", "LEEWARD_LISTEN", "LEEWARD_ADMIN_LISTEN"]
    {
        command.env_remove(key);
    }
    command.env("OTEL_SDK_DISABLED", "true").envs(env.iter().copied()).args(args).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

impl Process {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(folder: &Path, env: &[(&str, &str)], args: &[&str]) -> Self {
        let mut child = command(folder, env, args).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.ends_with("ready\n") {
            assert!(lines.read_line(&mut said).unwrap() > 0, "it ended before it was ready: {said}");
        }
        Self { child, said }
    }

    /// The address that it printed for `name`.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        let line = self.said.lines().find_map(|line| line.trim().strip_prefix(name));
        let url = line.and_then(|line| line.trim().strip_prefix("http://"));
        url.unwrap_or_else(|| panic!("no {name}: {}", self.said)).parse().unwrap()
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// Its exit code, once it has ended.
    pub(crate) fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Runs it to its end; gives its exit code, what it printed, and its complaints.
pub(crate) fn run(folder: &Path, env: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String, String) {
    ended(command(folder, env, args).stderr(Stdio::piped()).spawn().unwrap(), args)
}

/// The same with a text on standard input.
pub(crate) fn run_with(folder: &Path, args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = command(folder, &[], args).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    ended(child, args)
}

fn ended(child: Child, args: &[&str]) -> (Option<i32>, String, String) {
    let id = Pid::from_child(&child);
    let (done, ended) = sync_channel(1);
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(ENDS_WITHIN) else {
        kill_process(id, Signal::KILL).unwrap();
        panic!("it does not end: {args:?}");
    };
    let (output, text) = (output.unwrap(), |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The whole answer to a GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    get_as(address, path, "")
}

/// The same with a token.
pub(crate) fn get_as(address: SocketAddr, path: &str, token: &str) -> String {
    let token = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
    send(address, path, &token)
}

/// The same with these header lines.
pub(crate) fn send(address: SocketAddr, path: &str, lines: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{lines}connection: close\r\n\r\n");
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    let mut answer = String::new();
    let _may_be_cut = stream.read_to_string(&mut answer);
    answer
}
