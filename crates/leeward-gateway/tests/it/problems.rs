//! A page for each code, an index of them, and each code as a client gets it from a gateway that runs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use leeward_events::{Bus, bus};
use leeward_gateway::Gateway;
use leeward_gateway::refusal::code;
use leeward_runtime::Tasks;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::callers::{CI, OLD};
use crate::revocation::revoke;
use crate::rig::{self, Rig, Upstream, claims, token, token_with};

/// Set, the test writes the index instead of comparing it.
const WRITE: &str = "LEEWARD_WRITE_DOCS";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/problems");
const SECTIONS: [&str; 4] = ["## Meaning\n", "## For clients\n", "## For operators\n", "## Settings\n"];
/// Not brought about here: for the first nothing is sent or answered, the gateway's own key would have to fail; the second is shown where
/// clients have certificates, in `tls.rs`, the third where there is too much to do, in `overload.rs`.
const ELSEWHERE: [&str; 3] = [code::INTERNAL, code::CERTIFICATE_REQUIRED, code::SHED];

/// The pages by code.
fn pages() -> BTreeMap<String, String> {
    let files = std::fs::read_dir(FOLDER).unwrap().map(|file| file.unwrap().path());
    let pages = files.filter(|path| path.file_stem().is_some_and(|stem| stem != "README"));
    pages
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn each_code_has_a_page_and_each_page_a_code() {
    let pages = pages();
    for (code, status) in code::ALL {
        let page = pages.get(*code).unwrap_or_else(|| panic!("write docs/problems/{code}.md"));
        assert!(page.starts_with(&format!("# {code}: ")), "{code}");
        assert!(page.contains(&format!("\nStatus {status}. Stage")), "{code}: the status is {status}");
        let sections: Vec<_> = page
            .lines()
            .filter(|line| line.starts_with('#'))
            .skip(1)
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(sections, SECTIONS, "{code}");
        assert!(!page.contains("\n\n\n") && !page.contains("## \n"), "{code}: a section is empty");
    }
    for page in pages.keys() {
        assert!(code::ALL.iter().any(|(code, _)| code == page), "there is no code {page}");
    }
}

fn index() -> String {
    let mut text = format!(
        "<!-- Made by `{WRITE}=1 cargo nextest run -p leeward-gateway problems`. -->\n\n# Codes of refusals\n\n\
         Whatever the gateway answers by itself is `application/problem+json` (RFC 9457). Clients match on `code`, which stays as it is; `type` \
         is `urn:leeward:problem:CODE`. `stage` says which step refused, `detail` why, `rule` which rule of HTTP was broken, and `request_id` is \
         what to tell the operator. A caller from a network of `explain_to` also gets `config`, the line of the configuration that decided, and a `hint`; where no route takes the path or the method there is neither.\n\n\
         | code | status | means |\n|---|---|---|\n"
    );
    for (code, page) in pages() {
        let title = page.lines().next().unwrap().split_once(": ").unwrap().1;
        let status = code::ALL.iter().find(|(known, _)| *known == code).map_or(0, |(_, status)| *status);
        writeln!(text, "| [`{code}`]({code}.md) | {status} | {title} |").unwrap();
    }
    text
}

#[test]
fn the_index_is_up_to_date() {
    let file = Path::new(FOLDER).join("README.md");
    #[allow(clippy::disallowed_methods, reason = "the way to ask a test for its file")]
    let writes = std::env::var_os(WRITE).is_some();
    if writes {
        std::fs::write(&file, index()).unwrap();
    }
    let docs = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(docs == index(), "docs/problems/README.md is not up to date: run this test with {WRITE}=1");
}

/// What came, by code.
#[derive(Default)]
struct Seen(BTreeMap<String, Value>);

impl Seen {
    fn note(&mut self, document: Value, status: u16) {
        assert_eq!(document["status"], status, "{document}");
        let code = document["code"].as_str().unwrap().to_owned();
        assert_eq!(document["type"], format!("urn:leeward:problem:{code}"));
        self.0.insert(code, document);
    }

    fn raw(&mut self, answer: &str) {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        self.note(serde_json::from_str(body).unwrap(), head[9..12].parse().unwrap());
    }

    fn answer(&mut self, answer: &rig::Answer) {
        assert_eq!(answer.header("content-type"), "application/problem+json", "{answer:?}");
        self.note(answer.json(), answer.status);
    }
}

const RAW: [&str; 9] = [
    "GET /open HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "G@T /open HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /open HTTP/1.1\r\nHost: a\r\n",
    "GET /open HTTP/1.1\r\n\r\n",
    "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    "GET /open%00 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
    "POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n",
    "POST /get HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
];

fn yaml(upstream: &Upstream, folder: &Path, nobody: &str, garbage: &str) -> String {
    let url = upstream.url();
    let folder = folder.display();
    format!(
        "limits: {{head_timeout: 200ms, body_timeout: 200ms}}
jwt: {{service: users}}
api_keys: {{file: tests/it/config/callers.keys}}
basic: {{file: tests/it/config/callers.passwords, checks: 1}}
revocation: {{database: \"sqlite:{folder}/gateway.db\"}}
services:
  users: {{urls: [\"{url}\"]}}
  narrow: {{urls: [\"{url}\"], concurrency_limit: {{limit: 1}}}}
  held: {{urls: [\"{url}\"]}}
  slow: {{urls: [\"{url}\"], attempt_timeout: 100ms, retry: {{max_retries: 0}}}}
  gone: {{urls: [\"{nobody}\"]}}
  foreign: {{urls: [\"{garbage}\"]}}
routes:
  - {{path: /open, service: users, body: 1KiB}}
  - {{path: /get, methods: [GET], service: users}}
  - {{path: /limited, service: users, rate_limit: {{limit: 1, period: 1h, burst: 1}}}}
  - {{path: /inside, service: users, allow: [10.0.0.0/8]}}
  - {{path: /user, service: users, access: user}}
  - {{path: /admin, service: users, access: \"role:admin\"}}
  - {{path: /narrow, service: narrow}}
  - {{path: /brief, service: users, deadline: 100ms}}
  - {{path: /held, service: held}}
  - {{path: /slow, service: slow}}
  - {{path: /gone, service: gone}}
  - {{path: /foreign, service: foreign}}
"
    )
}

/// What can be said to a gateway so that it refuses, each code at least once.
#[tokio::test]
async fn each_code_comes_from_a_gateway_that_runs() {
    let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let foreign = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let garbage = format!("http://{}", foreign.local_addr().unwrap());
    let bus = Bus::open("memory:", bus::Options::default(), &Tasks::new()).await.unwrap();
    let rig =
        Rig::with(&yaml(&upstream, folder.path(), &gone, &garbage), |builder| builder.bus(bus.clone())).await;
    let mut seen = Seen::default();

    for bytes in RAW {
        seen.raw(&rig.raw(bytes.as_bytes()).await);
    }
    let many = "x: y\r\n".repeat(100);
    seen.raw(&rig.raw(format!("GET /open HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes()).await);
    seen.raw(&cut(&rig).await);
    rig.get("/limited").await;
    for path in ["/nowhere", "/inside", "/limited", "/user", "/brief?sleep=2000", "/slow?sleep=2000", "/gone"]
    {
        seen.answer(&rig.get(path).await);
    }
    tokens(&rig, &bus, &mut seen).await;
    for lines in
        [&[("x-api-key", "a")][..], &[("x-api-key", OLD)], &[("x-api-key", CI), ("authorization", "a b")]]
    {
        let request = rig.request("GET", "/user");
        let request = lines.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        seen.answer(&rig.send(request, "").await);
    }
    busy(&rig, &mut seen).await;
    let (one, two) = tokio::join!(rig.get("/narrow?sleep=300"), rig.get("/narrow?sleep=300"));
    seen.answer(if one.status == 503 { &one } else { &two });
    let open = rig.admin("PUT", "/v1/services/held/breaker").header("content-type", "application/json");
    assert_eq!(rig.send(open, json!({"state": "open"}).to_string()).await.status, 204);
    seen.answer(&rig.get("/held").await);
    let (answer, ()) = tokio::join!(rig.get("/foreign"), babble(&foreign));
    seen.answer(&answer);
    seen.raw(&without_keys().await);
    seen.raw(&without_bus(&upstream.url(), folder.path()).await);

    for (code, status) in code::ALL.iter().filter(|(code, _)| !ELSEWHERE.contains(code)) {
        let document = seen.0.get(*code).unwrap_or_else(|| panic!("nothing brought {code} about"));
        assert_eq!(document["status"], *status, "{document}");
        let page = std::fs::read_to_string(format!("{FOLDER}/{code}.md")).unwrap();
        let stage = format!("`{}`", document["stage"].as_str().unwrap());
        assert!(page.contains(&stage), "{code}: the page does not say the stage {stage}");
    }
}

/// A body that ends before its end, from a client that still listens.
async fn cut(rig: &Rig) -> String {
    let mut stream = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    stream.write_all(b"POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// More passwords at once than may wait for the one thread.
async fn busy(rig: &Rig, seen: &mut Seen) {
    let ask = || rig.send(rig.request("GET", "/user").header("authorization", "Basic YTpi"), "");
    let answers = futures_util::future::join_all((0..40).map(|_| ask())).await;
    for status in [503, 401] {
        let found = answers.iter().find(|answer| answer.status == status);
        seen.answer(found.expect("40 checks at 20 ms, and 25 places"));
    }
}

async fn tokens(rig: &Rig, bus: &Bus, seen: &mut Seen) {
    seen.answer(&rig.get_as("no-token", "/user").await);
    seen.answer(&rig.get_as(&token("u1", "customer"), "/admin").await);
    let mut old = claims("u1", "customer");
    old["exp"] = json!(rig::now_s() - 600);
    seen.answer(&rig.get_as(&token_with("k1", &old), "/user").await);
    let revoked = token("u2", "customer");
    revoke(bus, "e1", "u2", Some("jti-u2")).await;
    rig.until("the token is refused", async || rig.get_as(&revoked, "/user").await.status == 401).await;
    seen.answer(&rig.get_as(&revoked, "/user").await);
}

/// Speaks to whoever connects, but no HTTP.
async fn babble(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let _head = stream.read(&mut [0_u8; 4_096]).await.unwrap();
    stream.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
}

/// A gateway that has never heard what was revoked.
async fn without_bus(url: &str, folder: &Path) -> String {
    let bus = Bus::open("memory:", bus::Options::default(), &Tasks::new()).await.unwrap();
    bus.close().await;
    let yaml = format!(
        "jwt: {{service: users}}\nrevocation: {{database: \"sqlite:{}/never.db\"}}\nservices: {{users: {{urls: [\"{url}\"]}}}}\n\
         routes: [{{path: /, service: users, access: user}}]",
        folder.display()
    );
    let gateway = Gateway::builder(rig::parse(&yaml)).bus(bus).start(&Tasks::new()).await.unwrap();
    ask_with_token(&gateway).await
}

/// A gateway whose issuer has never answered.
async fn without_keys() -> String {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let yaml = format!(
        "jwt: {{service: users}}\nservices: {{users: {{urls: [\"{url}\"]}}}}\nroutes: [{{path: /, service: users, access: user}}]"
    );
    let gateway = Gateway::builder(rig::parse(&yaml)).start(&Tasks::new()).await.unwrap();
    ask_with_token(&gateway).await
}

async fn ask_with_token(gateway: &Gateway) -> String {
    let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        token("u1", "customer")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
