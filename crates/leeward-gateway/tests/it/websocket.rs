//! WebSocket through the gateway, between a real client and a real server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use crate::rig::{Rig, Upstream, serve_each, token};

/// Longer than anything here takes, on a busy machine too.
const SOON: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
struct Seen {
    heads: Mutex<Vec<HeaderMap>>,
    open: AtomicUsize,
    /// With which codes clients said goodbye; `None`: without.
    closes: Mutex<Vec<Option<u16>>>,
}

/// A server that says back what it hears.
struct Echo {
    addr: SocketAddr,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let (addr, tasks) = serve_each(move |stream| echo(stream, Arc::clone(&shared))).await;
        Self { addr, seen, _tasks: tasks }
    }

    fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }
}

#[allow(clippy::result_large_err, reason = "as the library has it")]
async fn echo(stream: TcpStream, seen: Arc<Seen>) {
    let heads = Arc::clone(&seen);
    let look = move |request: &Request, mut response: Response| {
        heads.heads.lock().push(request.headers().clone());
        if let Some(offered) = request.headers().get("sec-websocket-protocol") {
            let first = offered.to_str().unwrap().split(", ").next().unwrap();
            response.headers_mut().insert("sec-websocket-protocol", first.parse().unwrap());
        }
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, look).await else { return };
    seen.open.fetch_add(1, Ordering::SeqCst);
    let mut close = None;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) if text.as_str() == "leave" => {
                let frame = CloseFrame { code: CloseCode::Library(4_000), reason: "enough".into() };
                let _gone = socket.close(Some(frame)).await;
            }
            Message::Text(_) | Message::Binary(_) => {
                let sent = socket.send(message).await;
                if sent.is_err() {
                    break;
                }
            }
            Message::Close(frame) => close = frame.map(|frame| u16::from(frame.code)),
            _ => {}
        }
    }
    seen.closes.lock().push(close);
    seen.open.fetch_sub(1, Ordering::SeqCst);
}

async fn rig(echo: &Echo, route: &str, more: &str) -> Rig {
    Rig::start(&yaml(echo, route, more)).await
}

fn yaml(echo: &Echo, route: &str, more: &str) -> String {
    format!(
        "cores: 1\nservices:\n  echo: {{urls: [\"http://{}\"], retry: off}}\n{more}\nroutes:\n  - {{path: /, service: echo}}\n  - {{path: /ws, service: echo, upgrade: [websocket]{route}}}\n",
        echo.addr
    )
}

type Socket = WebSocketStream<TcpStream>;

async fn open(
    rig: &Rig,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<(Socket, http::Response<Option<Vec<u8>>>), tungstenite::Error> {
    let mut request = format!("ws://{}{path}", rig.gateway.addr()).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    client_async(request, stream).await
}

async fn next(socket: &mut Socket) -> Option<Message> {
    tokio::time::timeout(SOON, socket.next()).await.expect("something comes").and_then(Result::ok)
}

/// So many tunnels, once the gateway counts them.
async fn tunnels(rig: &Rig, count: usize) {
    let line = format!("leeward_gateway_tunnels {count}\n");
    rig.until(&line, async || rig.metrics().await.contains(&line)).await;
}

async fn ended(rig: &Rig, end: &str) {
    let line = format!("leeward_gateway_tunnels_ended_total{{end=\"{end}\"}} 1\n");
    rig.until(&line, async || rig.metrics().await.contains(&line)).await;
}

#[tokio::test]
async fn messages_of_any_size_pass_in_both_directions_until_one_side_closes() {
    let echo = Echo::start().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let rig = rig(&echo, "", &format!("access_log: {{to: \"file:{}\"}}", log.display())).await;
    let asked = [("sec-websocket-protocol", "chat, other"), ("x-user-id", "admin"), ("x-kept", "1")];
    let (mut socket, answer) = open(&rig, "/ws/a?b=c", &asked).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["sec-websocket-protocol"]),
        (101, &"chat".parse().unwrap())
    );
    assert!(answer.headers().contains_key("x-request-id"));
    let head = echo.seen.heads.lock().pop().unwrap();
    assert_eq!(
        (&head["x-kept"], &head["x-service-name"]),
        (&"1".parse().unwrap(), &"gateway".parse().unwrap())
    );
    assert!(!head.contains_key("x-user-id") && head.contains_key("x-request-id"));
    tunnels(&rig, 1).await;
    let big = vec![7_u8; 3_000_000];
    for message in [Message::text("hello"), Message::text(""), Message::binary(big), Message::text("bye")] {
        socket.send(message.clone()).await.unwrap();
        assert!(next(&mut socket).await.unwrap() == message);
    }
    socket.send(Message::Ping(vec![1, 2].into())).await.unwrap();
    assert_eq!(next(&mut socket).await.unwrap(), Message::Pong(vec![1, 2].into()));
    let frame = CloseFrame { code: CloseCode::Library(4_001), reason: "done".into() };
    socket.close(Some(frame)).await.unwrap();
    while next(&mut socket).await.is_some() {}
    drop(socket);
    ended(&rig, "closed").await;
    tunnels(&rig, 0).await;
    assert_eq!(*echo.seen.closes.lock(), [Some(4_001)]);
    // The other way round.
    let (mut socket, _) = open(&rig, "/ws", &[]).await.unwrap();
    socket.send(Message::text("leave")).await.unwrap();
    let Some(Message::Close(Some(frame))) = next(&mut socket).await else { panic!("a goodbye") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4_000, "enough"));
    while next(&mut socket).await.is_some() {}
    drop(socket);
    rig.until("both lines are there", async || std::fs::read_to_string(&log).unwrap().lines().count() == 2)
        .await;
    let text = std::fs::read_to_string(&log).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((first["status"].as_u64(), first["outcome"].as_str()), (Some(101), Some("complete")));
    assert!(first["bytes_in"].as_u64().unwrap() > 3_000_000, "{first}");
    assert!(first["bytes_out"].as_u64().unwrap() > 3_000_000, "{first}");
}

/// A handshake as the specification has it, with other lines in place of its own.
fn handshake(method: &str, path: &str, change: &[(&str, &str)], more: &str) -> String {
    let mut lines = [
        ("Host", "a"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    for (name, value) in change {
        lines.iter_mut().filter(|(known, _)| known == name).for_each(|line| line.1 = value);
    }
    let lines: String = lines
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("{method} {path} HTTP/1.1\r\n{lines}{more}\r\n")
}

#[tokio::test]
async fn a_handshake_that_is_none_reaches_no_service() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&format!(
        "cores: 1\njwt: {{service: one, issuer: users, audience: shop}}\nservices: {{one: {{urls: [\"{}\"]}}}}\nroutes:\n  - {{path: /ws, service: one, upgrade: [websocket]}}\n  - {{path: /mine, service: one, upgrade: [websocket], access: user}}\n  - {{path: /plain, service: one}}\n",
        upstream.url()
    ))
    .await;
    let keys = upstream.hits();
    for (method, path, change, more) in [
        ("GET", "/ws", &[("Sec-WebSocket-Key", "")][..], ""),
        ("GET", "/ws", &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j")], ""),
        ("GET", "/ws", &[("Sec-WebSocket-Version", "8")], ""),
        ("GET", "/ws", &[], "Sec-WebSocket-Version: 13\r\n"),
        ("GET", "/ws", &[], "Content-Length: 3\r\n"),
        ("POST", "/ws", &[], "Content-Length: 0\r\n"),
    ] {
        let answer = rig.raw(handshake(method, path, change, more).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("malformed_request"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    // Who may not come may not come in this way either, and what stands behind the handshake is nobody's request.
    let hidden = "GET /plain/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = rig.raw((handshake("GET", "/mine", &[], "") + hidden).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
    assert_eq!(upstream.hits(), keys);
    // A service that does not switch answers, and the connection ends.
    let bearer = format!("Authorization: Bearer {}\r\n", token("u1", "user"));
    let answer = rig.raw((handshake("GET", "/mine", &[], &bearer) + hidden).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
    assert!(answer.contains("\"upgrade\":\"websocket\"") && answer.contains("connection: close"), "{answer}");
    assert_eq!(upstream.hits(), keys + 1);
    // Where the route says nothing of it, and where nothing is asked for, it is a request as any other.
    for (path, change) in
        [("/plain", &[][..]), ("/ws", &[("Upgrade", "h2c")]), ("/ws", &[("Connection", "close")])]
    {
        let answer = rig.raw(handshake("GET", path, change, "").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("\"upgrade\""), "{answer}");
    }
}

#[tokio::test]
async fn a_service_switches_only_as_it_was_asked_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start(&format!(
        "cores: 1\nservices: {{one: {{urls: [\"http://{}\"], retry: off, circuit_breaker: off, outlier_ejection: off}}}}\nroutes: [{{path: /, service: one, upgrade: [websocket]}}]\n",
        listener.local_addr().unwrap()
    ))
    .await;
    let answers = async |answer: &str, asks: &str| {
        let play = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _left = stream.read(&mut [0; 64]).await;
        };
        let asked = asks.to_owned();
        tokio::join!(rig.raw(asked.as_bytes()), play).0
    };
    let asks = handshake("GET", "/", &[], "");
    let right = "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    // What comes right behind the head is the client's.
    let answer = answers(&format!("{right}X-Inner: 1\r\nConnection: X-Inner\r\n\r\n\u{1}early"), &asks).await;
    assert!(
        answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n") && answer.ends_with("\r\n\r\n\u{1}early"),
        "{answer}"
    );
    assert!(
        answer.contains("upgrade: websocket\r\nconnection: upgrade\r\n") && !answer.contains("x-inner"),
        "{answer}"
    );
    for wrong in [
        right.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        right.replace("Upgrade: websocket", "Upgrade: h2c"),
        right.replace("Connection: Upgrade\r\n", ""),
        format!("{right}Sec-WebSocket-Protocol: chat\r\n"),
        format!("{right}Sec-WebSocket-Extensions: permessage-deflate\r\n"),
    ] {
        let answer =
            answers(&format!("{wrong}\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"), &asks).await;
        assert!(
            answer.starts_with("HTTP/1.1 502") && answer.contains("upstream_invalid"),
            "{wrong}: {answer}"
        );
        assert!(!answer.contains("evil"), "{answer}");
    }
    let unasked = answers(&format!("{right}\r\n"), "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(unasked.starts_with("HTTP/1.1 502"), "{unasked}");
}

#[tokio::test]
async fn a_tunnel_has_clocks_of_its_own() {
    let echo = Echo::start().await;
    let rig = rig(
        &echo,
        ", tunnel: {idle_timeout: 1s}",
        "limits: {deadline: 300ms, body_timeout: 300ms, idle_timeout: 300ms}",
    )
    .await;
    let (mut socket, _) = open(&rig, "/ws", &[]).await.unwrap();
    // Something passes, for longer than any other clock allows.
    for _ in 0..6 {
        socket.send(Message::text("a")).await.unwrap();
        assert_eq!(next(&mut socket).await, Some(Message::text("a")));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(next(&mut socket).await, None, "nothing passes any more");
    ended(&rig, "idle").await;
    rig.until("the service is left", async || echo.open() == 0).await;
    rig.reload(&yaml(&echo, ", tunnel: {max_duration: 1s}", "")).unwrap();
    let (mut socket, _) = open(&rig, "/ws", &[]).await.unwrap();
    let talk = async {
        while socket.send(Message::text("a")).await.is_ok() && next(&mut socket).await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, talk).await.expect("it does not go on for ever");
    ended(&rig, "duration").await;
}

#[tokio::test]
async fn a_reload_cuts_no_tunnel_and_a_tunnel_takes_nobodys_place() {
    let echo = Echo::start().await;
    let limits = "concurrency_limit: {limit: 1, queue: 0}";
    let rig = rig(&echo, "", limits).await;
    let (mut first, _) = open(&rig, "/ws", &[]).await.unwrap();
    let (mut second, _) = open(&rig, "/ws", &[]).await.expect("the first holds no place");
    tunnels(&rig, 2).await;
    rig.reload(&yaml(&echo, "", "limits: {deadline: 9s}")).unwrap();
    let without = yaml(&echo, "", "").replace("  - {path: /ws, service: echo, upgrade: [websocket]}\n", "");
    rig.reload(&without).unwrap();
    assert!(open(&rig, "/ws", &[]).await.is_err(), "the route is gone");
    for socket in [&mut first, &mut second] {
        socket.send(Message::text("still here")).await.unwrap();
        assert_eq!(next(socket).await, Some(Message::text("still here")));
    }
    // One side that is gone is gone for the other.
    drop(first);
    rig.until("the service hears of it", async || echo.open() == 1).await;
}

#[tokio::test]
async fn at_a_stop_both_sides_are_told_and_close() {
    let echo = Echo::start().await;
    let rig = rig(&echo, "", "limits: {drain: 10s}").await;
    let (mut socket, _) = open(&rig, "/ws", &[]).await.unwrap();
    socket.send(Message::text("a")).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::text("a")));
    let began = tokio::time::Instant::now();
    // It closes its side when the other one is closed.
    let client = async move {
        let told = next(&mut socket).await;
        while next(&mut socket).await.is_some() {}
        told
    };
    let (told, report) = tokio::join!(client, rig.tasks.shutdown(Duration::from_secs(15)));
    let Some(Message::Close(Some(frame))) = told else { panic!("a goodbye: {told:?}") };
    assert_eq!(u16::from(frame.code), 1_001);
    assert!(report.is_clean(), "{report}");
    assert!(began.elapsed() < Duration::from_secs(8), "neither side was waited for in vain");
    rig.until("the service was told too", async || *echo.seen.closes.lock() == [Some(1_001)]).await;
}
