//! `leeward gateway`: the shop's own configuration, and a stop under a slow request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use axum::Router;
use leeward_events::{Bus, Envelope, Event, bus};
use leeward_resilience::{Clock, FastRng, TokioClock};
use leeward_runtime::Tasks;
use leeward_telemetry::Correlation;
use serde::{Deserialize, Serialize};

use crate::process::{Process, get, get_as, run};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../leeward.yaml");
const SERVICES: [&str; 7] =
    ["users", "catalog", "inventory", "orders", "payments", "shipping", "notifications"];
const FREE_PORTS: [(&str, &str); 2] =
    [("LEEWARD_LISTEN", "127.0.0.1:0"), ("LEEWARD_ADMIN_LISTEN", "127.0.0.1:0")];
const TOKEN: &str = "of-this-test";

#[derive(Serialize, Deserialize)]
pub(crate) struct TokenRevoked {
    pub(crate) user_id: String,
    pub(crate) revoked_at_ms: i64,
    pub(crate) expires_at_ms: i64,
}

impl Event for TokenRevoked {
    const TYPE: &'static str = "token.revoked";
    const VERSION: u32 = 1;
    fn key(&self) -> String {
        self.user_id.clone()
    }
}

pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async move { axum::serve(listener, router).await.unwrap() };
    #[allow(clippy::disallowed_methods, reason = "a test's own server")]
    drop(tokio::spawn(serving));
    address
}

/// `gateway leeward.yaml`, with all services but those in `without` at `upstream`.
fn arguments(upstream: SocketAddr, without: &[&str]) -> Vec<String> {
    let services = SERVICES.iter().filter(|name| !without.contains(name));
    let places = services.flat_map(|name| ["--at".to_owned(), format!("{name}=http://{upstream}")]);
    ["gateway".to_owned(), CONFIG.to_owned()].into_iter().chain(places).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shops_own_configuration_runs_on_the_bus_of_another_process() {
    let bus = Bus::open("memory:", bus::Options::default(), &Tasks::new()).await.unwrap();
    let owner = serve(bus.router(bus::Token::new(TOKEN))).await;
    let upstream = serve(Router::new().fallback(async || "from the service")).await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("leeward://{owner}");
    let mut args = arguments(upstream, &[]);
    args.extend(["--bus", &url, "--data", "own"].map(str::to_owned));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let env: Vec<_> = FREE_PORTS.into_iter().chain([("LEEWARD_BUS_TOKEN", TOKEN)]).collect();

    let gateway = Process::start(folder.path(), &env, &args);
    let edge = gateway.address("gateway");
    let answer = get(edge, "/api/v1/products");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("from the service"), "{answer}");
    assert!(folder.path().join("own/gateway.db").exists() && folder.path().join("own/keys").exists());
    assert!(!folder.path().join("leeward-data").exists(), "--data is where its data is");

    let now = TokioClock.unix_ms();
    let event = TokenRevoked { user_id: "u1".into(), revoked_at_ms: now, expires_at_ms: now + 600_000 };
    let cause = Correlation::new_root(&FastRng::seeded(1));
    bus.publish(vec![Envelope::new(&event, "e1", "users", now, &cause).unwrap()]).await.unwrap();
    let heard = async {
        while !get(edge, "/health").contains("revocation_delay_ms") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), heard).await.expect("no logout ever gets here");
    gateway.terminate();
    assert_eq!(gateway.code(), Some(0));
}

#[test]
fn what_the_configuration_leaves_open_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let fails = |args: &[String], says: &[&str]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let env: Vec<_> = FREE_PORTS.into_iter().chain([("LEEWARD_BUS_TOKEN", TOKEN)]).collect();
        let (code, _said, complaint) = run(folder.path(), &env, &args);
        assert_eq!(code, Some(2), "{args:?}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        assert!(says.iter().all(|it| complaint.contains(it)), "{complaint}");
    };
    let bus = |mut args: Vec<String>| {
        args.extend(["--bus".to_owned(), format!("leeward://{nobody}")]);
        args
    };
    fails(&arguments(nobody, &[]), &["--bus leeward://HOST:PORT"]);
    fails(&bus(arguments(nobody, &["orders", "users"])), &["`orders`, `users`", "--at NAME=URL"]);
    let mut args = bus(arguments(nobody, &[]));
    args.extend(["--at".to_owned(), "nobody=http://127.0.0.1:9".to_owned()]);
    fails(&args, &["nobody=http://127.0.0.1:9", "catalog, inventory"]);
}

/// A service whose one answer waits for a word.
fn slow(arrived: std::sync::mpsc::SyncSender<()>, go: std::sync::mpsc::Receiver<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _head = stream.read(&mut [0_u8; 4_096]).unwrap();
        arrived.send(()).unwrap();
        go.recv().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").unwrap();
    });
    address
}

fn write_config(folder: &Path, upstream: SocketAddr) {
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: {{listen: \"127.0.0.1:0\"}}\nlimits: {{drain: 60s, deadline: 60s}}\n\
         services:\n  slow: {{urls: [\"http://{upstream}\"], attempt_timeout: 60s}}\nroutes: [{{path: /, service: slow}}]\n"
    );
    std::fs::write(folder.join("leeward.yaml"), text).unwrap();
}

#[test]
fn a_drain_lasts_as_long_as_the_configuration_says() {
    let folder = tempfile::tempdir().unwrap();
    let ((arrived, is_there), (go, wait)) = (sync_channel(1), sync_channel(1));
    write_config(folder.path(), slow(arrived, wait));
    let gateway = Process::start(folder.path(), &[], &["gateway"]);
    let edge = gateway.address("gateway");
    let client = std::thread::spawn(move || get(edge, "/a"));
    is_there.recv_timeout(Duration::from_secs(20)).unwrap();
    gateway.terminate();
    // Longer than a process takes whose time to stop is not its configuration's: nobody says a word on this channel.
    assert!(is_there.recv_timeout(Duration::from_secs(6)).is_err());
    go.send(()).unwrap();
    let answer = client.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer:?}");
    assert_eq!(gateway.code(), Some(0));
}

/// Waits for an answer that begins like that.
fn until(edge: SocketAddr, path: &str, begins: &str) -> String {
    let mut answer = String::new();
    for _ in 0..500 {
        answer = get(edge, path);
        if answer.starts_with(begins) {
            return answer;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    panic!("{path} is never {begins}: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_is_read_again_when_it_changes_and_at_a_hangup() {
    let upstream = serve(Router::new().fallback(async || "from the service")).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str| {
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: {{listen: \"127.0.0.1:0\", token: \"file:token\"}}\nservices:\n  one: {{}}\nroutes: [{{path: {path}, service: one}}]\n"
        );
        std::fs::write(folder.path().join("leeward.yaml"), text).unwrap();
    };
    std::fs::write(folder.path().join("token"), "first").unwrap();
    write("/first");
    let at = format!("one=http://{upstream}");
    let gateway = Process::start(folder.path(), &[], &["gateway", "--at", &at]);
    let (edge, admin) = (gateway.address("gateway"), gateway.address("admin"));
    assert!(get(edge, "/first").starts_with("HTTP/1.1 200"));

    write("/second");
    until(edge, "/second", "HTTP/1.1 200");
    assert!(get(edge, "/first").starts_with("HTTP/1.1 404"));

    // The file is the same, what it refers to is not.
    let config = |token: &str| get_as(admin, "/v1/config", token);
    assert!(config("first").starts_with("HTTP/1.1 200"));
    std::fs::write(folder.path().join("token"), "second").unwrap();
    gateway.hang_up();
    for _ in 0..500 {
        if config("second").starts_with("HTTP/1.1 200") {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(config("second").starts_with("HTTP/1.1 200") && config("first").starts_with("HTTP/1.1 401"));
    gateway.terminate();
    assert_eq!(gateway.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_a_request_was_refused_can_be_asked_afterwards() {
    let upstream = serve(Router::new().fallback(async || "fine")).await;
    let folder = tempfile::tempdir().unwrap();
    write_config(folder.path(), upstream);
    let gateway = Process::start(folder.path(), &FREE_PORTS, &["gateway"]);
    let admin = format!("http://{}", gateway.address("admin"));
    let refused = get(gateway.address("gateway"), "/%zz");
    let id = refused.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
    let why = |id: &str| run(folder.path(), &[], &["why", id, "--admin", &admin]);

    let (code, told, _) = why(id);
    assert_eq!(code, Some(0), "{told}");
    for part in [
        "/%zz from 127.0.0.1",
        "answered 400 bad_path",
        "at the stage path",
        "what decided is unsafe_keep_encoded_slash",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let (code, told, complaint) = why("nobody-ever-saw-it");
    assert_eq!((code, told.as_str()), (Some(1), ""));
    assert!(complaint.contains("nothing is kept of nobody-ever-saw-it"), "{complaint}");
    let (code, _, complaint) = why("a&b");
    assert!(code == Some(2) && complaint.contains("is no request id"), "{complaint}");
}
