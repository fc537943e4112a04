//! A gateway that is the bottleneck itself: one core, and tokens that it has never seen. What matters least is refused first, before it costs much.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use leeward_gateway::Config;
use leeward_gateway::explain::explain;
use leeward_runtime::Env;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::pki::{Pki, connect};
use crate::rig::{Rig, Upstream, now_s};
use crate::tls::ask;

/// Clients of low and of critical requests: without shedding, a queue of several hundred requests on the one core.
const LOW: usize = 600;
const CRITICAL: usize = 8;
const SETTLE: Duration = Duration::from_millis(1_500);
const WINDOW: Duration = Duration::from_secs(2);
/// How much sooner than without shedding what is let in has to be answered. Both are measured, one right after the other, so that it holds on any machine.
const SOONER: u32 = 2;

/// Tokens, each for another user: several times as many as the gateway keeps, so that each is verified.
const TOKENS: usize = 24_000;
/// A client that was refused comes back, though sooner than it was told to.
const PAUSE: Duration = Duration::from_millis(250);

/// Tokens that are signed already, so that whoever asks does no work that the gateway does.
struct Tokens {
    key: tempfile::NamedTempFile,
    tokens: Vec<String>,
    next: AtomicUsize,
}

impl Tokens {
    fn new() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let key = tempfile::NamedTempFile::new().unwrap();
        let text = BASE64_STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
        std::fs::write(key.path(), pem).unwrap();
        let now_s = now_s();
        let tokens = (0..TOKENS).map(|number| token(&pair, number, now_s)).collect();
        Self { key, tokens, next: AtomicUsize::new(0) }
    }

    fn next(&self) -> &str {
        &self.tokens[self.next.fetch_add(1, Ordering::Relaxed) % TOKENS]
    }
}

fn token(pair: &Ed25519KeyPair, number: usize, now_s: i64) -> String {
    let claims = json!({"iss": "a", "sub": format!("u{number}"), "exp": now_s + 600});
    let encoded = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encoded(json!({"alg": "EdDSA"})), encoded(claims));
    let signature = pair.sign(text.as_bytes());
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

fn yaml(upstream: &Upstream, tokens: &Tokens, shed: &str) -> String {
    format!(
        "cores: 1\nshed: {shed}\nrate_limits: {{address: off}}\n\
         jwt: {{keys: \"file:{}\", issuer: a, algorithms: EdDSA}}\nservices: {{one: {{urls: [\"{}\"], adaptive: off}}}}\nroutes:\n  \
         - {{path: /low, service: one, access: user, priority: low}}\n  \
         - {{path: /critical, service: one, access: user, priority: critical}}\n",
        tokens.key.path().display(),
        upstream.url()
    )
}

/// What became of the requests of a class.
#[derive(Default)]
struct Seen {
    /// How long each answer took.
    answered: Mutex<Vec<Duration>>,
    refused: AtomicUsize,
    /// Neither an answer nor a refusal that says when to come back.
    wrong: Mutex<Vec<String>>,
}

impl Seen {
    fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// How long half of the answers took at most, and how many there were.
    fn took(&self) -> Result<(Duration, usize), String> {
        let answered = self.answered.lock().unwrap();
        Ok((median(&answered)?, answered.len()))
    }
}

/// Of enough to say something.
fn median(times: &[Duration]) -> Result<Duration, String> {
    if times.len() < 10 {
        return Err(format!("{} are too few", times.len()));
    }
    let mut times = times.to_vec();
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// One client that asks again as soon as it is answered, with a new token each time.
async fn client(
    address: std::net::SocketAddr,
    path: &str,
    tokens: Arc<Tokens>,
    seen: Arc<Seen>,
    counts: Arc<AtomicBool>,
) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", tokens.next());
        let asked = Instant::now();
        stream.write_all(head.as_bytes()).await.unwrap();
        let text = read(&mut stream, &mut answer).await;
        let took = asked.elapsed();
        if text.starts_with("HTTP/1.1 503") {
            tokio::time::sleep(PAUSE).await;
        }
        if !counts.load(Ordering::Relaxed) {
            continue;
        }
        if text.starts_with("HTTP/1.1 200") {
            seen.answered.lock().unwrap().push(took);
        } else if text.starts_with("HTTP/1.1 503") && is_told(&text) {
            seen.refused.fetch_add(1, Ordering::Relaxed);
        } else {
            seen.wrong.lock().unwrap().push(text);
        }
    }
}

fn is_told(text: &str) -> bool {
    text.contains("retry-after: 1")
        && text.contains("application/problem+json")
        && text.contains("\"code\":\"shed\"")
        && text.contains("\"stage\":\"overload\"")
}

/// What comes of the first of three tries that shows it: another program that takes the cores for a while hides what would be seen without it.
async fn in_three_tries<T>(mut shows: impl AsyncFnMut() -> Result<T, String>) -> T {
    let mut said = Vec::new();
    for _ in 0..3 {
        match shows().await {
            Ok(shown) => return shown,
            Err(why) => said.push(why),
        }
    }
    panic!("{said:#?}");
}

/// One answer, whole.
async fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> String {
    bytes.clear();
    loop {
        assert!(stream.read_buf(bytes).await.unwrap() > 0, "the connection ended");
        let text = String::from_utf8_lossy(bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() >= length.parse().unwrap() {
            return text.into_owned();
        }
    }
}

/// What a gateway with this `shed` makes of more than it can do.
struct Run {
    rig: Rig,
    _upstream: Upstream,
    low: Arc<Seen>,
    critical: Arc<Seen>,
    /// How long its health took to answer, each time.
    health: Vec<Duration>,
    /// Whether its core was ever said to be behind, in `/v1/limits` and then in the metrics.
    was_behind: [bool; 2],
    metrics: String,
}

async fn overloaded(shed: &str) -> Run {
    let (upstream, tokens) = (Upstream::start().await, Arc::new(Tokens::new()));
    let rig = Rig::start(&yaml(&upstream, &tokens, shed)).await;
    let (low, critical) = (Arc::<Seen>::default(), Arc::<Seen>::default());
    let counts = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for (path, count, seen) in [("/low", LOW, &low), ("/critical", CRITICAL, &critical)] {
        for _ in 0..count {
            let (tokens, seen, counts) = (Arc::clone(&tokens), Arc::clone(seen), Arc::clone(&counts));
            clients.spawn(client(rig.gateway.addr(), path, tokens, seen, counts));
        }
    }
    let (mut health, mut was_behind) = (Vec::new(), [false; 2]);
    let mut asks = async |time: Duration| {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let asked = Instant::now();
            assert_eq!(rig.get("/health/live").await.status, 200);
            health.push(asked.elapsed());
            let limits = rig.send(rig.admin("GET", "/v1/limits"), "").await.json();
            was_behind[0] |= limits["cores"][0]["behind"] == true;
            was_behind[1] |= rig.metrics().await.contains("leeward_gateway_cores_behind 1\n");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    asks(SETTLE).await;
    counts.store(true, Ordering::Relaxed);
    asks(WINDOW).await;
    let metrics = rig.metrics().await;
    counts.store(false, Ordering::Relaxed);
    assert!(clients.try_join_next().is_none(), "a connection ended");
    clients.shutdown().await;
    for seen in [&low, &critical] {
        assert_eq!(*seen.wrong.lock().unwrap(), <[String; 0]>::default());
    }
    Run { rig, _upstream: upstream, low, critical, health, was_behind, metrics }
}

impl Run {
    /// Whether what matters most is let in and answered sooner than it was `without` shedding, and what matters least is what pays for it.
    fn is_better(&self, without: &Self) -> Result<(), String> {
        let (critical, others) = (self.critical.took()?, without.critical.took()?);
        let refused = [self.low.refused(), self.critical.refused()];
        let health = [median(&self.health)?, median(&without.health)?];
        let is_better = critical.0 * SOONER < others.0
            && critical.1 > others.1
            && refused[0] > 9 * refused[1]
            && refused[0] > 0
            && health[0] * SOONER < health[1]
            && self.was_behind == [true; 2];
        let said = format!(
            "critical after {critical:?}, without {others:?}; refused {refused:?}; health {health:?}; behind {:?}",
            self.was_behind
        );
        if is_better { Ok(()) } else { Err(said) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_matters_least_is_refused_first_and_the_rest_goes_on() {
    let shows = async || {
        let without = overloaded("off").await;
        assert_eq!((without.low.refused(), without.critical.refused()), (0, 0));
        assert!(!without.metrics.contains("leeward_gateway_shed_requests_total{"), "{}", without.metrics);
        let run = overloaded("{target: 10ms}").await;
        run.is_better(&without).map(|()| run)
    };
    let run = in_three_tries(shows).await;
    let shed = "leeward_gateway_shed_requests_total{priority=\"low\",mode=\"enforced\"}";
    assert!(run.metrics.contains(shed), "{}", run.metrics);

    let mut lines = run.metrics.lines();
    let probes =
        lines.find_map(|line| line.strip_prefix("leeward_gateway_core_delay_seconds_count ")).unwrap();
    assert!(probes.parse::<u32>().unwrap() > 10, "it goes on being looked at: {probes}");

    let decisions = run.rig.send(run.rig.admin("GET", "/v1/decisions?code=shed&limit=1"), "").await.json();
    let refused = &decisions["decisions"][0];
    assert_eq!(
        (&refused["stage"], &refused["option"]),
        (&"overload".into(), &"shed.target".into()),
        "{decisions}"
    );
    let values = &refused["values"];
    assert_eq!((&values["priority"], &values["allowed_ms"]), (&"low".into(), &10.into()), "{decisions}");
    assert!(values["delay_ms"].as_u64() >= Some(10), "{decisions}");

    run.rig
        .until("it keeps up again", async || {
            run.rig.metrics().await.contains("leeward_gateway_cores_behind 0\n")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn in_shadow_it_only_counts() {
    let run = overloaded("{target: 10ms, mode: shadow}").await;
    assert_eq!((run.low.refused(), run.critical.refused()), (0, 0));
    let shed = "leeward_gateway_shed_requests_total{priority=\"low\",mode=\"shadow\"}";
    assert!(run.metrics.contains(shed), "{}", run.metrics);
}

/// Clients that open one connection after the other. What they send is the beginning of a handshake, made once: all the work is the gateway's.
const OPENERS: usize = 800;

/// What a client begins a handshake with.
fn hello(pki: &Pki) -> Vec<u8> {
    let config = Arc::new(pki.trusting(None, &["http/1.1"]));
    let name = "one.example".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// What became of the handshakes that were begun.
#[derive(Default)]
struct Shaken {
    /// How long each answer took.
    answered: Mutex<Vec<Duration>>,
    reset: AtomicUsize,
}

async fn opener(
    address: std::net::SocketAddr,
    hello: Arc<[u8]>,
    shaken: Arc<Shaken>,
    counts: Arc<AtomicBool>,
) {
    loop {
        let began = Instant::now();
        let answered = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_zero_linger()?;
            stream.write_all(&hello).await?;
            stream.read(&mut [0_u8; 1_024]).await
        };
        let answered = answered.await;
        let took = began.elapsed();
        if matches!(answered, Ok(0) | Err(_)) {
            tokio::time::sleep(PAUSE).await;
        }
        if !counts.load(Ordering::Relaxed) {
            continue;
        }
        if matches!(answered, Ok(1..)) {
            shaken.answered.lock().unwrap().push(took);
        } else {
            shaken.reset.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a gateway with this `shed` makes of more handshakes than it can do.
struct Opened {
    shaken: Arc<Shaken>,
    metrics: String,
    /// The share of requests that were answered on a connection that was open before.
    answered: f64,
}

async fn opened(shed: &str) -> Opened {
    let (upstream, pki) = (Upstream::start().await, Pki::new());
    let certificate = pki.put("one", &pki.server(&["one.example"]));
    let yaml = format!(
        "cores: 1\nshed: {shed}\nrate_limits: {{address: off}}\nlisten:\n  - address: 127.0.0.1:0\n    \
         tls: {{handshakes: 10000, certificates: [{certificate}]}}\nservices: {{one: {{urls: [\"{}\"]}}}}\nroutes:\n  \
         - {{path: /, service: one, priority: critical}}\n",
        upstream.url()
    );
    let rig = Rig::start(&yaml).await;
    let hello: Arc<[u8]> = hello(&pki).into();
    let config = Arc::new(pki.trusting(None, &["http/1.1"]));
    let mut open = connect(rig.gateway.addr(), &config, "one.example").await.unwrap();
    let (shaken, counts) = (Arc::<Shaken>::default(), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for _ in 0..OPENERS {
        let (hello, shaken, counts) = (Arc::clone(&hello), Arc::clone(&shaken), Arc::clone(&counts));
        clients.spawn(opener(rig.gateway.addr(), hello, shaken, counts));
    }
    let mut asks = async |time: Duration| {
        let (until, mut asked, mut answered) = (Instant::now() + time, 0.0, 0.0);
        while Instant::now() < until {
            let said = ask(&mut open, "GET /a HTTP/1.1\r\nHost: one.example\r\n\r\n").await;
            asked += 1.0;
            answered += f64::from(u8::from(said.starts_with("HTTP/1.1 200")));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        answered / asked
    };
    asks(SETTLE).await;
    counts.store(true, Ordering::Relaxed);
    let answered = asks(WINDOW).await;
    counts.store(false, Ordering::Relaxed);
    assert!(clients.try_join_next().is_none(), "a client ended");
    clients.shutdown().await;
    Opened { shaken, metrics: rig.metrics().await, answered }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn too_many_handshakes_are_not_begun() {
    let shows = async || {
        let without = opened("off").await;
        assert_eq!(without.shaken.reset.load(Ordering::Relaxed), 0);
        let Opened { shaken, metrics, answered } = opened("{target: 10ms}").await;
        let took = |shaken: &Shaken| median(&shaken.answered.lock().unwrap());
        let (with, without) = (took(&shaken)?, took(&without.shaken)?);
        let (begun, reset) = (shaken.answered.lock().unwrap().len(), shaken.reset.load(Ordering::Relaxed));
        // On a connection that needs no handshake what is critical is answered.
        let is_well = with * SOONER < without && begun > 50 && reset > 0 && answered > 0.8;
        let said = format!(
            "{begun} within {with:?}, without {without:?}; {reset} reset; {answered} of what is critical"
        );
        if is_well { Ok(metrics) } else { Err(said) }
    };
    let metrics = in_three_tries(shows).await;
    let shed = "leeward_gateway_shed_connections_total{mode=\"enforced\"}";
    assert!(metrics.contains(shed), "{metrics}");
}

#[tokio::test]
async fn it_is_told_and_can_be_changed_while_the_gateway_runs() {
    let upstream = Upstream::start().await;
    let yaml = |shed: &str, priority: &str| {
        format!(
            "{shed}\nroutes: [{{path: /a, id: a, service: \"{}\", priority: {priority}}}]\n",
            upstream.url()
        )
    };
    let told = |text: &str| {
        let config = Config::parse("a.yaml", text, &Env::default()).unwrap();
        explain(&config, "GET", "/a", &[]).unwrap().to_string()
    };
    let said = told(&yaml("", "high"));
    assert!(said.contains("overload       high: a core whose work waits for more than 80ms"), "{said}");
    assert!(said.contains("after 100ms beyond 20ms, refuses it with 503 shed"), "{said}");
    let said = told(&yaml("shed: {target: 5ms, mode: shadow}", "low"));
    assert!(said.contains("low: a core whose work waits for more than 5ms"), "{said}");
    assert!(said.contains("would refuse it"), "{said}");
    assert!(!told(&yaml("shed: off", "low")).contains("\noverload "));

    let rig = Rig::start(&yaml("", "low")).await;
    let changes = rig.reload(&yaml("shed: off", "critical")).unwrap();
    assert_eq!((changes.options, changes.routes.changed), (vec!["shed"], vec!["a".to_owned()]));
    let get = async |path: &str| rig.send(rig.admin("GET", path), "").await;
    assert_eq!(get("/v1/routes").await.json()[0]["priority"], "critical");
    let text = String::from_utf8(get("/v1/config").await.body.to_vec()).unwrap();
    assert!(text.contains("\nshed: off\n"), "{text}");
    assert_eq!(rig.get("/a").await.status, 200);
    let cores = get("/v1/limits").await.json()["cores"].as_array().unwrap().clone();
    assert_eq!(cores.len(), 2);
    assert!(cores.iter().all(|core| core["behind"] == false), "{cores:?}");
}
