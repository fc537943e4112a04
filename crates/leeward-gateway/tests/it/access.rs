//! The access log: what a line says, what it never says, and that nobody waits for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{self, Rig, Upstream};

struct Logged {
    rig: Rig,
    upstream: Upstream,
    path: PathBuf,
    _folder: TempDir,
}

impl Logged {
    /// A gateway that writes to a file. `more` are options of the log, indented by two.
    async fn start(more: &str) -> Self {
        let upstream = Upstream::start().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let yaml = format!(
            "access_log:\n  to: \"file:{}\"\n{more}\nroutes:\n  - {{path: /, id: all, service: \"{}\"}}\n",
            path.display(),
            upstream.url()
        );
        Self { rig: Rig::start(&yaml).await, upstream, path, _folder: folder }
    }

    /// So many lines, once they are there.
    async fn lines(&self, count: usize) -> Vec<String> {
        let read = || std::fs::read_to_string(&self.path).unwrap();
        self.rig.until("the lines are written", async || read().lines().count() >= count).await;
        let lines: Vec<String> = read().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), count, "{lines:#?}");
        lines
    }

    async fn records(&self, count: usize) -> Vec<Value> {
        self.lines(count).await.iter().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    async fn line(&self) -> String {
        self.lines(1).await.remove(0)
    }

    async fn record(&self) -> Value {
        self.records(1).await.remove(0)
    }
}

#[tokio::test]
async fn a_line_says_what_became_of_a_request() {
    let logged = Logged::start("").await;
    let rig = &logged.rig;
    let request =
        rig.request("POST", "/a/b?x=1").header("user-agent", "probe/1").header("x-request-id", "r-1");
    let answer =
        rig.send(request.header("referer", "https://shop.example/list?token=abc#top"), "hello").await;
    let record = logged.record().await;
    for (field, value) in [
        ("request_id", "r-1"),
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("path", "/a/b"),
        ("query", "x=1"),
        ("protocol", "HTTP/1.1"),
        ("route", "all"),
        ("outcome", "complete"),
        ("user_agent", "probe/1"),
        ("referer", "https://shop.example/list"),
        ("host", &rig.gateway.addr().to_string()),
        ("service", &logged.upstream.addr.to_string()),
    ] {
        assert_eq!(record[field], value, "{field}: {record}");
    }
    assert!(record["endpoint"].as_str().unwrap().contains(&logged.upstream.addr.to_string()), "{record}");
    for (field, value) in
        [("status", 200), ("attempts", 1), ("bytes_in", 5), ("bytes_out", answer.body.len() as u64)]
    {
        assert_eq!(record[field], value, "{field}: {record}");
    }
    let ms = |field: &str| record[field].as_f64().unwrap();
    assert!(ms("upstream_ms") > 0.0 && ms("upstream_ms") <= ms("head_ms"), "{record}");
    assert!(ms("head_ms") <= ms("duration_ms"), "{record}");
    assert!(
        record["time"].as_str().unwrap().ends_with('Z') && record["trace_id"].as_str().unwrap().len() == 32
    );
    assert!(["code", "stage", "rule", "user"].iter().all(|none| record.get(none).is_none()), "{record}");
}

#[tokio::test]
async fn a_refusal_says_its_code_and_what_is_no_request_its_rule() {
    let logged = Logged::start("").await;
    assert_eq!(logged.rig.get("/a%00").await.status, 400);
    logged.rig.raw(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n").await;
    let mut records = logged.records(2).await;
    // Two connections may be on two cores, between which there is no order.
    records.sort_by_key(|record| record["code"] != "bad_path");
    assert_eq!((records[0]["code"].as_str(), records[0]["stage"].as_str()), (Some("bad_path"), Some("path")));
    assert_eq!((&records[0]["status"], &records[0]["attempts"]), (&400.into(), &0.into()));
    assert_eq!(records[1]["code"], "ambiguous_framing", "{}", records[1]);
    assert!(records[1]["rule"].is_string() && records[1].get("path").is_none(), "{}", records[1]);
}

#[tokio::test]
async fn each_attempt_is_counted_and_a_long_body_by_what_came_in() {
    let logged = Logged::start("").await;
    logged.upstream.fail(true);
    assert_eq!(logged.rig.get("/a").await.status, 503);
    logged.upstream.fail(false);
    let long = vec![b'x'; 200 * 1_024];
    assert_eq!(logged.rig.send(logged.rig.request("POST", "/b"), long).await.status, 200);
    let mut records = logged.records(2).await;
    records.sort_by_key(|record| record["path"] != "/a");
    assert_eq!((&records[0]["status"], &records[0]["attempts"]), (&503.into(), &3.into()), "{}", records[0]);
    assert_eq!(records[1]["bytes_in"], 200 * 1_024, "{}", records[1]);
}

#[tokio::test]
async fn clients_that_leave_are_told_from_answers_that_ended() {
    let logged = Logged::start("").await;
    let rig = &logged.rig;
    let mut before = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    before.write_all(b"GET /before?sleep=5000 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    rig.until("the request is on its way", async || logged.upstream.hits() == 1).await;
    drop(before);
    let gone = logged.record().await;
    assert_eq!((&gone["status"], &gone["outcome"]), (&0.into(), &"client_gone".into()), "{gone}");

    let mut within = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    within.write_all(b"GET /within?bytes=50000000 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    within.read_exact(&mut [0_u8; 1_000]).await.unwrap();
    drop(within);
    let gone = logged.records(2).await.remove(1);
    assert_eq!((&gone["status"], &gone["outcome"]), (&200.into(), &"client_gone".into()), "{gone}");
    assert!((1_000..50_000_000).contains(&gone["bytes_out"].as_u64().unwrap()), "{gone}");

    // No body is nothing cut off.
    assert_eq!(rig.send(rig.request("HEAD", "/head?bytes=5"), "").await.status, 200);
    assert_eq!(logged.records(3).await[2]["outcome"], "complete");
}

#[tokio::test]
async fn an_answer_that_a_service_breaks_off_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _head = stream.read(&mut [0_u8; 4_096]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await.unwrap();
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let to = path.display();
    let rig = Rig::start(&format!(
        "access_log: {{to: \"file:{to}\"}}\nroutes: [{{path: /, service: \"http://{addr}\"}}]"
    ))
    .await;
    let (said, ()) = tokio::join!(rig.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), serve);
    assert!(said.ends_with("abc"), "{said}");
    rig.until("the line is written", async || std::fs::read(&path).unwrap().ends_with(b"\n")).await;
    let record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(
        (&record["outcome"], &record["bytes_out"]),
        (&"upstream_broken".into(), &3.into()),
        "{record}"
    );
}

#[tokio::test]
async fn no_secret_is_written_and_nobody_writes_lines_of_their_own() {
    let logged = Logged::start("  redact: [pin]").await;
    let said = logged
        .rig
        .raw(
            b"GET /a?b=1&access_token=s3cret-1&pin=s3cret-2 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret-3\r\n\
            Cookie: session=s3cret-4\r\nUser-Agent: x\", \"status\": 999, \xff\xc2\x85\\\r\nConnection: close\r\n\r\n",
        )
        .await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    let line = logged.line().await;
    assert!(!line.contains("s3cret"), "{line}");
    let record: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&record["status"], &record["query"]), (&200.into(), &"b=1&access_token=***&pin=***".into()));
    assert_eq!(record["user_agent"], "x\", \"status\": 999, \u{fffd}\u{85}\\");
    assert!(line.contains("\\u0085"), "{line}");
}

#[tokio::test]
async fn a_template_writes_lines_of_ones_own() {
    let logged =
        Logged::start("  format: \"{client} {{{method}}} {path} {status} {code} \\\"{user_agent}\\\"\"")
            .await;
    logged.rig.raw(b"GET /a HTTP/1.1\r\nHost: a\r\nUser-Agent: a \"b\" c\r\nConnection: close\r\n\r\n").await;
    assert_eq!(logged.line().await, "127.0.0.1 {GET} /a 200 - \"a \\x22b\\x22 c\"");
}

#[tokio::test]
async fn the_user_is_named() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let yaml = format!(
        "access_log: {{to: \"file:{}\", fields: [user, status]}}\njwt: {{service: users}}\nservices: {{users: {{urls: [\"{}\"]}}}}\n\
        routes: [{{path: /, service: users, access: user}}]",
        path.display(),
        upstream.url()
    );
    let rig = Rig::start(&yaml).await;
    assert_eq!(rig.get_as(&rig::token("u-7", "customer"), "/a").await.status, 200);
    rig.until("the line is written", async || !std::fs::read(&path).unwrap().is_empty()).await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"user\":\"u-7\",\"status\":200}\n");
}

#[tokio::test]
async fn a_sample_leaves_out_all_but_what_went_wrong_or_took_long() {
    let logged =
        Logged::start("  sample: 0%\n  always: {slower_than: 300ms}\n  fields: [path, status]").await;
    for path in ["/fine", "/no?status=404", "/wrong?status=500", "/slow?sleep=400", "/fine"] {
        logged.rig.get(path).await;
    }
    let mut lines = logged.lines(2).await;
    lines.sort_unstable();
    assert_eq!(lines, ["{\"path\":\"/slow\",\"status\":200}", "{\"path\":\"/wrong\",\"status\":500}"]);

    let half = Logged::start("  sample: 50%\n  fields: [status]").await;
    for _ in 0..200 {
        half.rig.get("/a").await;
    }
    half.rig.tasks.shutdown(Duration::from_secs(5)).await;
    let count = std::fs::read_to_string(&half.path).unwrap().lines().count();
    assert!((50..150).contains(&count), "{count} of 200");
}

#[tokio::test]
async fn a_stop_writes_what_is_there() {
    let logged = Logged::start("").await;
    for _ in 0..20 {
        assert_eq!(logged.rig.get("/a").await.status, 200);
    }
    assert!(logged.rig.tasks.shutdown(Duration::from_secs(5)).await.is_clean());
    assert_eq!(std::fs::read_to_string(&logged.path).unwrap().lines().count(), 20);
}

/// So many requests one after the other, and the time that the slowest took.
async fn slowest(rig: &Rig, path: &str, requests: usize) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..requests {
        let begun = tokio::time::Instant::now();
        assert_eq!(rig.get(path).await.status, 200);
        longest = longest.max(begun.elapsed());
    }
    longest
}

async fn rig_to(path: &Path) -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "rate_limits: {{address: \"off\"}}\naccess_log: {{to: \"file:{}\", buffer: 128KiB}}\nroutes: [{{path: /, service: \"{}\"}}]",
        path.display(),
        upstream.url()
    );
    (Rig::start(&yaml).await, upstream)
}

async fn count(rig: &Rig, result: &str) -> u64 {
    let name = format!("leeward_gateway_access_records_total{{result=\"{result}\"}} ");
    let metrics = rig.metrics().await;
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.trim().parse().unwrap())
}

#[tokio::test]
async fn a_full_disk_costs_lines_and_no_request() {
    let (rig, _upstream) = rig_to(Path::new("/dev/full")).await;
    slowest(&rig, "/a", 300).await;
    rig.until("all are counted", async || count(&rig, "failed").await == 300).await;
    assert_eq!((count(&rig, "written").await, count(&rig, "dropped").await), (0, 0));
    assert!(rig.tasks.shutdown(Duration::from_secs(5)).await.is_clean());
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_costs_lines_and_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (rig, _upstream) = rig_to(&pipe).await;
    // Lines of 4 KiB: the pipe and the chunks of both cores hold some hundred.
    let path = format!("/{}?{}", "a".repeat(2_000), "b".repeat(2_000));
    let longest = slowest(&rig, &path, 600).await;
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    let dropped = count(&rig, "dropped").await;
    assert!((1..600).contains(&dropped), "{dropped}");
    assert!(
        rig.tasks.shutdown(Duration::from_secs(5)).await.is_clean(),
        "the writer waits, the gateway does not"
    );
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_is_one_line_that_says_what_to_do() {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "access_log: {{to: \"file:/nowhere/access.log\"}}\nroutes: [{{path: /, service: \"{}\"}}]",
        upstream.url()
    );
    let started =
        leeward_gateway::Gateway::builder(rig::parse(&yaml)).start(&leeward_runtime::Tasks::new()).await;
    let error = started.unwrap_err().to_string();
    assert!(
        error.contains("file:/nowhere/access.log (access_log.to)") && error.contains("name a file"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn the_page_names_all_fields_and_all_secrets() {
    let page = include_str!("../../docs/access-log.md");
    let names = leeward_gateway::access::Field::ALL.into_iter().map(|(name, _)| name);
    for name in names.chain(leeward_gateway::access::SECRETS) {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
