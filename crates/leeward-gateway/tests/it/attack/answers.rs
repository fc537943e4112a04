//! Services that answer what is no answer: nothing of it is passed on as it came.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::case::get;
use super::client::{Client, Next};
use crate::pki::Pki;
use crate::rig::Rig;

/// What must become of it. Whatever it is, the word `evil` never reaches the client.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// 502, and the connection of the client goes on.
    Bad,
    /// This, in the gateway's own words.
    Passes { status: u16, body: &'static str },
    /// It begins, and the client sees that it is not whole.
    Cut,
}

/// How the service goes on after its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Stays,
    Closes,
    /// The connection ends, and not the session over it.
    Breaks,
    Resets,
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    bytes: Vec<u8>,
    then: Then,
    pub(crate) expected: Expected,
}

fn bad(name: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    Case { name, bytes: bytes.into(), then: Then::Stays, expected: Expected::Bad }
}

fn passes(name: &'static str, bytes: impl Into<Vec<u8>>, status: u16, body: &'static str) -> Case {
    Case { name, bytes: bytes.into(), then: Then::Stays, expected: Expected::Passes { status, body } }
}

fn cut(name: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    Case { name, bytes: bytes.into(), then: Then::Stays, expected: Expected::Cut }
}

impl Case {
    fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }
}

pub(crate) fn cases() -> Vec<Case> {
    [banners(), statuses(), lengths(), lines(), ends(), interim(), passing(), more_than_it_says()].concat()
}

fn banners() -> Vec<Case> {
    [
        ("answer-of-http-0.9", &b"<html>evil</html>"[..]),
        ("answer-of-ssh", b"SSH-2.0-evil\r\n"),
        ("answer-of-smtp", b"220 evil ESMTP\r\n"),
        ("answer-of-icecast", b"ICY 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        ("answer-of-http-2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        ("answer-of-http-1.2", b"HTTP/1.2 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        ("answer-of-http-2-frames", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64evil"),
        ("answer-of-tls", b"\x15\x03\x01\x00\x02\x02\x0aevil"),
        ("answer-is-a-request", b"GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n"),
        ("answer-in-lower-case", b"http/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        ("answer-behind-text", b"evil\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("answer-of-nul", b"\x00\x00\x00\x00evil\r\n\r\n"),
    ]
    .map(|(name, bytes)| bad(name, bytes).then(Then::Closes))
    .into_iter()
    .chain([
        bad("answer-of-nothing", "").then(Then::Closes),
        bad("answer-of-half-a-head", "HTTP/1.1 200 OK\r\nX: evil\r\n").then(Then::Closes),
        bad("answer-of-half-a-line", "HTTP/1.1 2").then(Then::Closes),
        bad("answer-that-is-reset", "HTTP/1.1 200 OK\r\nX: evil\r\n").then(Then::Resets),
    ])
    .collect()
}

fn statuses() -> Vec<Case> {
    [
        ("status-000", "000"),
        ("status-099", "099"),
        ("status-600", "600"),
        ("status-999", "999"),
        ("status-of-two-digits", "20"),
        ("status-of-four-digits", "2000"),
        ("status-of-letters", "abc"),
        ("status-negative", "-20"),
        ("status-with-plus", "+20"),
        ("status-hexadecimal", "0xc"),
        ("status-missing", ""),
        ("status-unasked-101", "101"),
    ]
    .map(|(name, status)| {
        bad(name, format!("HTTP/1.1 {status} evil\r\nUpgrade: evil\r\nConnection: Upgrade\r\nContent-Length: 4\r\n\r\nevil"))
    })
    .to_vec()
}

fn lengths() -> Vec<Case> {
    [
        ("answer-length-twice-different", "Content-Length: 4\r\nContent-Length: 2\r\n"),
        ("answer-length-twice-the-same", "Content-Length: 4\r\nContent-Length: 4\r\n"),
        ("answer-length-list", "Content-Length: 4, 4\r\n"),
        ("answer-length-empty", "Content-Length: \r\n"),
        ("answer-length-plus", "Content-Length: +4\r\n"),
        ("answer-length-minus", "Content-Length: -4\r\n"),
        ("answer-length-hexadecimal", "Content-Length: 0x4\r\n"),
        ("answer-length-with-text", "Content-Length: 4evil\r\n"),
        ("answer-length-of-65-bits", "Content-Length: 36893488147419103236\r\n"),
        ("answer-length-and-coding", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
        ("answer-coding-and-length", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
        ("answer-coding-gzip-chunked", "Transfer-Encoding: gzip, chunked\r\n"),
        ("answer-coding-chunked-gzip", "Transfer-Encoding: chunked, gzip\r\n"),
        ("answer-coding-chunked-twice", "Transfer-Encoding: chunked, chunked\r\n"),
        ("answer-coding-on-two-lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("answer-coding-identity", "Transfer-Encoding: identity\r\n"),
        ("answer-coding-unknown", "Transfer-Encoding: xchunked\r\n"),
        ("answer-coding-empty", "Transfer-Encoding: \r\n"),
        ("answer-coding-with-parameter", "Transfer-Encoding: chunked;q=1\r\n"),
    ]
    .map(|(name, lines)| {
        bad(name, format!("HTTP/1.1 200 OK\r\n{lines}\r\n4\r\nevil\r\n0\r\n\r\n")).then(Then::Closes)
    })
    .into_iter()
    .chain([bad(
        "answer-coding-in-http-1.0",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
    )
    .then(Then::Closes)])
    .collect()
}

fn lines() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("answer-value-with-nul", "X: evil\u{0}\r\n"),
        ("answer-value-with-escape", "X: \u{1b}evil\r\n"),
        ("answer-value-with-carriage-return", "X: a\rX-Evil: evil\r\n"),
        ("answer-name-with-nul", "X\u{0}evil: a\r\n"),
        ("answer-name-with-space", "X evil: a\r\n"),
        ("answer-space-before-colon", "Content-Length : 4\r\n"),
        ("answer-line-folded", "X: a\r\n evil\r\n"),
        ("answer-line-folded-with-tab", "X: a\r\n\tContent-Length: 4\r\n"),
        ("answer-first-line-folded", " X: evil\r\n"),
        ("answer-line-without-colon", "evil\r\n"),
        ("answer-line-without-name", ": evil\r\n"),
        ("answer-name-with-foreign-byte", "X-\u{e9}vil: a\r\n"),
    ]
    .map(|(name, lines)| bad(name, format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 4\r\n\r\nevil")))
    .to_vec();
    let many = "X: evil\r\n".repeat(200);
    cases.push(bad(
        "answer-headers-too-many",
        format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 4\r\n\r\nevil"),
    ));
    let long = "evil".repeat(20_000);
    cases.push(bad(
        "answer-head-too-long",
        format!("HTTP/1.1 200 OK\r\nX: {long}\r\nContent-Length: 4\r\n\r\nevil"),
    ));
    cases.push(bad("answer-head-without-end", format!("HTTP/1.1 200 OK\r\nX: {long}")));
    cases
}

fn ends() -> Vec<Case> {
    let chunked =
        |rest: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n{rest}");
    vec![
        cut("answer-shorter-than-its-length", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
            .then(Then::Closes),
        cut("answer-reset-within-its-length", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
            .then(Then::Resets),
        cut("answer-to-the-close-that-is-reset", "HTTP/1.1 200 OK\r\n\r\nok").then(Then::Resets),
        cut("answer-chunks-without-last", chunked("")).then(Then::Closes),
        cut("answer-chunks-that-are-reset", chunked("")).then(Then::Resets),
        cut("answer-chunk-cut", chunked("9\r\nab")).then(Then::Closes),
        cut("answer-chunk-size-no-digit", chunked("g\r\nevil\r\n0\r\n\r\n")),
        cut("answer-chunk-size-empty", chunked("\r\nevil\r\n0\r\n\r\n")),
        cut("answer-chunk-size-with-plus", chunked("+4\r\nevil\r\n0\r\n\r\n")),
        cut("answer-chunk-size-of-68-bits", chunked("10000000000000004\r\nevil\r\n0\r\n\r\n")),
        cut("answer-last-chunk-without-end", chunked("0\r\n")).then(Then::Closes),
    ]
}

fn interim() -> Vec<Case> {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    vec![
        passes("interim-100", format!("HTTP/1.1 100 Continue\r\n\r\n{ok}"), 200, "ok"),
        passes(
            "interim-103-with-headers",
            format!("HTTP/1.1 103 Early Hints\r\nLink: </evil>\r\nX-Evil: 1\r\n\r\n{ok}"),
            200,
            "ok",
        ),
        passes(
            "interim-102-often",
            format!("{}{ok}", "HTTP/1.1 102 Processing\r\nX: evil\r\n\r\n".repeat(100)),
            200,
            "ok",
        ),
        bad("interim-102-without-end", format!("{}{ok}", "HTTP/1.1 102 Processing\r\n\r\n".repeat(257))),
        bad("interim-with-a-body", format!("HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nevil{ok}")),
        bad("interim-and-nothing", "HTTP/1.1 100 Continue\r\n\r\n").then(Then::Closes),
        bad(
            "interim-and-unasked-101",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 evil\r\nUpgrade: evil\r\n\r\nevil",
        ),
    ]
}

fn passing() -> Vec<Case> {
    let with = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok");
    vec![
        passes("answer-in-plain", with(""), 200, "ok"),
        passes(
            "answer-nominates",
            with("Connection: X-Evil, x-more\r\nX-Evil: evil\r\nX-More: evil\r\n"),
            200,
            "ok",
        ),
        passes(
            "answer-with-hop-by-hop-headers",
            with(
                "Keep-Alive: evil\r\nProxy-Connection: evil\r\nProxy-Authenticate: evil\r\nTE: evil\r\nTrailer: evil\r\nUpgrade: evil\r\n",
            ),
            200,
            "ok",
        ),
        passes(
            "answer-speaks-for-the-gateway",
            with(
                "X-Leeward-Stale: evil\r\nX-Leeward-Assertion: evil\r\nX-Service-Name: evil\r\nX-Request-Id: evil\r\n",
            ),
            200,
            "ok",
        ),
        passes(
            "answer-with-a-reason-of-its-own",
            "HTTP/1.1 200 evil evil\r\nContent-Length: 2\r\n\r\nok",
            200,
            "ok",
        ),
        passes("answer-with-another-date", with("Date: evil\r\n"), 200, "ok"),
        bad("answer-with-line-feeds", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
        passes("answer-to-the-close", "HTTP/1.1 200 OK\r\n\r\nok", 200, "ok").then(Then::Closes),
        passes("answer-of-http-1.0", "HTTP/1.0 200 OK\r\n\r\nok", 200, "ok").then(Then::Closes),
        passes(
            "answer-with-trailers",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Evil\r\n\r\n2\r\nok\r\n0\r\nX-Evil: evil\r\nContent-Length: 9\r\n\r\n",
            200,
            "ok",
        ),
        passes(
            "answer-with-chunk-extensions",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;evil=1\r\nok\r\n0;evil\r\n\r\n",
            200,
            "ok",
        ),
    ]
}

/// What stands behind an answer's end is no answer to anybody.
fn more_than_it_says() -> Vec<Case> {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    vec![
        passes(
            "answer-and-another-one",
            format!("{}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", whole),
            200,
            "ok",
        ),
        passes("answer-and-more-bytes", format!("{}evil", whole), 200, "ok"),
        passes(
            "answer-chunked-and-another-one",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            200,
            "ok",
        ),
        passes(
            "answer-of-204-with-a-body",
            "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
            204,
            "",
        ),
        passes(
            "answer-of-304-with-a-body",
            "HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            304,
            "",
        ),
        passes(
            "answer-of-204-in-chunks",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
            204,
            "",
        ),
    ]
}

/// A connection that can be broken off.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn socket(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// A service that answers `/NUMBER` with the bytes of that case and anything else with `ok`.
async fn service(listener: TcpListener, tls: Option<TlsAcceptor>, cases: Vec<Case>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, cases) = (tls.clone(), cases.clone());
        connections.spawn(async move {
            match tls {
                None => connection(stream, cases).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, cases).await;
                    }
                }
            }
        });
    }
}

async fn connection(mut stream: impl Wire, cases: Vec<Case>) {
    let mut buffer = Vec::new();
    loop {
        let mut chunk = [0_u8; 4_096];
        match stream.read(&mut chunk).await {
            Ok(count) if count > 0 => buffer.extend_from_slice(&chunk[..count]),
            _ => return,
        }
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
        let number = head.split(' ').nth(1).and_then(|target| target[1..].parse::<usize>().ok());
        let (bytes, then) = match number {
            Some(number) => (cases[number].bytes.clone(), cases[number].then),
            None => (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), Then::Stays),
        };
        let _gone = stream.write_all(&bytes).await;
        let _gone = stream.flush().await;
        match then {
            Then::Stays => {}
            Then::Closes => {
                // With the end of the session, where there is one.
                let _gone = stream.shutdown().await;
                return;
            }
            Then::Breaks => return,
            Then::Resets => {
                // What was written must have been read, or the reset takes it back.
                tokio::time::sleep(Duration::from_millis(30)).await;
                stream.socket().set_zero_linger().unwrap();
                return;
            }
        }
    }
}

/// Plays cases against a gateway in front of a service that answers them.
async fn all(tls: Option<&Pki>, cases: Vec<Case>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (scheme, option) = match tls {
        None => ("http", String::new()),
        Some(pki) => ("https", format!("    tls: {{ca: \"{}\"}}\n", pki.path("ca.pem").display())),
    };
    let acceptor =
        tls.map(|pki| TlsAcceptor::from(Arc::new(pki.serving(&pki.server(&["127.0.0.1"]), false, &[]))));
    let mut serving = JoinSet::new();
    serving.spawn(service(listener, acceptor, cases.clone()));
    let rig = Rig::start(&format!(
        "cores: 1\nrate_limits: {{address: off, principal: off}}\nservices:\n  s:\n    urls: [\"{scheme}://{address}\"]\n{option}    \
         circuit_breaker: {{mode: shadow}}\n    attempt_timeout: 2s\nroutes:\n  - {{path: /, service: s}}\n"
    ))
    .await;
    let mut failed = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        if let Err(error) = play(&rig, number, case).await {
            failed.push(format!("{}: {error}", case.name));
        }
    }
    assert!(failed.is_empty(), "{} of {} cases fail:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

#[tokio::test]
async fn answers_cases() {
    all(None, cases()).await;
}

#[tokio::test]
async fn answers_cases_over_tls() {
    all(Some(&Pki::new()), cases()).await;
}

#[tokio::test]
async fn over_tls_an_answer_ends_with_the_session_and_not_with_the_connection() {
    // Whoever is in between can end a connection, and no session.
    let until_its_end = "HTTP/1.1 200 OK\r\n\r\nhalf";
    let cases = vec![
        passes("ended-session", until_its_end, 200, "half").then(Then::Closes),
        cut("ended-connection", until_its_end).then(Then::Breaks),
    ];
    all(Some(&Pki::new()), cases).await;
}

async fn play(rig: &Rig, number: usize, case: &Case) -> Result<(), String> {
    let mut client = Client::connect(rig.gateway.addr()).await;
    client.send(get(&format!("/{number}"), "").as_bytes()).await;
    match (&case.expected, client.next().await?) {
        (Expected::Cut, Next::End { clean: false }) => {}
        (Expected::Bad, Next::Answer(answer)) if answer.status == 502 && answer.names("upstream_invalid") => {
            none_of_it(&answer)?;
            in_step(&mut client).await?;
        }
        (Expected::Passes { status, body }, Next::Answer(answer))
            if answer.status == *status && answer.body == *body =>
        {
            none_of_it(&answer)?;
            in_step(&mut client).await?;
        }
        (_, next) => return Err(format!("it becomes {next:?}")),
    }
    if case_is_cut(case) && client.unread().contains("evil") {
        return Err(format!("it is passed on: {}", client.unread()));
    }
    // Whoever comes next gets an answer to its own request.
    for _ in 0..3 {
        let mut client = Client::connect(rig.gateway.addr()).await;
        in_step(&mut client).await?;
    }
    Ok(())
}

fn case_is_cut(case: &Case) -> bool {
    matches!(case.expected, Expected::Cut)
}

fn none_of_it(answer: &super::client::Answer) -> Result<(), String> {
    let is_evil = answer.body.contains("evil")
        || answer.headers.iter().any(|(name, value)| name.contains("evil") || value.contains("evil"));
    if is_evil { Err(format!("it is passed on: {answer:?}")) } else { Ok(()) }
}

async fn in_step(client: &mut Client) -> Result<(), String> {
    client.send(get("/fine", "").as_bytes()).await;
    match client.next().await? {
        Next::Answer(answer) if answer.status == 200 && answer.body == "ok" => Ok(()),
        next => Err(format!("the next request is answered {next:?}")),
    }
}
