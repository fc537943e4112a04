//! A gateway that is the bottleneck itself: one core, and tokens that it has never seen. What matters least is refused first, before it costs much.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
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
const LOW: usize = 400;
const CRITICAL: usize = 8;
/// A client that waits for longer has left in spirit.
const PATIENCE: Duration = Duration::from_millis(300);
const SETTLE: Duration = Duration::from_millis(1_500);
const WINDOW: Duration = Duration::from_secs(2);

/// Tokens: more than a test of this length needs, each for another user, and how many threads sign them beforehand.
const TOKENS: usize = 9_000;
const SIGNERS: usize = 2;
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
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let key = tempfile::NamedTempFile::new().unwrap();
        let text = BASE64_STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
        std::fs::write(key.path(), pem).unwrap();
        let now_s = now_s();
        let tokens = std::thread::scope(|scope| {
            let part = |first: usize| {
                let pair = &pair;
                let numbers = (first..TOKENS).step_by(SIGNERS);
                scope.spawn(move || numbers.map(|number| token(pair, number, now_s)).collect())
            };
            let parts: Vec<_> = (0..SIGNERS).map(part).collect();
            parts.into_iter().flat_map(|part| -> Vec<String> { part.join().unwrap() }).collect()
        });
        Self { key, tokens, next: AtomicUsize::new(0) }
    }

    fn next(&self) -> &str {
        &self.tokens[self.next.fetch_add(1, Ordering::Relaxed) % TOKENS]
    }
}

fn token(pair: &KeyPair, number: usize, now_s: i64) -> String {
    let claims = json!({"iss": "a", "sub": format!("u{number}"), "exp": now_s + 600});
    let encoded = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encoded(json!({"alg": "RS256"})), encoded(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn yaml(upstream: &Upstream, tokens: &Tokens, shed: &str) -> String {
    format!(
        "cores: 1\nshed: {shed}\nrate_limits: {{address: off}}\n\
         jwt: {{keys: \"file:{}\", issuer: a, algorithms: RS256}}\nservices: {{one: {{urls: [\"{}\"], adaptive: off}}}}\nroutes:\n  \
         - {{path: /low, service: one, access: user, priority: low}}\n  \
         - {{path: /critical, service: one, access: user, priority: critical}}\n",
        tokens.key.path().display(),
        upstream.url()
    )
}

/// What became of the requests of a class.
#[derive(Default)]
struct Seen {
    asked: AtomicUsize,
    in_time: AtomicUsize,
    refused: AtomicUsize,
    /// Neither an answer nor a refusal that says when to come back.
    wrong: Mutex<Vec<String>>,
}

impl Seen {
    fn share(&self, count: &AtomicUsize) -> f64 {
        let number = |count: &AtomicUsize| f64::from(u32::try_from(count.load(Ordering::Relaxed)).unwrap());
        number(count) / number(&self.asked).max(1.0)
    }
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
        if text.starts_with("HTTP/1.1 503") {
            tokio::time::sleep(PAUSE).await;
        }
        if !counts.load(Ordering::Relaxed) {
            continue;
        }
        seen.asked.fetch_add(1, Ordering::Relaxed);
        if text.starts_with("HTTP/1.1 200") && asked.elapsed() <= PATIENCE {
            seen.in_time.fetch_add(1, Ordering::Relaxed);
        } else if text.starts_with("HTTP/1.1 503") && is_told(&text) {
            seen.refused.fetch_add(1, Ordering::Relaxed);
        } else if !text.starts_with("HTTP/1.1 200") {
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
    metrics: String,
    limits: serde_json::Value,
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
    let mut health = Vec::new();
    let mut asks = async |time: Duration| {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let asked = Instant::now();
            assert_eq!(rig.get("/health/live").await.status, 200);
            health.push(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    asks(SETTLE).await;
    counts.store(true, Ordering::Relaxed);
    asks(WINDOW).await;
    let metrics = rig.metrics().await;
    let limits = rig.send(rig.admin("GET", "/v1/limits"), "").await.json();
    counts.store(false, Ordering::Relaxed);
    assert_eq!(clients.len(), LOW + CRITICAL, "no connection ended");
    clients.shutdown().await;
    Run { rig, _upstream: upstream, low, critical, health, metrics, limits }
}

impl Run {
    /// Whether what matters most was answered in time, although there was far too much.
    fn is_well(&self) -> Result<(), String> {
        let Self { low, critical, .. } = self;
        let mut said = String::new();
        for (name, seen) in [("low", low), ("critical", critical)] {
            let shares = [&seen.in_time, &seen.refused].map(|count| seen.share(count));
            let wrong = seen.wrong.lock().unwrap();
            let _into_a_string = write!(
                said,
                "{name}: {:?} {shares:?}, {} wrong {:?}  ",
                seen.asked,
                wrong.len(),
                wrong.first()
            );
        }
        let is_well = critical.share(&critical.in_time) > 0.8 && low.share(&low.refused) > 0.5;
        if is_well { Ok(()) } else { Err(said) }
    }

    /// This one, where it was not so.
    fn suffers(self) -> Result<Self, String> {
        if self.is_well().is_err() { Ok(self) } else { Err("all was well".to_owned()) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_matters_least_is_refused_first_and_the_rest_goes_on() {
    let shows = async || {
        let run = overloaded("{target: 20ms}").await;
        run.is_well()?;
        let mut health = run.health.clone();
        health.sort_unstable();
        let slow = health[health.len() * 9 / 10];
        let is_behind = run.metrics.contains("leeward_gateway_cores_behind 1\n")
            && run.limits["cores"][0]["behind"] == true;
        if is_behind && slow < Duration::from_millis(500) {
            Ok(run)
        } else {
            Err(format!("behind: {is_behind}, health after {slow:?}"))
        }
    };
    let run = in_three_tries(shows).await;
    for seen in [&run.low, &run.critical] {
        assert_eq!(*seen.wrong.lock().unwrap(), <[String; 0]>::default());
    }
    let shed = "leeward_gateway_shed_requests_total{priority=\"low\",mode=\"enforced\"}";
    assert!(run.metrics.contains(shed), "{}", run.metrics);

    let decisions = run.rig.send(run.rig.admin("GET", "/v1/decisions?code=shed&limit=1"), "").await.json();
    let refused = &decisions["decisions"][0];
    assert_eq!(
        (&refused["stage"], &refused["option"]),
        (&"overload".into(), &"shed.target".into()),
        "{decisions}"
    );
    let values = &refused["values"];
    assert_eq!((&values["priority"], &values["allowed_ms"]), (&"low".into(), &20.into()), "{decisions}");
    assert!(values["delay_ms"].as_u64() >= Some(20), "{decisions}");

    run.rig
        .until("it keeps up again", async || {
            run.rig.metrics().await.contains("leeward_gateway_cores_behind 0\n")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_shedding_nothing_is_answered_in_time() {
    let run = in_three_tries(async || overloaded("off").await.suffers()).await;
    assert_eq!(run.low.refused.load(Ordering::Relaxed), 0);
    assert!(!run.metrics.contains("leeward_gateway_shed_requests_total{"), "{}", run.metrics);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn in_shadow_it_only_counts() {
    let run = in_three_tries(async || overloaded("{mode: shadow}").await.suffers()).await;
    assert_eq!(run.low.refused.load(Ordering::Relaxed), 0);
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
    in_time: AtomicUsize,
    late: AtomicUsize,
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
        let count = match answered {
            Ok(0) | Err(_) => &shaken.reset,
            Ok(_) if took <= PATIENCE => &shaken.in_time,
            Ok(_) => &shaken.late,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Handshakes in time, late, and not begun; then the metrics, and the share of requests that were answered on a connection that was open before.
async fn opened(shed: &str) -> ([usize; 3], String, f64) {
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
    clients.shutdown().await;
    let counts = [&shaken.in_time, &shaken.late, &shaken.reset].map(|count| count.load(Ordering::Relaxed));
    (counts, rig.metrics().await, answered)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn too_many_handshakes_are_not_begun() {
    let shows = async || {
        let ([in_time, late, reset], metrics, answered) = opened("{target: 20ms}").await;
        // On a connection that needs no handshake what is critical is answered.
        let is_well = in_time > 3 * late && in_time > 50 && reset > in_time && answered > 0.8;
        let said = format!("{in_time} in time, {late} late, {reset} reset, {answered} of what is critical");
        if is_well { Ok(metrics) } else { Err(said) }
    };
    let metrics = in_three_tries(shows).await;
    let shed = "leeward_gateway_shed_connections_total{mode=\"enforced\"}";
    assert!(metrics.contains(shed), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_shedding_handshakes_are_late() {
    in_three_tries(async || {
        let ([in_time, late, reset], ..) = opened("off").await;
        assert_eq!(reset, 0);
        if late > in_time { Ok(()) } else { Err(format!("{in_time} in time, {late} late")) }
    })
    .await;
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
