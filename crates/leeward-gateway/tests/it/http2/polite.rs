//! HTTP/2 as it is meant, and what is wrong on one stream alone.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::frames::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Outcome, RST_STREAM, Raw, SETTINGS, block, frame, get,
    head, rig,
};
use crate::pki::{Pki, connect};
use crate::rig::{Rig, Upstream};

/// A connection over whatever carries it.
async fn over<T>(io: T) -> SendRequest<Bytes>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (send, connection) = h2::client::handshake(io).await.unwrap();
    #[allow(clippy::disallowed_methods, reason = "a test's own client")]
    tokio::spawn(connection);
    send
}

async fn open(rig: &Rig) -> SendRequest<Bytes> {
    over(TcpStream::connect(rig.gateway.addr()).await.unwrap()).await
}

fn to(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://shop.example{path}"))
}

/// Sends and reads to the end.
async fn ask(
    send: &SendRequest<Bytes>,
    request: http::request::Builder,
    body: &[u8],
) -> Result<(Response<()>, Bytes), h2::Error> {
    let mut send = send.clone().ready().await?;
    let (answer, mut stream) = send.send_request(request.body(()).unwrap(), body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(Bytes::copy_from_slice(body), true)?;
    }
    let (head, mut body) = answer.await?.into_parts();
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        read.extend_from_slice(&data);
    }
    Ok((Response::from_parts(head, ()), read.into()))
}

#[tokio::test]
async fn many_requests_share_a_connection_and_services_see_them_as_any_other() {
    let (rig, _upstream) = rig("").await;
    let send = open(&rig).await;
    let get =
        to(Method::GET, "/a/b?c=d").header("cookie", "a=1").header("cookie", "b=2").header("x-user-id", "7");
    let (head, body) = ask(&send, get, b"").await.unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((head.status().as_u16(), seen["target"].as_str()), (200, Some("/a/b?c=d")));
    assert_eq!(seen["headers"]["cookie"], "a=1; b=2");
    assert_eq!(seen["headers"]["x-forwarded-host"], "shop.example");
    assert_eq!(seen["headers"]["x-forwarded-proto"], "http");
    assert!(seen["headers"]["x-user-id"].is_null(), "{seen}");
    assert!(head.headers().contains_key("x-request-id") && head.headers().contains_key("date"));
    let all = (0..300_usize).map(|number| {
        let send = &send;
        async move {
            let body = vec![b'x'; number * 500];
            let (head, answer) = ask(send, to(Method::POST, "/?sleep=20"), &body).await.unwrap();
            let seen: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(
                (head.status().as_u16(), seen["body_bytes"].as_u64()),
                (200, Some(number as u64 * 500))
            );
        }
    });
    futures_util::future::join_all(all).await;
    let (_, large) = ask(&send, to(Method::GET, "/?bytes=5000000"), b"").await.unwrap();
    assert_eq!(large.len(), 5_000_000);
    let (head, none) = ask(&send, to(Method::HEAD, "/?bytes=5000"), b"").await.unwrap();
    assert_eq!((&head.headers()["content-length"], none.len()), (&http::HeaderValue::from(5_000), 0));
}

#[tokio::test]
async fn a_substitute_says_that_it_is_one() {
    let spare = Upstream::start().await;
    let yaml = format!(
        "listen: [{{address: \"127.0.0.1:0\", protocols: [http2]}}]\n\
         services: {{one: {{urls: [\"http://127.0.0.1:1\"], retry: off}}, spare: {{urls: [\"{}\"]}}}}\n\
         routes:\n  - {{path: /fixed, service: one, fallback: {{respond: {{status: 203, body: \"[]\"}}}}}}\n  \
         - {{path: /, service: one, fallback: {{service: spare}}}}\n",
        spare.url()
    );
    let rig = Rig::start(&yaml).await;
    let send = open(&rig).await;
    let (head, body) = ask(&send, to(Method::GET, "/fixed"), b"").await.unwrap();
    assert_eq!((head.status().as_u16(), &body[..]), (203, &b"[]"[..]));
    assert_eq!(head.headers()["x-leeward-fallback"], "retryable");
    let large = vec![b'x'; 200_000];
    let (head, body) = ask(&send, to(Method::POST, "/a"), &large).await.unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((head.status().as_u16(), seen["body_bytes"].as_u64()), (200, Some(200_000)));
    assert_eq!(head.headers()["x-leeward-fallback"], "retryable");
    assert_eq!(head.headers()["x-service-name"], "spare");
}

#[tokio::test]
async fn both_sides_agree_on_a_protocol() {
    let pki = Pki::new();
    let upstream = Upstream::start().await;
    let yaml = format!(
        "listen:\n  - {{address: \"127.0.0.1:0\", tls: {{certificates: [{}]}}}}\n  - {{address: \"127.0.0.1:0\", protocols: [http1, http2]}}\n  - 127.0.0.1:0\nroutes:\n  - {{path: /, service: \"{}\"}}\n",
        pki.put("one", &pki.server(&["one.example"])),
        upstream.url()
    );
    let rig = Rig::start(&yaml).await;
    let [encrypted, either, plain] = rig.gateway.addrs() else { panic!("three listeners") };
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1"][..], Some(&b"http/1.1"[..])),
        (&[][..], None),
    ] {
        let config = Arc::new(pki.trusting(None, offered));
        let mut stream = connect(*encrypted, &config, "one.example").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
        if agreed == Some(b"h2") {
            let send = over(stream).await;
            let (head, body) = ask(&send, to(Method::GET, "/"), b"").await.unwrap();
            assert_eq!(head.status().as_u16(), 200);
            assert!(String::from_utf8_lossy(&body).contains("\"x-forwarded-proto\":\"https\""));
        } else {
            assert!(first_line(&mut stream).await.starts_with("HTTP/1.1 200"));
        }
    }
    // What a client begins with says what it speaks, in however many pieces.
    let send = over(TcpStream::connect(either).await.unwrap()).await;
    assert_eq!(ask(&send, to(Method::GET, "/"), b"").await.unwrap().0.status().as_u16(), 200);
    let mut old = TcpStream::connect(either).await.unwrap();
    assert!(first_line(&mut old).await.starts_with("HTTP/1.1 200"));
    let mut pieces = TcpStream::connect(either).await.unwrap();
    for byte in b"PRO / HTTP/1.1\r\nHost: a\r\n\r\n" {
        pieces.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut said = [0; 12];
    pieces.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"HTTP/1.1 200");
    // Where it is not asked for, it is not spoken.
    let mut strict = TcpStream::connect(plain).await.unwrap();
    strict.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut said = [0; 12];
    strict.read_exact(&mut said).await.unwrap();
    assert_eq!(&said[..9], b"HTTP/1.1 ");
    assert!(said[9] == b'4' || said[9] == b'5', "{said:?}");
}

async fn first_line(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut said = [0; 64];
    let count = stream.read(&mut said).await.unwrap();
    String::from_utf8_lossy(&said[..count]).into_owned()
}

#[tokio::test]
async fn what_is_malformed_ends_its_stream_and_no_other() {
    let (rig, upstream) = rig("").await;
    let mut raw = Raw::connect(&rig).await;
    let pseudo = |lines: &[(&str, &str)]| block(lines);
    let fine = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.example")];
    let without = |name: &str| -> Vec<(&str, &str)> {
        fine.iter().copied().filter(|(known, _)| *known != name).collect()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("upper case", head("GET", "/", &[("X-Upper", "1")])),
        ("about the connection", head("GET", "/", &[("connection", "close")])),
        ("a coding", head("GET", "/", &[("transfer-encoding", "chunked")])),
        ("an upgrade", head("GET", "/", &[("upgrade", "websocket")])),
        ("te", head("GET", "/", &[("te", "gzip")])),
        ("line break in a value", head("GET", "/", &[("x-a", "1\r\nx-b: 2")])),
        ("NUL in a value", head("GET", "/", &[("x-a", "1\0")])),
        ("line break in a name", head("GET", "/", &[("x-a\r\nx-b", "1")])),
        ("empty name", head("GET", "/", &[("", "1")])),
        ("space in a name", head("GET", "/", &[("x a", "1")])),
        ("no method", pseudo(&without(":method"))),
        ("no scheme", pseudo(&without(":scheme"))),
        ("no path", pseudo(&without(":path"))),
        ("empty path", pseudo(&[fine[0], fine[1], (":path", ""), fine[3]])),
        ("path without a slash", pseudo(&[fine[0], fine[1], (":path", "a"), fine[3]])),
        ("space in the path", pseudo(&[fine[0], fine[1], (":path", "/a b"), fine[3]])),
        ("two paths", pseudo(&[fine[0], fine[1], fine[2], (":path", "/b"), fine[3]])),
        ("unknown pseudo-header", pseudo(&[fine[0], fine[1], fine[2], fine[3], (":a", "b")])),
        ("pseudo-header at the end", pseudo(&[fine[0], fine[1], fine[2], ("x-a", "1"), fine[3]])),
        ("no host", pseudo(&without(":authority"))),
        ("two hosts", head("GET", "/", &[("host", "b.example")])),
        ("user in the host", pseudo(&[fine[0], fine[1], fine[2], (":authority", "u@a.example")])),
        ("no http", pseudo(&[fine[0], (":scheme", "ftp"), fine[2], fine[3]])),
        ("a proxy's", pseudo(&[(":method", "CONNECT"), (":authority", "a.example:80")])),
        ("lengths", head("POST", "/", &[("content-length", "0"), ("content-length", "1")])),
        ("a length that is none", head("POST", "/", &[("content-length", "+1")])),
    ];
    let (mut stream, mut ended) = (1, Vec::<&str>::new());
    for (what, lines) in cases {
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &lines)).await;
        let outcome = raw.outcome(stream).await;
        stream += 2;
        if outcome == Outcome::Ended(1) {
            ended.push(what);
            (raw, stream) = (Raw::connect(&rig).await, 1);
            continue;
        }
        assert!(matches!(outcome, Outcome::Reset(1) | Outcome::Status(400)), "{what}: {outcome:?}");
    }
    // What is no name and no value at all the library takes for a broken connection, as it may (RFC 9113, 5.4.1).
    let unreadable = [
        "upper case",
        "line break in a value",
        "NUL in a value",
        "line break in a name",
        "empty name",
        "space in a name",
        "unknown pseudo-header",
    ];
    assert_eq!(ended, unreadable);
    // A body that is longer or shorter than its head says, and one where none is expected.
    for (method, length, data) in
        [("POST", Some("3"), "abcd"), ("POST", Some("3"), "ab"), ("GET", None, "ab")]
    {
        let lines: Vec<(&str, &str)> = length.into_iter().map(|length| ("content-length", length)).collect();
        raw.send(&frame(HEADERS, END_HEADERS, stream, &head(method, "/", &lines))).await;
        raw.send(&frame(DATA, END_STREAM, stream, data.as_bytes())).await;
        let outcome = raw.outcome(stream).await;
        assert!(matches!(outcome, Outcome::Reset(1) | Outcome::Status(400)), "{method} {data}: {outcome:?}");
        stream += 2;
    }
    assert_eq!(upstream.hits(), 0);
    raw.send(&get(stream, "/fine")).await;
    assert_eq!(raw.outcome(stream).await, Outcome::Status(200), "the connection goes on");
}

#[tokio::test]
async fn an_answer_that_is_cut_does_not_look_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = async move {
        for head in ["content-length: 100", "transfer-encoding: chunked"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _request = stream.read(&mut [0; 4_096]).await.unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n3\r\nabc\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    #[allow(clippy::disallowed_methods, reason = "a test's own upstream")]
    tokio::spawn(service);
    let yaml = format!(
        "listen: [{{address: \"127.0.0.1:0\", protocols: [http2]}}]\nroutes:\n  - {{path: /, service: \"{url}\"}}\n"
    );
    let rig = Rig::start(&yaml).await;
    let mut raw = Raw::connect(&rig).await;
    for stream in [1, 3] {
        raw.send(&get(stream, "/")).await;
        // The reset may overtake what comes before it.
        loop {
            let frame = raw.next().await.expect("the connection goes on");
            if frame.kind == RST_STREAM {
                assert_eq!((frame.stream, frame.code()), (stream, 2), "internal error");
                break;
            }
            assert!(frame.kind != DATA || frame.flags & END_STREAM == 0, "{frame:?}");
        }
    }
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_says_which_ones_it_takes() {
    let (rig, upstream) = rig("").await;
    let send = open(&rig).await;
    let slow = ask(&send, to(Method::GET, "/?sleep=500"), b"");
    let stop = async {
        rig.until("it is on its way", async || upstream.hits() == 1).await;
        rig.tasks.shutdown(Duration::from_secs(5)).await
    };
    let (answer, report) = tokio::join!(slow, stop);
    assert_eq!(answer.unwrap().0.status().as_u16(), 200);
    assert!(report.is_clean(), "{report}");
    assert!(ask(&send, to(Method::GET, "/"), b"").await.is_err(), "no further one is taken");
}

#[tokio::test]
async fn a_drain_tells_clients_to_leave_and_is_over_when_it_is_taken_back() {
    let (rig, _upstream) = rig("").await;
    let mut raw = Raw::connect(&rig).await;
    raw.send(&get(1, "/")).await;
    assert_eq!(raw.outcome(1).await, Outcome::Status(200));
    assert_eq!(rig.send(rig.admin("POST", "/v1/drain"), "").await.status, 204);
    assert_eq!(raw.wait_for(GOAWAY).await.unwrap().code(), 0);
    assert_eq!(rig.send(rig.admin("DELETE", "/v1/drain"), "").await.status, 204);
    let send = open(&rig).await;
    for _ in 0..3 {
        assert_eq!(ask(&send, to(Method::GET, "/"), b"").await.unwrap().0.status().as_u16(), 200);
    }
}

#[tokio::test]
async fn who_asks_for_nothing_is_told_to_leave() {
    let (rig, _upstream) = rig("limits: {idle_timeout: 300ms, head_timeout: 300ms}").await;
    for asks in [false, true] {
        let mut raw = Raw::connect(&rig).await;
        if asks {
            raw.send(&get(1, "/?sleep=500")).await;
            assert_eq!(raw.outcome(1).await, Outcome::Status(200), "longer than the idle time");
        }
        assert_eq!(raw.wait_for(GOAWAY).await.unwrap().code(), 0);
        while raw.next().await.is_some() {}
    }
    rig.until("nobody is left", async || rig.gateway.cores().iter().all(|(open, _)| *open == 0)).await;
}

#[tokio::test]
async fn the_bounds_are_said_at_once() {
    let (rig, _upstream) = rig("limits: {head: 16KiB}").await;
    let mut raw = Raw::connect(&rig).await;
    let settings = raw.wait_for(SETTINGS).await.unwrap();
    let said: Vec<(u16, u32)> = settings
        .payload
        .chunks(6)
        .map(|one| (u16::from_be_bytes([one[0], one[1]]), u32::from_be_bytes(one[2..].try_into().unwrap())))
        .collect();
    for bound in [(3, 100), (4, 128 * 1_024), (6, 16 * 1_024)] {
        assert!(said.contains(&bound), "{said:?}");
    }
}

#[tokio::test]
async fn a_client_that_takes_its_request_back_takes_the_work_along() {
    let (rig, upstream) = rig("").await;
    let mut send = open(&rig).await.ready().await.unwrap();
    let request = to(Method::GET, "/?sleep=60000").body(()).unwrap();
    let (answer, mut stream) = send.send_request(request, true).unwrap();
    rig.until("it is on its way", async || upstream.hits() == 1).await;
    stream.send_reset(h2::Reason::CANCEL);
    drop(answer);
    let _reset = poll_fn(|cx| stream.poll_reset(cx));
    rig.until("nobody works for it", async || {
        rig.send(rig.admin("GET", "/v1/limits"), "").await.json()["requests_in_flight"] == 0
    })
    .await;
}
