//! Another binary takes the place of a running gateway: under load, with the file of revocations, and when it does not come up.

mod encrypted;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use leeward_events::{Bus, Envelope, bus};
use leeward_resilience::{Clock, FastRng, TokioClock};
use leeward_runtime::Tasks;
use leeward_telemetry::Correlation;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, test_kill_process,
    waitpid,
};

use crate::gateway::{TokenRevoked, serve};
use crate::process::{get, get_as};

/// Nothing here takes longer, unless it hangs.
const WITHIN: Duration = Duration::from_secs(60);
const TOKEN: &str = "of-this-test";
const SECRET: &str = "a secret of at least thirty-two bytes";

/// A gateway whose binary can be exchanged, in a folder of its own; the one that answers now ends with the test.
struct Site {
    folder: tempfile::TempDir,
    /// By what a supervisor hears of each process that is ready.
    notified: UnixDatagram,
    pid: Pid,
    edge: SocketAddr,
    admin: SocketAddr,
}

impl Site {
    fn start(config: &str, args: &[&str]) -> Self {
        // What a process leaves behind when it ends comes to this one.
        set_child_subreaper(Some(getpid())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("leeward.yaml"), config).unwrap();
        let socket = folder.path().join("notify");
        let notified = UnixDatagram::bind(&socket).unwrap();
        notified.set_read_timeout(Some(WITHIN)).unwrap();
        let binary = folder.path().join("leeward");
        symlink(env!("CARGO_BIN_EXE_leeward"), &binary).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(&binary);
        for key in ["LEEWARD_DATA", "LEEWARD_BUS"] {
            command.env_remove(key);
        }
        command.arg("gateway").args(args).current_dir(folder.path());
        command
            .env("OTEL_SDK_DISABLED", "true")
            .env("LEEWARD_BUS_TOKEN", TOKEN)
            .env("NOTIFY_SOCKET", &socket);
        command.env("LEEWARD_SECRET", SECRET);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        #[allow(clippy::zombie_processes, reason = "it is waited for by its id, as are those that follow it")]
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.ends_with("ready\n") {
            assert!(lines.read_line(&mut said).unwrap() > 0, "it ended before it was ready: {said}");
        }
        // Every process of the family writes there.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let address = |name: &str| -> SocketAddr {
            let line = said.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
            line.trim().strip_prefix("http://").unwrap().parse().unwrap()
        };
        let (edge, admin) = (address("gateway"), address("admin"));
        let site = Self { folder, notified, pid: Pid::from_child(&child), edge, admin };
        assert_eq!(site.told(), Some(site.pid), "a supervisor hears of the first one too");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Which process says that it is the one to watch; none when nothing is said in time.
    fn told(&self) -> Option<Pid> {
        let mut text = [0; 256];
        let read = self.notified.recv(&mut text).ok()?;
        let text = std::str::from_utf8(&text[..read]).unwrap();
        assert!(text.contains("READY=1"), "{text}");
        let pid = text.lines().find_map(|line| line.strip_prefix("MAINPID=")).unwrap();
        Pid::from_raw(pid.parse().unwrap())
    }

    /// Puts a shell script in the place of the binary.
    fn exchange_for(&self, script: &str) {
        let new = self.path("new");
        std::fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(new, self.path("leeward")).unwrap();
    }

    fn exchange_for_leeward(&self) {
        symlink(env!("CARGO_BIN_EXE_leeward"), self.path("new")).unwrap();
        std::fs::rename(self.path("new"), self.path("leeward")).unwrap();
    }

    fn ask_for_upgrade(&self) {
        kill_process(self.pid, Signal::USR2).unwrap();
    }

    /// Asks for the next process, and waits until it answers and the one before is gone.
    fn upgrade(&mut self) {
        self.ask_for_upgrade();
        let next = self.told().unwrap_or_else(|| panic!("no next process: {}", self.log()));
        let before = std::mem::replace(&mut self.pid, next);
        assert_ne!(before, next);
        assert_eq!(ended(before).exit_status(), Some(0), "{}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    /// Waits until the log says something so many times.
    fn until_log(&self, text: &str, times: usize) {
        let found = until(|| self.log().matches(text).count() >= times);
        assert!(found, "`{text}` is not in the log {times} times: {}", self.log());
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _gone_already = kill_process(self.pid, Signal::KILL);
        let _reaped_already = waitpid(Some(self.pid), WaitOptions::empty());
    }
}

/// Waits for the end of a process.
fn ended(pid: Pid) -> WaitStatus {
    let mut status = None;
    until(|| {
        status = waitpid(Some(pid), WaitOptions::NOHANG).unwrap().map(|(_, status)| status);
        status.is_some()
    });
    status.unwrap_or_else(|| panic!("process {pid:?} does not end"))
}

/// Whether something comes to be in time.
fn until(mut is_so: impl FnMut() -> bool) -> bool {
    for _ in 0..WITHIN.as_millis() / 20 {
        if is_so() {
            return true;
        }
        pause(20);
    }
    false
}

#[allow(clippy::disallowed_methods, reason = "a thread of the test's own")]
fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Clients, each of which asks again once it is answered: some over a connection that they keep, some over a new one each time.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Option<String>>>,
}

impl Load {
    fn start(edge: SocketAddr) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |number: usize| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                let mut kept = None;
                while !stop.load(Ordering::Relaxed) {
                    match ask(edge, kept.take(), number.is_multiple_of(2)) {
                        Ok(open) => kept = open,
                        Err(error) => return Some(format!("client {number}: {error}")),
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                None
            })
        };
        let clients = (0..8).map(client).collect();
        Self { stop, answered, clients }
    }

    /// Waits until so many more requests were answered, or a client has failed.
    fn goes_on(&self, more: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + more;
        let is_so = || {
            self.answered.load(Ordering::Relaxed) >= wanted
                || self.clients.iter().any(JoinHandle::is_finished)
        };
        assert!(until(is_so), "the load stands still");
    }

    /// Ends it; gives what failed.
    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().filter_map(|client| client.join().unwrap()).collect()
    }
}

/// One request; gives the connection when it may be used again.
fn ask(edge: SocketAddr, kept: Option<TcpStream>, keeps: bool) -> std::io::Result<Option<TcpStream>> {
    let mut stream = match kept {
        Some(stream) => stream,
        None => TcpStream::connect(edge)?,
    };
    stream.set_read_timeout(Some(WITHIN))?;
    let connection = if keeps { "keep-alive" } else { "close" };
    write!(stream, "GET /fast HTTP/1.1\r\nhost: a\r\nconnection: {connection}\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    while !answer.ends_with(b"from the service") {
        let read = stream.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..read]);
        if read == 0 || !answer.starts_with(&b"HTTP/1.1 200"[..answer.len().min(12)]) {
            let text = String::from_utf8_lossy(&answer).into_owned();
            return Err(std::io::Error::other(format!("no answer, but {text:?}")));
        }
    }
    let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    Ok((keeps && !head.contains("connection: close")).then_some(stream))
}

/// A service with a fast and a slow page.
async fn service() -> SocketAddr {
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        "late"
    };
    let router = Router::new().route("/slow", axum::routing::get(slow));
    serve(router.fallback(async || "from the service")).await
}

fn config(service: SocketAddr) -> String {
    format!(
        "listen: 127.0.0.1:0\nadmin: {{listen: \"127.0.0.1:0\"}}\nrate_limits: {{address: off, principal: off}}\ncores: 2\n\
         services: {{own: {{urls: [\"http://{service}\"]}}}}\nroutes:\n  - {{path: /, service: own}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binaries_follow_each_other_under_load_and_no_request_fails() {
    let mut site = Site::start(&config(service().await), &[]);
    let (edge, admin) = (site.edge, site.admin);
    let load = Load::start(edge);
    for _ in 0..4 {
        load.goes_on(200);
        let slow = std::thread::spawn(move || get(edge, "/slow"));
        // It is on its way when the next process is asked for.
        pause(100);
        site.upgrade();
        let slow = slow.join().unwrap();
        assert!(slow.starts_with("HTTP/1.1 200") && slow.ends_with("late"), "{slow}");
        load.goes_on(200);
        assert!(get(admin, "/health/ready").starts_with("HTTP/1.1 200"), "operators are where they were");
    }
    let failed = load.end();
    assert!(failed.is_empty(), "{failed:?}\n{}", site.log());
}

/// The control: with a next process that says all the right words and keeps nothing, the same load fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_next_process_that_closes_the_sockets_is_seen_by_the_load() {
    let site = Site::start(&config(service().await), &[]);
    site.exchange_for(
        "echo hello >&5; read -r go <&5; echo ready >&5; read -r begin <&5; exec 3<&- 4<&- 5<&-; sleep 1",
    );
    let load = Load::start(site.edge);
    load.goes_on(200);
    site.ask_for_upgrade();
    assert_eq!(ended(site.pid).exit_status(), Some(0), "{}", site.log());
    load.goes_on(usize::MAX / 2);
    assert!(!load.end().is_empty(), "the sockets are closed, and nobody noticed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_next_process_that_does_not_come_up_changes_nothing() {
    let upstream = service().await;
    let mut site = Site::start(&config(upstream), &[]);
    let load = Load::start(site.edge);
    let refused = "no other process took over";
    for (number, (script, why)) in [
        ("exit 3", "ended with exit status: 3 before it was `hello`"),
        ("echo hello >&5; read -r go <&5; exit 4", "ended with exit status: 4 before it was `ready`"),
        ("echo $$ > pid; echo good morning >&5; exec sleep 600", "is it a leeward?"),
        ("echo $$ > pid; exec 5<&-; exec sleep 600", "hung up before it was `hello`"),
    ]
    .into_iter()
    .enumerate()
    {
        site.exchange_for(script);
        site.ask_for_upgrade();
        site.until_log(refused, number + 1);
        site.until_log(why, 1);
        load.goes_on(100);
        if let Ok(pid) = std::fs::read_to_string(site.path("pid")) {
            let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
            assert!(test_kill_process(pid).is_err(), "it is left behind");
        }
    }
    // The right binary, but what it reads is wrong.
    site.exchange_for_leeward();
    std::fs::write(site.path("leeward.yaml"), "listen: nowhere\n").unwrap();
    site.ask_for_upgrade();
    site.until_log(refused, 5);
    site.until_log("ended with exit status: 2 before it was `hello`", 1);
    load.goes_on(100);
    std::fs::write(site.path("leeward.yaml"), config(upstream)).unwrap();
    site.upgrade();
    load.goes_on(100);
    let failed = load.end();
    assert!(failed.is_empty(), "{failed:?}\n{}", site.log());
}

async fn revoke(bus: &Bus, user: &str) {
    let now = TokioClock.unix_ms();
    let event = TokenRevoked { user_id: user.into(), revoked_at_ms: now, expires_at_ms: now + 600_000 };
    let cause = Correlation::new_root(&FastRng::seeded(1));
    bus.publish(vec![Envelope::new(&event, user, "users", now, &cause).unwrap()]).await.unwrap();
}

/// A token that was given out a minute ago.
fn token(user: &str) -> String {
    let now_s = TokioClock.unix_ms() / 1_000;
    let claims = serde_json::json!({
        "iss": "users", "aud": "shop", "sub": user, "jti": user, "iat": now_s - 60, "exp": now_s + 600,
    });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

/// The file of revocations has one owner at a time, and none of them is missed, whoever has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_revocation_is_missed_while_their_file_changes_hands() {
    let bus = Bus::open("memory:", bus::Options::default(), &Tasks::new()).await.unwrap();
    let owner = serve(bus.router(bus::Token::new(TOKEN))).await;
    let more = "  - {path: /mine, service: own, access: user}\n\
                jwt: {secret: \"env:LEEWARD_SECRET\", issuer: users, audience: shop}\nrevocation: {}\n";
    let bus_url = format!("leeward://{owner}");
    let mut site = Site::start(&(config(service().await) + more), &["--bus", &bus_url, "--data", "own"]);
    let asks = |site: &Site, user: &str| {
        let answer = get_as(site.edge, "/mine", &token(user));
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let learns = |site: &Site, user: &str| {
        assert!(until(|| asks(site, user) == "401"), "{user} is still let in: {}", site.log());
        assert_eq!(asks(site, "somebody"), "200", "{user} and nobody else");
    };
    let knows = |site: &Site, users: &[&str]| {
        for user in users {
            assert_eq!(asks(site, user), "401", "{user} was logged out: {}", site.log());
        }
        assert_eq!(asks(site, "somebody"), "200");
    };
    revoke(&bus, "u1").await;
    learns(&site, "u1");
    // The file is lent, and whoever has it does not come up.
    site.exchange_for(
        "echo hello >&5; read -r go <&5; : > lent; while [ ! -e enough ]; do sleep 0.1; done; exit 5",
    );
    site.ask_for_upgrade();
    assert!(until(|| site.path("lent").exists()));
    assert!(is_free(&site.path("own")), "it says that the file is closed");
    revoke(&bus, "u2").await;
    learns(&site, "u2");
    std::fs::write(site.path("enough"), "").unwrap();
    site.until_log("ended with exit status: 5", 1);
    assert!(until(|| !is_free(&site.path("own"))), "the file is not taken back");
    revoke(&bus, "u3").await;
    learns(&site, "u3");
    site.exchange_for_leeward();
    site.upgrade();
    knows(&site, &["u1", "u2", "u3"]);
    revoke(&bus, "u4").await;
    learns(&site, "u4");
    site.upgrade();
    knows(&site, &["u1", "u2", "u3", "u4"]);
}

/// Whether nobody has the database in `folder`.
fn is_free(folder: &Path) -> bool {
    let lock = std::fs::File::open(folder.join("gateway.db.lock")).unwrap();
    lock.try_lock().is_ok()
}
