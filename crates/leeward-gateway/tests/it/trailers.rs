//! What stands behind a body, in both directions, whichever protocols are spoken.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::rig::Rig;

/// What every answer of the service has behind its body.
const BEHIND: [(&str, &str); 6] = [
    ("x-sum", "7"),
    ("content-length", "9"),
    ("set-cookie", "evil=1"),
    ("x-leeward-stale", "true"),
    ("x-inner", "secret"),
    ("x-other", "8"),
];
/// What a client gets of it.
const PASSES: [(&str, &str); 2] = [("x-sum", "7"), ("x-other", "8")];
/// What a client sends behind its body, and what the service gets of it.
const SENT: [(&str, &str); 6] = [
    ("x-check", "1"),
    ("x-user-id", "admin"),
    ("authorization", "Bearer a.b.c"),
    ("x-tenant", "evil"),
    ("host", "evil"),
    ("x-more", "2"),
];
const ARRIVES: [(&str, &str); 2] = [("x-check", "1"), ("x-more", "2")];

type Lines = Vec<(String, String)>;

/// What the service saw last.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    te: String,
    body: String,
    trailers: Lines,
}

/// A service that says trailers, over one of the two protocols.
struct Service {
    addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

impl Service {
    async fn start(is_http2: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut all = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&shared);
                if is_http2 {
                    all.spawn(two(stream, seen));
                } else {
                    all.spawn(one(stream, seen));
                }
            }
        });
        Self { addr, seen, _tasks: tasks }
    }
}

fn sorted(lines: impl IntoIterator<Item = (String, String)>) -> Lines {
    let mut lines: Lines = lines.into_iter().collect();
    lines.sort();
    lines
}

fn of(lines: &[(&str, &str)]) -> Lines {
    sorted(lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn of_map(map: &HeaderMap) -> Lines {
    sorted(map.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())))
}

fn of_text(text: &str) -> Lines {
    sorted(text.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    }))
}

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let all = lines
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
    all.collect()
}

fn text(lines: &[(&str, &str)]) -> String {
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        write!(text, "{name}: {value}\r\n").unwrap();
        text
    })
}

/// Head, data and trailers of a message in chunks, and the rest, once it is whole.
fn message(text: &str) -> Option<(String, String, String, usize)> {
    let (head, mut rest) = text.split_once("\r\n\r\n")?;
    let mut body = String::new();
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.unwrap_or(0);
        let data = rest.get(..length)?.to_owned();
        return Some((head.to_owned(), data, String::new(), head.len() + 4 + length));
    }
    loop {
        let (size, behind) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            let (trailers, rest) = match behind.strip_prefix("\r\n") {
                Some(rest) => ("", rest),
                None => behind.split_once("\r\n\r\n")?,
            };
            let used = text.len() - rest.len();
            return Some((head.to_owned(), body, trailers.to_owned(), used));
        }
        body.push_str(behind.get(..size)?);
        rest = behind.get(size + 2..)?;
    }
}

async fn read_message(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, String, String)> {
    loop {
        if let Some((head, body, trailers, used)) = message(std::str::from_utf8(buffer).unwrap()) {
            buffer.drain(..used);
            return Some((head, body, trailers));
        }
        let mut chunk = [0; 4_096];
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        buffer.extend_from_slice(&chunk[..count]);
    }
}

async fn one(mut stream: TcpStream, seen: Arc<Mutex<Seen>>) {
    let mut buffer = Vec::new();
    while let Some((head, body, trailers)) = read_message(&mut stream, &mut buffer).await {
        let line = |name: &str| {
            let found = head.lines().find_map(|line| line.strip_prefix(name));
            found.unwrap_or_default().to_owned()
        };
        let te = format!("{}/{}", line("te: "), line("connection: "));
        *seen.lock() = Seen { te, body, trailers: of_text(&trailers) };
        let behind = text(&BEHIND);
        let answer =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n{behind}\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn two(stream: TcpStream, seen: Arc<Mutex<Seen>>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut all = JoinSet::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let seen = Arc::clone(&seen);
        all.spawn(async move {
            let (head, mut stream) = request.into_parts();
            let (body, trailers) = whole(&mut stream).await.unwrap();
            let te = head.headers.get("te").map_or("", |te| te.to_str().unwrap());
            *seen.lock() = Seen { te: te.to_owned(), body, trailers };
            let mut answer = respond.send_response(Response::new(()), false).unwrap();
            answer.send_data(Bytes::from_static(b"ok"), false).unwrap();
            answer.send_trailers(map(&BEHIND)).unwrap();
        });
    }
}

async fn whole(stream: &mut h2::RecvStream) -> Result<(String, Lines), h2::Error> {
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?;
    Ok((String::from_utf8(body).unwrap(), trailers.map(|map| of_map(&map)).unwrap_or_default()))
}

async fn rig(service: &Service, is_http2: bool) -> Rig {
    let protocol = if is_http2 { "http2" } else { "http1" };
    Rig::start(&format!(
        "cores: 1\nlisten: [{{address: \"127.0.0.1:0\", protocols: [http1, http2]}}]\nservices:\n  one:\n    urls: [\"http://{}\"]\n    protocol: {protocol}\nroutes:\n  - path: /\n    service: one\n    headers:\n      request: {{set: {{x-tenant: shop}}}}\n      response: {{remove: [x-inner]}}\n",
        service.addr
    ))
    .await
}

/// Asks over HTTP/1.1, with these lines, this way of saying where the body ends, and trailers where there is room for them.
async fn ask_one(rig: &Rig, lines: &str, is_chunked: bool) -> (String, String, Lines) {
    let mut stream = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    let behind = text(&SENT);
    let body = if is_chunked {
        format!("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{behind}\r\n")
    } else {
        "content-length: 3\r\n\r\nabc".to_owned()
    };
    let mut buffer = Vec::new();
    let request = format!("POST /a HTTP/1.1\r\nhost: a\r\n{lines}{body}");
    // Twice on one connection: where the message ends both sides know.
    stream.write_all(request.as_bytes()).await.unwrap();
    let first = read_message(&mut stream, &mut buffer).await.expect("an answer");
    stream.write_all(request.as_bytes()).await.unwrap();
    let second = read_message(&mut stream, &mut buffer).await.expect("another answer");
    assert_eq!((&first.1, &first.2), (&second.1, &second.2));
    assert!(buffer.is_empty(), "{buffer:?}");
    (first.0, first.1, of_text(&first.2))
}

async fn ask_two(rig: &Rig, te: Option<&str>, length: Option<usize>, body: &'static [u8]) -> (String, Lines) {
    let stream = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    let mut driving = JoinSet::new();
    driving.spawn(async move { connection.await.unwrap() });
    let mut request = Request::builder().method(Method::POST).uri("http://a.example/a");
    if let Some(te) = te {
        request = request.header("te", te);
    }
    if let Some(length) = length {
        request = request.header("content-length", length);
    }
    let (answer, mut sending) =
        send.ready().await.unwrap().send_request(request.body(()).unwrap(), false).unwrap();
    if !body.is_empty() {
        sending.send_data(Bytes::from_static(body), false).unwrap();
    }
    sending.send_trailers(map(&SENT)).unwrap();
    let (_, mut stream) = answer.await.unwrap().into_parts();
    whole(&mut stream).await.unwrap()
}

#[tokio::test]
async fn trailers_pass_in_both_directions_over_every_pair_of_protocols() {
    for is_http2 in [false, true] {
        let service = Service::start(is_http2).await;
        let rig = rig(&service, is_http2).await;
        let te = if is_http2 { "trailers" } else { "trailers/te" };
        let arrives =
            |te: &str, body: &str| Seen { te: te.to_owned(), body: body.to_owned(), trailers: of(&ARRIVES) };
        let said = "te: trailers\r\nconnection: te\r\n";
        let (_, body, trailers) = ask_one(&rig, said, true).await;
        assert_eq!((body.as_str(), trailers), ("ok", of(&PASSES)), "{is_http2}");
        assert_eq!(*service.seen.lock(), arrives(te, "abc"), "{is_http2}");
        let (body, trailers) = ask_two(&rig, Some("trailers"), None, b"abc").await;
        assert_eq!((body.as_str(), trailers), ("ok", of(&PASSES)), "{is_http2}");
        assert_eq!(*service.seen.lock(), arrives(te, "abc"), "{is_http2}");
        // Nothing but trailers.
        ask_two(&rig, Some("trailers"), None, b"").await;
        assert_eq!(*service.seen.lock(), arrives(te, ""), "{is_http2}");
    }
}

#[tokio::test]
async fn whoever_did_not_ask_for_trailers_gets_them_over_http2_alone() {
    for is_http2 in [false, true] {
        let service = Service::start(is_http2).await;
        let rig = rig(&service, is_http2).await;
        for lines in ["", "te: gzip\r\nconnection: te\r\n"] {
            let (head, body, trailers) = ask_one(&rig, lines, true).await;
            assert_eq!((body.as_str(), trailers), ("ok", Vec::new()), "{is_http2}");
            assert!(head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{head}");
            let te = service.seen.lock().te.clone();
            assert!(te.is_empty() || te == "/", "what the client did not say the gateway does not say: {te}");
        }
        let (_, trailers) = ask_two(&rig, None, None, b"abc").await;
        assert_eq!(trailers, of(&PASSES), "{is_http2}");
    }
}

#[tokio::test]
async fn behind_a_body_of_a_known_length_http2_alone_has_room_for_them() {
    let service = Service::start(true).await;
    let rig_two = rig(&service, true).await;
    ask_two(&rig_two, None, Some(3), b"abc").await;
    let seen = service.seen.lock().clone();
    assert_eq!((seen.body.as_str(), seen.trailers), ("abc", of(&ARRIVES)));
    let service = Service::start(false).await;
    let rig_one = rig(&service, false).await;
    let (_, trailers) = ask_two(&rig_one, None, Some(3), b"abc").await;
    assert_eq!(trailers, of(&PASSES));
    let seen = service.seen.lock().clone();
    assert_eq!((seen.body.as_str(), seen.trailers), ("abc", Vec::new()));
    let (_, body, trailers) = ask_one(&rig_one, "te: trailers\r\n", false).await;
    assert_eq!((body.as_str(), trailers), ("ok", of(&PASSES)));
}

#[tokio::test]
async fn trailers_are_no_larger_than_a_head() {
    let service = Service::start(false).await;
    let rig = Rig::start(&format!(
        "limits: {{head: 1KiB, headers: 20}}\nlisten: [{{address: \"127.0.0.1:0\", protocols: [http1, http2]}}]\nroutes: [{{path: /, service: \"http://{}\"}}]\n",
        service.addr
    ))
    .await;
    let chunked = |trailers: &str| {
        format!(
            "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{trailers}\r\n"
        )
    };
    let line = |bytes: usize| format!("x-a: {}\r\n", "y".repeat(bytes - "x-a: \r\n\r\n".len()));
    for (trailers, status) in [
        (line(1_024), "200"),
        (line(1_025), "400"),
        ("x: a\r\n".repeat(20), "200"),
        ("x: a\r\n".repeat(21), "400"),
    ] {
        let answer = rig.raw(chunked(&trailers).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{} bytes: {answer}", trailers.len());
        assert!(status == "200" || answer.contains("\"rule\":\"trailer\""), "{answer}");
    }
    // The library drops what is beyond the bytes; lines are counted here.
    let stream = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    let mut driving = JoinSet::new();
    driving.spawn(async move { connection.await.unwrap() });
    for (count, status) in [(20, 200), (21, 400)] {
        let request = Request::builder().method(Method::POST).uri("http://a.example/a").body(()).unwrap();
        let (answer, mut sending) = send.clone().ready().await.unwrap().send_request(request, false).unwrap();
        let name = |number: usize| http::HeaderName::try_from(format!("x-{number}")).unwrap();
        let value = http::HeaderValue::from_static("a");
        sending.send_trailers((0..count).map(|number| (name(number), value.clone())).collect()).unwrap();
        assert_eq!(answer.await.unwrap().status().as_u16(), status, "{count}");
    }
}
