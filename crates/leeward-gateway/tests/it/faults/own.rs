//! What the gateway itself leans on is gone: a name server, keys, a disk, file descriptors.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;
use leeward_gateway::Gateway;
use leeward_runtime::Tasks;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::case::{Answer, Case, Expected, Observed, Seen};
use super::ill::{ask, ask_at, ask_with};
use super::seen;
use crate::dns::{self, Said, Zone};
use crate::rig::{self, Rig, Upstream, token};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "resolver-is-gone",
            fault: "the name server answers no more",
            bound: "no request waits for it: the last known endpoints stay",
            expected: Expected {
                get: seen(200, "", 1),
                post: seen(200, "", 1),
                shown: &["health lookups: degraded"],
            },
            observe: || Box::pin(resolver_is_gone()),
        },
        Case {
            name: "keys-are-gone",
            fault: "the issuer's set of keys (JWKS) cannot be had any more",
            bound: "at once: keys that are known hold for `stale_if_error` (24 h)",
            expected: Expected {
                get: seen(200, "", 1),
                post: seen(200, "", 1),
                shown: &["health token_keys: up"],
            },
            observe: || Box::pin(keys_are_gone()),
        },
        Case {
            name: "keys-never-came",
            fault: "the issuer's set of keys could not be had since the start",
            bound: "one attempt to fetch them, shared by all who wait; the gateway is not ready before it has them",
            expected: Expected {
                get: seen(503, "keys_unavailable", 0),
                post: seen(503, "keys_unavailable", 0),
                shown: &["health token_keys: down", "ready: false"],
            },
            observe: || Box::pin(keys_never_came()),
        },
        Case {
            name: "disk-for-logs-is-full",
            fault: "no line of the access log can be written",
            bound: "no request waits for the log",
            expected: Expected {
                get: seen(200, "", 1),
                post: seen(200, "", 1),
                shown: &[r#"leeward_gateway_access_records_total{result="failed"} 2"#],
            },
            observe: || Box::pin(disk_is_full()),
        },
        Case {
            name: "file-limit-is-reached",
            fault: "the process may open no more files, a client with a connection goes on (GET), a new one comes (POST)",
            bound: "at once for who is connected; who comes waits in the listener's queue until a file is closed",
            expected: Expected {
                get: seen(200, "", 1),
                post: Seen { hint: "waited", ..seen(200, "", 1) },
                shown: &["leeward_gateway_accepts_failed_total above 0"],
            },
            observe: || Box::pin(async { of_a_child() }),
        },
    ]
}

/// How the gateway is, as lines.
fn health(gateway: &Gateway) -> String {
    let mut text = format!("ready: {}\n", gateway.is_ready());
    for (name, check) in &gateway.health().checks {
        writeln!(text, "health {name}: {}", format!("{:?}", check.status).to_lowercase()).unwrap();
    }
    text
}

/// A GET and a POST, and how often the service was asked for each.
async fn both(rig: &Rig, upstream: &Upstream, header: &str) -> (Answer, Answer) {
    let mut answers = [Answer::default(), Answer::default()];
    for (answer, method) in answers.iter_mut().zip(["GET", "POST"]) {
        let asked = upstream.hits();
        *answer = ask_with(rig, method, header).await;
        answer.asked = upstream.hits() - asked;
    }
    let [get, post] = answers;
    (get, post)
}

async fn resolver_is_gone() -> Observed {
    let (zone, server) = Zone::start().await;
    let upstream = Upstream::start().await;
    zone.has("orders.test.", 0, &["127.0.0.1"]);
    let name = format!("orders.test.:{}", upstream.addr.port());
    let rig = Rig::start(&dns::yaml(server, "ttl_min: 100ms", &name)).await;
    assert_eq!(ask(&rig, "GET").await.status, 200);
    zone.says("orders.test.", RecordType::A, Said::Silence);
    zone.says("orders.test.", RecordType::AAAA, Said::Code(ResponseCode::ServFail));
    rig.until("it is noticed", async || health(&rig.gateway).contains("lookups: degraded")).await;
    let (get, post) = both(&rig, &upstream, "").await;
    Observed { get, post, shown: health(&rig.gateway) }
}

fn with_keys(upstream: &Upstream, provider: &Upstream) -> String {
    format!(
        "services:\n  one:\n    urls: [\"{}\"]\njwt: {{url: \"{}/.well-known/jwks.json\", issuer: users}}\n\
         routes:\n  - {{path: /, service: one, access: user}}\n",
        upstream.url(),
        provider.url()
    )
}

fn of(user: &str) -> String {
    format!("authorization: Bearer {}\r\n", token(user, "customer"))
}

async fn keys_are_gone() -> Observed {
    let (upstream, provider) = (Upstream::start().await, Upstream::start().await);
    let rig = Rig::start(&with_keys(&upstream, &provider)).await;
    assert_eq!(ask_with(&rig, "GET", &of("u1")).await.status, 200);
    drop(provider);
    // A token that was not seen before.
    let (get, post) = both(&rig, &upstream, &of("u2")).await;
    Observed { get, post, shown: health(&rig.gateway) }
}

async fn keys_never_came() -> Observed {
    let (upstream, provider) = (Upstream::start().await, Upstream::start().await);
    let config = rig::parse(&with_keys(&upstream, &provider));
    drop(provider);
    let tasks = Tasks::new();
    let gateway = Gateway::builder(config).start(&tasks).await.unwrap();
    let get = ask_at(gateway.addr(), "GET", &of("u1")).await;
    let post = ask_at(gateway.addr(), "POST", &of("u1")).await;
    assert_eq!(upstream.hits(), 0);
    Observed { get, post, shown: health(&gateway) }
}

async fn disk_is_full() -> Observed {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "access_log: {{to: \"file:/dev/full\"}}\nroutes: [{{path: /, service: \"{}\"}}]",
        upstream.url()
    );
    let rig = Rig::start(&yaml).await;
    let (get, post) = both(&rig, &upstream, "").await;
    let failed = r#"leeward_gateway_access_records_total{result="failed"} 2"#;
    rig.until("the lines are counted", async || rig.metrics().await.contains(failed)).await;
    Observed { get, post, shown: rig.metrics().await }
}

/// Set for the process of its own that the limit is for: it holds for everything in a process.
const CHILD: &str = "LEEWARD_AT_FILE_LIMIT";
const TEST: &str = "faults::own::who_is_connected_goes_on_at_the_file_limit";
const MARK: &str = "OBSERVED ";

fn of_a_child() -> Observed {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture", "--test-threads", "1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let line = said.lines().find_map(|line| Some(line.split_once(MARK)?.1));
    let line = line.unwrap_or_else(|| panic!("{said}\n{}", String::from_utf8_lossy(&child.stderr)));
    let seen: serde_json::Value = serde_json::from_str(line).unwrap();
    let answer = |of: &str| Answer {
        status: seen[of]["status"].as_u64().unwrap().try_into().unwrap(),
        asked: 1,
        hint: seen[of]["hint"].as_str().unwrap_or_default().to_owned(),
        ..Answer::default()
    };
    let failed = seen["accepts_failed"].as_u64().unwrap();
    let shown = format!("leeward_gateway_accepts_failed_total {}", if failed > 0 { "above 0" } else { "0" });
    Observed { get: answer("get"), post: answer("post"), shown }
}

#[tokio::test]
async fn who_is_connected_goes_on_at_the_file_limit() {
    #[allow(clippy::disallowed_methods, reason = "how the test tells the process that it starts")]
    let is_child = std::env::var_os(CHILD).is_some();
    if is_child {
        return at_the_limit().await;
    }
    let case = cases().into_iter().find(|case| case.name == "file-limit-is-reached").unwrap();
    assert_eq!(case.expected.differs(case.name, &of_a_child()), Vec::<String>::new());
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";

async fn status(stream: &mut TcpStream) -> u16 {
    let mut bytes = [0_u8; 4_096];
    let read = stream.read(&mut bytes).await.unwrap();
    let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
    text.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_default()
}

#[allow(
    clippy::explicit_write,
    reason = "straight to the pipe, whatever the test harness does with what is printed"
)]
async fn at_the_limit() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&format!("cores: 1\nroutes: [{{path: /, service: \"{}\"}}]", upstream.url())).await;
    let mut connected = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    connected.write_all(GET).await.unwrap();
    assert_eq!(status(&mut connected).await, 200);
    // This end of the new connection has its file already.
    let coming = tokio::net::TcpSocket::new_v4().unwrap();
    let before = getrlimit(Resource::Nofile);
    // The limit is on the number of a file, and the next one gets the lowest that is free.
    let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
    setrlimit(Resource::Nofile, Rlimit { current: u64::try_from(next).ok(), ..before }).unwrap();
    let mut coming = coming.connect(rig.gateway.addr()).await.unwrap();
    coming.write_all(POST).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(300), coming.readable()).await.is_err();
    connected.write_all(GET).await.unwrap();
    let get = status(&mut connected).await;
    setrlimit(Resource::Nofile, before).unwrap();
    let post = status(&mut coming).await;
    let metrics = rig.metrics().await;
    let failed = metrics.lines().find_map(|line| line.strip_prefix("leeward_gateway_accepts_failed_total "));
    let failed: u64 = failed.map_or(0, |count| count.trim().parse().unwrap());
    let hint = if waits { "waited" } else { "" };
    let line =
        json!({"get": {"status": get}, "post": {"status": post, "hint": hint}, "accepts_failed": failed});
    writeln!(std::io::stdout(), "{MARK}{line}").unwrap();
}
