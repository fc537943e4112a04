//! A client's connection: how it goes on, how it ends, and what either side sees when the other one breaks off.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{Rig, Upstream};

async fn rig(more: &str) -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let yaml = format!("{more}\nroutes:\n  - {{path: /, service: \"{}\"}}\n", upstream.url());
    (Rig::start(&yaml).await, upstream)
}

async fn connect(rig: &Rig) -> TcpStream {
    TcpStream::connect(rig.gateway.addr()).await.unwrap()
}

/// One answer that says its length, and what came with it.
pub(crate) async fn answer(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        let mut chunk = [0_u8; 4_096];
        let count = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut chunk))
            .await
            .expect(&text)
            .unwrap();
        assert!(count > 0, "closed after {text:?}");
        all.extend_from_slice(&chunk[..count]);
    }
}

/// Everything until the end, and whether that was a clean one.
pub(crate) async fn rest(stream: &mut TcpStream) -> (String, bool) {
    let mut all = Vec::new();
    let read =
        tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut all)).await.expect("an end");
    (String::from_utf8_lossy(&all).into_owned(), read.is_ok())
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let (rig, upstream) = rig("limits: {body: 100KiB}").await;
    let mut stream = connect(&rig).await;
    for path in ["/1", "/2"] {
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(answer(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"abc").await.unwrap();
        let said = answer(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 200") && said.contains("\"body_bytes\":3"), "{said}");
    }
    // A refusal comes instead, and nobody waits for a body that may never come.
    let large = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(large).await.unwrap();
    let (said, _) = rest(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 413") && said.contains("connection: close"), "{said}");
    let other = rig.raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: tea\r\n\r\nabc").await;
    assert!(other.starts_with("HTTP/1.1 417") && other.contains("\"rule\":\"expectation\""), "{other}");
    assert_eq!(upstream.hits(), 2);
}

#[tokio::test]
async fn the_old_version_ends_with_its_answer_unless_it_asks_to_stay() {
    let (rig, _upstream) = rig("").await;
    let mut stream = connect(&rig).await;
    stream.write_all(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
    assert!(answer(&mut stream).await.contains("connection: keep-alive"));
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let (said, clean) = rest(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("connection: close") && clean, "{said}");
}

#[tokio::test]
async fn a_head_alone_says_the_length_and_brings_nothing() {
    let (rig, _upstream) = rig("").await;
    let mut stream = connect(&rig).await;
    stream.write_all(b"HEAD /?bytes=5000 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let (said, _) = rest(&mut stream).await;
    let (head, next) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: 5000"), "{head}");
    assert!(next.starts_with("HTTP/1.1 200") && next.contains("\"target\":\"/2\""), "{next}");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it() {
    let (rig, upstream) = rig("").await;
    // Read by the request itself, or by the connection to the service while the request waits.
    for (round, (length, body)) in
        [("Content-Length: 3", "abc"), ("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n")]
            .into_iter()
            .enumerate()
    {
        let mut stream = connect(&rig).await;
        let head = format!("POST /?sleep=60000 HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n");
        let requests = || rig.gateway.cores().iter().map(|(_, requests)| requests).sum::<u64>();
        let before = requests();
        stream.write_all(head.as_bytes()).await.unwrap();
        rig.until("it is served", async || requests() > before).await;
        stream.write_all(body.as_bytes()).await.unwrap();
        rig.until("the request is on its way", async || upstream.hits() == round + 1).await;
        drop(stream);
        let nobody_works = rig.until("nobody works for it", async || {
            let limits = rig.send(rig.admin("GET", "/v1/limits"), "").await.json();
            limits["requests_in_flight"] == 0
        });
        // Long before the attempt would end by itself.
        tokio::time::timeout(Duration::from_secs(1), nobody_works).await.expect("at once");
    }
    assert_eq!(rig.get("/").await.status, 200);
}

#[tokio::test]
async fn a_body_that_nobody_reads_does_not_become_the_next_request() {
    let upstream = Upstream::start().await;
    let route = |path: &str, methods: &str| {
        format!("  - {{path: {path}, methods: [{methods}], service: \"{}\"}}\n", upstream.url())
    };
    let rig = Rig::start(&format!("routes:\n{}", route("/", "GET"))).await;
    let inner = "GET /inner HTTP/1.1\r\nHost: a\r\n\r\n";
    // A short one is read and dropped, and the connection goes on.
    let mut stream = connect(&rig).await;
    let refused = format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inner}", inner.len());
    stream.write_all(refused.as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 405"));
    stream.write_all(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let said = answer(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("/next"), "{said}");
    // A long one, or one of unknown length, is not, and the connection ends; the answer arrives all the same.
    let mut long = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n".to_vec();
    long.extend_from_slice(&inner.repeat(5_000).as_bytes()[..150_000]);
    let mut chunked = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    chunked.extend_from_slice(inner.as_bytes());
    let held_back =
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n".to_vec();
    for request in [long, chunked, held_back] {
        let mut stream = connect(&rig).await;
        stream.write_all(&request).await.unwrap();
        let (said, clean) = rest(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 405") && said.contains("connection: close"), "{said}");
        assert!(clean && said.matches("HTTP/1.1").count() == 1, "{said}");
    }
    assert_eq!(upstream.hits(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_a_rule_is_no_request_and_its_connection_ends() {
    let (rig, _upstream) = rig("").await;
    let next = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    for (body, rule) in [
        ("g\r\n", "chunk-size"),
        ("3\nabc\n0\n\n", "bare-line-feed"),
        ("3\r\nabcd\r\n0\r\n\r\n", "chunk-end"),
        ("3;\u{1}\r\nabc\r\n0\r\n\r\n", "chunk-extension"),
        ("0\r\nGET / HTTP/1.1\r\n\r\n", "trailer"),
    ] {
        let text = format!("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{next}");
        let said = rig.raw(text.as_bytes()).await;
        assert!(
            said.starts_with("HTTP/1.1 400") && said.contains(&format!("\"rule\":\"{rule}\"")),
            "{body:?}: {said}"
        );
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{body:?}: {said}");
    }
}

/// An upstream that reads a request and answers these bytes, and then closes.
async fn raw_upstream(bytes: &'static [u8]) -> (String, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut chunk = [0_u8; 4_096];
            let _request = stream.read(&mut chunk).await;
            let _answer = stream.write_all(bytes).await;
        }
    });
    (url, serving)
}

#[tokio::test]
async fn an_answer_that_breaks_off_looks_broken() {
    let cut: [(&[u8], bool); 4] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", false),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", true),
    ];
    for (bytes, whole) in cut {
        let (url, _serving) = raw_upstream(bytes).await;
        let rig = Rig::start(&format!("routes:\n  - {{path: /, service: \"{url}\"}}\n")).await;
        for (version, ends) in [("1.1", "0\r\n\r\n"), ("1.0", "abc")] {
            let mut stream = connect(&rig).await;
            let request = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let (said, clean) = rest(&mut stream).await;
            let is_whole = clean && said.ends_with(ends);
            assert_eq!(is_whole, whole, "{version}: {}: {said:?}", String::from_utf8_lossy(bytes));
        }
    }
}

/// An upstream that begins an answer and says nothing more.
async fn silent_upstream() -> (String, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _request = stream.read(&mut [0_u8; 4_096]).await;
            let _begun = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
            open.push(stream);
        }
    });
    (url, serving)
}

#[tokio::test]
async fn a_service_that_falls_silent_in_an_answer_is_cut_and_found_failing() {
    let (url, _serving) = silent_upstream().await;
    let yaml = format!(
        "services:\n  one: {{urls: [\"{url}\"], read_timeout: 100ms, circuit_breaker: {{consecutive_failures: 5}}}}\nroutes:\n  - {{path: /, service: one}}\n"
    );
    let rig = Rig::start(&yaml).await;
    for _ in 0..5 {
        let mut stream = connect(&rig).await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let (said, clean) = rest(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("abc") && !clean, "{said}");
    }
    assert_eq!(rig.get("/").await.code(), "breaker_open");
}

/// An upstream that answers when it has read the head, reads on, and says what it read in all.
async fn hasty_upstream() -> (String, tokio::sync::mpsc::Receiver<Vec<u8>>, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (read, all_read) = tokio::sync::mpsc::channel(16);
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let read = read.clone();
            connections.spawn(async move {
                let (mut all, mut chunk) = (Vec::new(), vec![0_u8; 64 * 1024]);
                while let Ok(count @ 1..) = stream.read(&mut chunk).await {
                    let had_head = all.windows(4).any(|end| end == b"\r\n\r\n");
                    all.extend_from_slice(&chunk[..count]);
                    if !had_head {
                        let _gone =
                            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhasty").await;
                    }
                }
                let _gone = read.send(all).await;
            });
        }
    });
    (url, all_read, serving)
}

/// The answer is out while the body is still being sent on: what comes after it belongs to the next request.
#[tokio::test]
async fn a_body_that_is_still_sent_on_does_not_read_the_next_request() {
    let (url, mut all_read, _serving) = hasty_upstream().await;
    let rig = Rig::start(&format!("routes:\n  - {{path: /, service: \"{url}\"}}\n")).await;
    let mut stream = connect(&rig).await;
    let head = b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    stream.write_all(head).await.unwrap();
    stream.write_all(&[b'1'; 70_000]).await.unwrap();
    assert!(answer(&mut stream).await.ends_with("hasty"));
    stream.write_all(&[b'1'; 30_000]).await.unwrap();
    stream.write_all(b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await.unwrap();
    stream.write_all(&[b'2'; 100_000]).await.unwrap();
    assert!(answer(&mut stream).await.ends_with("hasty"));
    let first = tokio::time::timeout(Duration::from_secs(5), all_read.recv()).await.unwrap().unwrap();
    let body = first.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    assert!(first.starts_with(b"POST /1 ") && first[body..].iter().all(|byte| *byte == b'1'));
    // The connection of the client ends with it, whoever still holds its body.
    drop(stream);
    rig.until("the connection is gone", async || {
        rig.gateway.cores().iter().map(|(connections, _)| connections).sum::<usize>() == 0
    })
    .await;
}
