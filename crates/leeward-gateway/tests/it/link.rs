//! Connections to services: when one is used again, when it is not, and what becomes of those that are idle. The services are raw
//! sockets that a test plays itself.

use std::sync::Arc;
use std::time::Duration;

use leeward_discovery::{Directory, Endpoint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::rig::{Answer, Rig, Upstream};

/// Longer than anything here takes, on a busy machine too.
const SOON: Duration = Duration::from_secs(20);
/// More than the buffers of all sockets on the way hold.
const LENGTH: usize = 64 * 1_024 * 1_024;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

struct Played {
    rig: Arc<Rig>,
    listener: TcpListener,
    asked: JoinSet<Answer>,
}

impl Played {
    async fn start(service: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let rig = Rig::start(&format!(
            "cores: 1\nlimits: {{body: 1GiB}}\nservices:\n  one:\n    urls: [{url}]\n{service}\nroutes:\n  - {{path: /, service: one}}\n"
        ))
        .await;
        Self { rig: Arc::new(rig), listener, asked: JoinSet::new() }
    }

    fn ask(&mut self, method: &str, body: impl Into<bytes::Bytes>) {
        let (rig, request, body) = (Arc::clone(&self.rig), self.rig.request(method, "/a"), body.into());
        self.asked.spawn(async move { rig.send(request, body).await });
    }

    async fn accept(&self) -> TcpStream {
        timeout(SOON, self.listener.accept()).await.expect("the gateway connects").unwrap().0
    }

    /// Whether the gateway connects once more.
    async fn connects(&self) -> bool {
        timeout(Duration::from_millis(300), self.listener.accept()).await.is_ok()
    }

    async fn answered(&mut self) -> Answer {
        timeout(SOON, self.asked.join_next()).await.expect("the client is answered").unwrap().unwrap()
    }
}

/// A request with its body, of which the length is known.
async fn request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut bytes = [0; 4_096];
    loop {
        let said = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = said.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return said;
            }
        }
        let count = timeout(SOON, stream.read(&mut bytes)).await.expect("a request comes").unwrap();
        assert_ne!(count, 0, "the gateway left after {said:?}");
        text.extend_from_slice(&bytes[..count]);
    }
}

/// One request and its answer, over this connection.
async fn one(played: &mut Played, stream: &mut TcpStream) {
    played.ask("GET", "");
    request(stream).await;
    stream.write_all(OK).await.unwrap();
    assert_eq!(played.answered().await.body, "ok");
}

/// One request and its answer, over a new connection.
async fn first(played: &mut Played) -> TcpStream {
    played.ask("GET", "");
    let mut stream = played.accept().await;
    request(&mut stream).await;
    stream.write_all(OK).await.unwrap();
    assert_eq!(played.answered().await.body, "ok");
    stream
}

/// Waits until the gateway has closed its side.
async fn is_left(stream: &mut TcpStream) -> bool {
    let mut bytes = vec![0; 64 * 1_024];
    let left = async { while let Ok(1..) = stream.read(&mut bytes).await {} };
    timeout(SOON, left).await.is_ok()
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let mut played = Played::start("").await;
    let mut stream = first(&mut played).await;
    one(&mut played, &mut stream).await;
    one(&mut played, &mut stream).await;
    assert!(!played.connects().await);
}

/// So many letters, of which no two stretches look alike for long.
fn letters(count: usize) -> String {
    (0..count).map(|at| char::from(b'a' + u8::try_from((at + at / 26 + at / 1_000) % 26).unwrap())).collect()
}

/// An answer in chunks of 4,000 bytes.
fn in_chunks(body: &str) -> String {
    let chunks = body.as_bytes().chunks(4_000).map(|chunk| {
        let text = std::str::from_utf8(chunk).unwrap();
        format!("{:x}\r\n{text}\r\n", chunk.len())
    });
    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunks.collect::<String>())
}

/// What is copied, what is written from where it is, and what is handed on in the memory that it was read into.
#[tokio::test]
async fn bodies_of_all_sizes_pass_as_they_are_each_way() {
    const EDGES: [usize; 8] = [1, 1_024, 2_048, 16_384, 32_768, 65_536, 81_920, 200_000];
    let mut played = Played::start("").await;
    let mut stream = first(&mut played).await;
    for size in EDGES.into_iter().flat_map(|edge| [edge - 1, edge, edge + 1]) {
        let body = letters(size);
        for is_chunked in [false, true] {
            played.ask("POST", body.clone());
            let came = request(&mut stream).await;
            assert!(came.ends_with(&format!("\r\n\r\n{body}")), "{size} bytes, one way");
            let answer = if is_chunked {
                in_chunks(&body)
            } else {
                format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n{body}")
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            assert!(played.answered().await.body == body, "{size} bytes, the other way");
        }
    }
    assert!(!played.connects().await);
}

#[tokio::test]
async fn what_a_service_says_unasked_is_not_the_next_answer() {
    const EVIL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    for together in [true, false] {
        let mut played = Played::start("").await;
        played.ask("GET", "");
        let mut stream = played.accept().await;
        request(&mut stream).await;
        if together {
            stream.write_all(&[OK, EVIL].concat()).await.unwrap();
        } else {
            stream.write_all(OK).await.unwrap();
        }
        assert_eq!(played.answered().await.body, "ok");
        if !together {
            stream.write_all(EVIL).await.unwrap();
        }
        assert!(is_left(&mut stream).await, "it is not kept");
        played.ask("GET", "");
        let mut other = played.accept().await;
        request(&mut other).await;
        other.write_all(OK).await.unwrap();
        assert_eq!(played.answered().await.body, "ok", "together: {together}");
    }
}

#[tokio::test]
async fn a_status_without_a_body_that_announces_one_ends_the_connection() {
    for (head, is_kept) in [
        ("204 No Content\r\ncontent-length: 4", false),
        ("204 No Content\r\ntransfer-encoding: chunked", false),
        ("304 Not Modified\r\ntransfer-encoding: chunked", false),
        ("304 Not Modified\r\ncontent-length: 4", true),
        ("204 No Content\r\ncontent-length: 0", true),
    ] {
        let mut played = Played::start("").await;
        played.ask("GET", "");
        let mut stream = played.accept().await;
        request(&mut stream).await;
        stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(played.answered().await.body, "");
        played.ask("GET", "");
        if !is_kept {
            stream = played.accept().await;
        }
        request(&mut stream).await;
        stream.write_all(OK).await.unwrap();
        assert_eq!(played.answered().await.body, "ok", "{head}");
    }
}

#[tokio::test]
async fn an_idle_connection_that_the_service_closed_is_let_go_and_so_is_one_that_is_too_old() {
    let mut played = Played::start("    idle_timeout: 500ms").await;
    let mut stream = first(&mut played).await;
    stream.shutdown().await.unwrap();
    assert!(is_left(&mut stream).await, "the service closed it");

    let mut stream = first(&mut played).await;
    assert!(is_left(&mut stream).await, "nobody uses it any more");
}

#[tokio::test]
async fn a_request_whose_used_connection_ends_unanswered_is_sent_once_more_if_that_does_no_harm() {
    for (method, body, is_repeated) in [("GET", "", true), ("PUT", "same", true), ("POST", "order", false)] {
        let mut played = Played::start("    retry: {max_retries: 0}").await;
        let mut stream = first(&mut played).await;

        played.ask(method, body);
        let first = request(&mut stream).await;
        drop(stream);
        if is_repeated {
            let mut other = played.accept().await;
            let again = request(&mut other).await;
            assert_eq!(first.split_once("\r\n\r\n").unwrap().1, again.split_once("\r\n\r\n").unwrap().1);
            drop(other);
        }
        assert_eq!(played.answered().await.status, 502, "{method}: a new connection is not tried twice");
        assert!(!played.connects().await, "{method}");
    }
}

#[tokio::test]
async fn an_answer_that_began_is_not_asked_for_again() {
    let mut played = Played::start("    retry: {max_retries: 0}").await;
    let mut stream = first(&mut played).await;
    for begun in ["HTTP/1.1 2", "HTTP/1.1 102 Processing\r\n\r\n"] {
        played.ask("GET", "");
        request(&mut stream).await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        drop(stream);
        assert_eq!(played.answered().await.status, 502, "{begun:?}");
        assert!(!played.connects().await, "{begun:?}");
        played.ask("GET", "");
        stream = played.accept().await;
        request(&mut stream).await;
        stream.write_all(OK).await.unwrap();
        assert_eq!(played.answered().await.status, 200);
    }
}

#[tokio::test]
async fn an_early_answer_reaches_the_client_and_the_upload_goes_on() {
    let mut played = Played::start("").await;
    played.ask("POST", vec![b'x'; LENGTH]);
    let mut stream = played.accept().await;
    let mut bytes = vec![0; 64 * 1_024];
    // The head and a little of the body, then the beginning of the answer.
    let mut seen = stream.read(&mut bytes).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no").await.unwrap();
    while seen < LENGTH {
        let count = timeout(SOON, stream.read(&mut bytes)).await.expect("the upload goes on").unwrap();
        assert_ne!(count, 0);
        seen += count;
    }
    stream.write_all(b"k").await.unwrap();
    assert_eq!(played.answered().await.body, "ok");
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_ends_the_connection() {
    let mut played = Played::start("    retry: {max_retries: 0}").await;
    played.ask("POST", vec![b'x'; LENGTH]);
    let mut stream = played.accept().await;
    let _some = stream.read(&mut [0; 1_024]).await.unwrap();
    stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert_eq!(played.answered().await.status, 413);
    played.ask("GET", "");
    let mut other = played.accept().await;
    request(&mut other).await;
    other.write_all(OK).await.unwrap();
    assert_eq!(played.answered().await.status, 200, "over another connection");
}

#[tokio::test]
async fn an_upload_that_is_cut_after_the_answer_began_ends_both() {
    let played = Played::start("").await;
    let mut client = TcpStream::connect(played.rig.gateway.addr()).await.unwrap();
    client.write_all(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome").await.unwrap();
    let mut stream = played.accept().await;
    let _some = stream.read(&mut [0; 1_024]).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no").await.unwrap();
    let _head = timeout(SOON, client.read(&mut [0; 1_024])).await.expect("the answer begins").unwrap();
    drop(client);
    assert!(is_left(&mut stream).await, "the service waits for a rest that does not come");
}

#[tokio::test]
async fn endpoints_of_two_services_may_have_one_id() {
    let directory = Directory::new();
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    for (name, upstream) in [("one", &one), ("two", &two)] {
        directory.set(name, [Endpoint::from(upstream.addr).with_id("0")]);
    }
    let yaml = "cores: 1\nservices: {one: {}, two: {}}\nroutes:\n  - {path: /one, service: one}\n  - {path: /two, service: two}\n";
    let rig = Rig::with(yaml, |builder| builder.directory(directory)).await;
    for _ in 0..3 {
        assert_eq!(rig.get("/one").await.status, 200);
        assert_eq!(rig.get("/two").await.status, 200);
    }
    assert_eq!((one.hits(), two.hits()), (3, 3));
}
