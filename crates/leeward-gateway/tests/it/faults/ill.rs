//! Services that do not do well, and a client that sees every byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::case::{Answer, Observed};
use crate::rig::Rig;

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const DOWN: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\ndown";
/// Enough in a row for the circuit breaker.
const IN_A_ROW: usize = 30;
/// A client that waits longer than any bound of a case.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is wrong with a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ill {
    Refuses,
    Hangs,
    /// Says this, and resets the connection.
    Resets(&'static [u8]),
    /// Says this, and nothing more.
    Stops(&'static [u8]),
    /// Says this and closes.
    Says(&'static [u8]),
    Slow,
    /// Answers the first request of a connection, and closes it at the second.
    ClosesKept,
    Flaps,
    KeepsFailing,
}

struct Service {
    url: String,
    asked: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Service {
    async fn start(ill: Ill) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<AtomicUsize>::default();
        let mut serving = JoinSet::new();
        if ill != Ill::Refuses {
            let asked = Arc::clone(&asked);
            serving.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(connection(ill, stream, Arc::clone(&asked)));
                }
            });
        }
        Self { url, asked, _serving: serving }
    }
}

async fn connection(ill: Ill, mut stream: TcpStream, asked: Arc<AtomicUsize>) {
    let mut request = [0_u8; 16 * 1024];
    for number in 0.. {
        if !stream.read(&mut request).await.is_ok_and(|read| read > 0) {
            return;
        }
        let all = asked.fetch_add(1, Ordering::SeqCst);
        match ill {
            Ill::Refuses | Ill::Hangs => std::future::pending().await,
            Ill::Resets(bytes) => {
                stream.write_all(bytes).await.unwrap();
                // What was sent must be there before the reset is.
                tokio::time::sleep(Duration::from_millis(20)).await;
                return reset(&stream);
            }
            Ill::Stops(bytes) => {
                stream.write_all(bytes).await.unwrap();
                std::future::pending().await
            }
            Ill::Says(bytes) => return stream.write_all(bytes).await.unwrap(),
            Ill::Slow => tokio::time::sleep(Duration::from_millis(300)).await,
            Ill::ClosesKept if number > 0 => return,
            Ill::Flaps if all.is_multiple_of(2) => return reset(&stream),
            Ill::KeepsFailing => {
                stream.write_all(DOWN).await.unwrap();
                continue;
            }
            Ill::ClosesKept | Ill::Flaps => {}
        }
        stream.write_all(GOOD).await.unwrap();
    }
}

fn reset(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Makes it happen before two gateways, so that neither request knows what became of the other.
pub(super) async fn ill(ill: Ill, options: &str) -> Observed {
    let (get, shown) = one(ill, options, "GET").await;
    let (post, _) = one(ill, options, "POST").await;
    Observed { get, post, shown }
}

async fn one(ill: Ill, options: &str, method: &str) -> (Answer, String) {
    let service = Service::start(ill).await;
    let options = if options.is_empty() { String::new() } else { format!("    {options}\n") };
    let yaml = format!(
        "explain_to: [127.0.0.1]\ncores: 1\nservices:\n  one:\n    urls: [\"{}\"]\n{options}routes:\n  - {{path: /, service: one}}\n",
        service.url
    );
    let rig = Rig::start(&yaml).await;
    let before = match ill {
        Ill::KeepsFailing => IN_A_ROW,
        Ill::ClosesKept => 1,
        _ => 0,
    };
    for _ in 0..before {
        ask(&rig, "PATCH").await;
    }
    let asked = service.asked.load(Ordering::SeqCst);
    let mut answer = ask(&rig, method).await;
    answer.asked = service.asked.load(Ordering::SeqCst) - asked;
    (answer, rig.metrics().await)
}

/// One request on a connection of its own, and all that comes back.
pub(super) async fn ask(rig: &Rig, method: &str) -> Answer {
    ask_with(rig, method, "").await
}

pub(super) async fn ask_with(rig: &Rig, method: &str, header: &str) -> Answer {
    ask_at(rig.gateway.addr(), method, header).await
}

pub(super) async fn ask_at(addr: SocketAddr, method: &str, header: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let length = if method == "GET" { "" } else { "content-length: 0\r\n" };
    let request = format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{length}{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes));
    let is_reset = read.await.expect("an answer or an end").is_err();
    read_answer(&bytes, is_reset)
}

fn read_answer(bytes: &[u8], is_reset: bool) -> Answer {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).unwrap() else {
        panic!("no answer: {:?}", String::from_utf8_lossy(bytes));
    };
    let header = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| std::str::from_utf8(header.value).unwrap())
    };
    let body = &bytes[head..];
    let length: usize = header("content-length").map_or(body.len(), |length| length.parse().unwrap());
    let problem: serde_json::Value = match header("content-type") {
        Some("application/problem+json") => serde_json::from_slice(body).unwrap(),
        _ => serde_json::Value::Null,
    };
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    Answer {
        status: response.code.unwrap(),
        code: text("code"),
        asked: 0,
        is_cut: is_reset || body.len() < length,
        hint: text("hint"),
        has_retry_after: header("retry-after").is_some(),
    }
}
