//! Answers that last: events sent by a server, over both protocols. The service is a raw socket that a test plays itself.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::rig::Rig;

/// Longer than anything here takes, on a busy machine too.
const SOON: Duration = Duration::from_secs(20);
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n";

struct Played {
    rig: Rig,
    listener: TcpListener,
}

impl Played {
    async fn start(service: &str, more: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rig = Rig::start(&yaml(&listener, service, more)).await;
        Self { rig, listener }
    }

    /// The service's side of a request that came.
    async fn asked(&self) -> TcpStream {
        let (mut stream, _) = timeout(SOON, self.listener.accept()).await.expect("it is asked").unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            assert_ne!(timeout(SOON, stream.read_buf(&mut read)).await.unwrap().unwrap(), 0);
        }
        stream
    }
}

fn yaml(listener: &TcpListener, service: &str, more: &str) -> String {
    format!(
        "cores: 1\n{more}\nlisten: [{{address: \"127.0.0.1:0\", protocols: [http1, http2]}}]\nservices:\n  one:\n    urls: [\"http://{}\"]\n{service}\nroutes:\n  - {{path: /events, service: one}}\n  - {{path: /, service: one}}\n",
        listener.local_addr().unwrap()
    )
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// A client over one of the two protocols, which reads what comes.
enum Client {
    One(TcpStream, Vec<u8>),
    Two { stream: h2::RecvStream, _driving: JoinSet<()> },
}

impl Client {
    async fn ask(played: &Played, is_http2: bool) -> (Self, TcpStream) {
        let mut stream = TcpStream::connect(played.rig.gateway.addr()).await.unwrap();
        if !is_http2 {
            stream.write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut service = played.asked().await;
            service.write_all(format!("{HEAD}transfer-encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                assert_ne!(timeout(SOON, stream.read_buf(&mut read)).await.unwrap().unwrap(), 0);
            }
            assert!(String::from_utf8_lossy(&read).contains("content-type: text/event-stream\r\n"));
            return (Self::One(stream, Vec::new()), service);
        }
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        let mut driving = JoinSet::new();
        driving.spawn(async move {
            let _ended = connection.await;
        });
        let request = http::Request::get("http://a.example/events").body(()).unwrap();
        let (answer, _) = send.ready().await.unwrap().send_request(request, true).unwrap();
        let mut service = played.asked().await;
        service.write_all(format!("{HEAD}transfer-encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
        let answer = timeout(SOON, answer).await.expect("the head is not held back").unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        (Self::Two { stream: answer.into_body(), _driving: driving }, service)
    }

    /// What comes next; `None` at the end, `Err` when it was cut.
    async fn next(&mut self) -> Result<Option<Bytes>, ()> {
        match self {
            Self::One(stream, rest) => loop {
                let text = String::from_utf8_lossy(rest).into_owned();
                if let Some((size, data)) = text.split_once("\r\n") {
                    let size = usize::from_str_radix(size, 16).unwrap();
                    if data.len() >= size + 2 {
                        rest.drain(..text.len() - data.len() + size + 2);
                        return Ok((size > 0).then(|| Bytes::copy_from_slice(&data.as_bytes()[..size])));
                    }
                }
                let read = timeout(SOON, stream.read_buf(rest)).await.expect("it is not held back");
                if !matches!(read, Ok(1..)) {
                    return Err(());
                }
            },
            // Over HTTP/2 the end may come with a piece of nothing.
            Self::Two { stream, .. } => loop {
                match timeout(SOON, stream.data()).await.expect("it is not held back") {
                    None => return Ok(None),
                    Some(Ok(data)) if data.is_empty() => {}
                    Some(Ok(data)) => {
                        stream.flow_control().release_capacity(data.len()).unwrap();
                        return Ok(Some(data));
                    }
                    Some(Err(_)) => return Err(()),
                }
            },
        }
    }
}

#[tokio::test]
async fn an_event_passes_as_it_comes_for_longer_than_any_deadline_and_over_reloads() {
    for is_http2 in [false, true] {
        let short =
            "limits: {deadline: 300ms, body_timeout: 300ms, idle_timeout: 300ms, head_timeout: 300ms}";
        let played = Played::start("    attempt_timeout: 200ms", short).await;
        let (mut client, mut service) = Client::ask(&played, is_http2).await;
        for number in 0..8 {
            let event = format!("data: {number}\n\n");
            service.write_all(chunk(&event).as_bytes()).await.unwrap();
            // The service says nothing more before this one is here.
            assert_eq!(client.next().await, Ok(Some(event.into())), "{is_http2}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            match number {
                3 => drop(
                    played.rig.reload(&yaml(&played.listener, "    attempt_timeout: 150ms", short)).unwrap(),
                ),
                5 => {
                    let without =
                        yaml(&played.listener, "", short).replace("  - {path: /events, service: one}\n", "");
                    drop(played.rig.reload(&without).unwrap());
                }
                _ => {}
            }
        }
        service.write_all(b"0\r\n\r\n").await.unwrap();
        assert_eq!(client.next().await, Ok(None), "{is_http2}");
    }
}

#[tokio::test]
async fn a_service_that_falls_silent_is_left_and_the_client_sees_a_cut() {
    for is_http2 in [false, true] {
        let played = Played::start("    read_timeout: 300ms", "").await;
        let (mut client, mut service) = Client::ask(&played, is_http2).await;
        service.write_all(chunk(": still here\n\n").as_bytes()).await.unwrap();
        assert_eq!(client.next().await, Ok(Some(": still here\n\n".into())));
        assert_eq!(client.next().await, Err(()), "{is_http2}: silence is no end");
        assert_eq!(timeout(SOON, service.read(&mut [0; 1])).await.expect("it is left").unwrap_or(0), 0);
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_gone_for_the_service_too() {
    for is_http2 in [false, true] {
        let played = Played::start("", "").await;
        let (mut client, mut service) = Client::ask(&played, is_http2).await;
        service.write_all(chunk("data: 1\n\n").as_bytes()).await.unwrap();
        assert_eq!(client.next().await, Ok(Some("data: 1\n\n".into())));
        drop(client);
        // Nothing is sent: it is not the next event that finds out.
        assert_eq!(
            timeout(SOON, service.read(&mut [0; 1])).await.expect("it is left").unwrap_or(0),
            0,
            "{is_http2}"
        );
        let none = "leeward_gateway_requests_in_flight 0\n";
        played.rig.until(none, async || played.rig.metrics().await.contains(none)).await;
    }
}
