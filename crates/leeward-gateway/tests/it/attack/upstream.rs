//! An upstream that trusts nobody: it takes requests in the one form that nobody can read in two ways, and writes down what it
//! got.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::token;

/// What reached the upstream.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Whole requests, byte for byte, chunks put together.
    pub(crate) requests: Mutex<Vec<Request>>,
    /// What is no request in the strict form.
    pub(crate) faults: Mutex<Vec<String>>,
    /// Bytes that came in.
    bytes: AtomicUsize,
    /// Of these, the ones that made up whole requests.
    bytes_whole: AtomicUsize,
}

impl Log {
    /// Bytes of requests that have not come to their end.
    pub(crate) fn bytes_open(&self) -> usize {
        let whole = self.bytes_whole.load(Ordering::SeqCst);
        self.bytes.load(Ordering::SeqCst) - whole
    }
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: Vec<String>,
    pub(crate) body: Vec<u8>,
    /// The head as it came.
    pub(crate) raw_head: Vec<u8>,
}

impl Request {
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// In the form of [`super::case::seen`]. What the gateway adds is checked: each header once, each with a value of its own.
    pub(crate) fn seen(&self, host: &str) -> Result<String, String> {
        let mut lines = self.headers.clone();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for line in &self.headers {
            *counts.entry(line.split(": ").next().unwrap_or_default()).or_default() += 1;
        }
        let digits = |value: &str| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let hex = |value: &str| value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        let trace = |value: &str| value.len() == 55 && value.starts_with("00-");
        let is = |wanted: &'static str| move |value: &str| value == wanted;
        let host_is = |value: &str| value == host;
        // What is as it always is goes out of sight; what is not stays, and the case says whether it should be so.
        let usual: [Usual<'_>; 11] = [
            ("host", &host_is),
            ("x-request-id", &hex),
            ("x-correlation-id", &hex),
            ("traceparent", &trace),
            ("x-gateway-timestamp", &digits),
            ("x-deadline-ms", &digits),
            ("x-service-name", &is("gateway")),
            ("x-forwarded-proto", &is("http")),
            ("x-forwarded-host", &is("t")),
            ("x-forwarded-for", &is("127.0.0.1")),
            ("x-client-ip", &is("127.0.0.1")),
        ];
        for (name, fits) in usual {
            let count = counts.get(name).copied().unwrap_or_default();
            // A client of HTTP/1.0 may name no host.
            if count > 1 || (count == 0 && name != "x-forwarded-host") {
                return Err(format!("{name} is there {count} times: {self:?}"));
            }
            lines.retain(|line| {
                let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
                !value.is_some_and(fits)
            });
        }
        lines.sort_unstable();
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        Ok(format!("{}\r\n{lines}\r\n{}", self.line, latin(&self.body)))
    }
}

/// A header that the gateway adds, and what its value looks like.
type Usual<'a> = (&'a str, &'a dyn Fn(&str) -> bool);

/// Each byte as a character.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The upstream.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    pub(crate) log: Arc<Log>,
    _serving: JoinSet<()>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let log = Arc::<Log>::default();
        let mut serving = JoinSet::new();
        let shared = Arc::clone(&log);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
        });
        Self { addr, log, _serving: serving }
    }
}

/// Bytes as they come in.
struct Source {
    stream: TcpStream,
    buffer: Vec<u8>,
    log: Arc<Log>,
}

impl Source {
    /// Reads until `end` says how far it goes; `None` when the other side is gone before.
    async fn until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = end(&self.buffer) {
                return Some(self.buffer.drain(..end).collect());
            }
            let mut chunk = [0_u8; 4 * 1024];
            let count = self.stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
            self.log.bytes.fetch_add(count, Ordering::SeqCst);
            self.buffer.extend_from_slice(&chunk[..count]);
        }
    }

    async fn line(&mut self) -> Option<Vec<u8>> {
        let line = self.until(|buffer| Some(buffer.windows(2).position(|two| two == b"\r\n")? + 2)).await?;
        Some(line[..line.len() - 2].to_vec())
    }

    async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        self.until(|buffer| (buffer.len() >= count).then_some(count)).await
    }
}

async fn connection(stream: TcpStream, log: Arc<Log>) {
    let mut source = Source { stream, buffer: Vec::new(), log: Arc::clone(&log) };
    loop {
        match request(&mut source).await {
            Ok(Some((request, bytes))) => {
                let target = request.target().to_owned();
                log.bytes_whole.fetch_add(bytes, Ordering::SeqCst);
                if target == token::JWKS {
                    let keys = token::keys();
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", keys.len());
                    let _gone = source.stream.write_all((head + &keys).as_bytes()).await;
                    continue;
                }
                let is_head = request.line.starts_with("HEAD ");
                let closes = request.headers.iter().any(|line| line == "connection: close");
                log.requests.lock().push(request);
                let body = match target.strip_prefix("/bytes/") {
                    Some(count) => vec![b'x'; count.parse().unwrap()],
                    None => b"ok".to_vec(),
                };
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let body = if is_head { Vec::new() } else { body };
                let _gone = source.stream.write_all(&[head.into_bytes(), body].concat()).await;
                if closes {
                    return;
                }
            }
            Ok(None) => return,
            Err(fault) => return log.faults.lock().push(fault),
        }
    }
}

/// One request in the one form; `None` when the other side left before its end.
async fn request(source: &mut Source) -> Result<Option<(Request, usize)>, String> {
    let end = |buffer: &[u8]| Some(buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4);
    let Some(raw_head) = source.until(end).await else { return Ok(None) };
    let text = latin(&raw_head);
    let fault = |what: &str| Err(format!("{what}: {text:?}"));
    let mut lines: Vec<&str> = text.trim_end_matches("\r\n").split("\r\n").collect();
    if lines.iter().any(|line| line.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t')) {
        return fault("a control character");
    }
    let line = lines.remove(0).to_owned();
    let parts: Vec<&str> = line.split(' ').collect();
    let is_line = parts.len() == 3 && parts[1].starts_with('/') && parts[2] == "HTTP/1.1";
    if !is_line {
        return fault("a request line of another form");
    }
    let is_token =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.!#$%&'*+^`|~".contains(&byte);
    let is_header = |line: &&str| line.split_once(": ").is_some_and(|(name, _)| name.bytes().all(is_token));
    // An empty value ends in its blank, which hyper writes.
    if !lines.iter().all(is_header) {
        return fault("a header line of another form");
    }
    let values = |name: &str| -> Vec<&str> {
        lines
            .iter()
            .filter_map(|line| line.split_once(": ").filter(|(own, _)| *own == name))
            .map(|(_, value)| value)
            .collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    let mut bytes = raw_head.len();
    let mut behind = Vec::new();
    let body = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Vec::new(),
        ([length], []) => {
            let count: usize = length.parse().map_err(|_| format!("a length of another form: {text:?}"))?;
            if count.to_string() != *length {
                return fault("a length of another form");
            }
            bytes += count;
            let Some(body) = source.exactly(count).await else { return Ok(None) };
            body
        }
        ([], ["chunked"]) => {
            let Some((body, more, trailers)) = chunks(source).await? else { return Ok(None) };
            bytes += more;
            behind = trailers;
            body
        }
        _ => return fault("no length, or several"),
    };
    let headers = lines.iter().map(|line| (*line).to_owned()).chain(behind).collect();
    Ok(Some((Request { line, headers, body, raw_head }, bytes)))
}

/// The body, how long all of it was, and what stood behind it.
async fn chunks(source: &mut Source) -> Result<Option<(Vec<u8>, usize, Vec<String>)>, String> {
    let (mut body, mut bytes) = (Vec::new(), 0);
    loop {
        let Some(line) = source.line().await else { return Ok(None) };
        let size = latin(&line);
        let count = usize::from_str_radix(&size, 16).map_err(|_| format!("a chunk of {size:?}"))?;
        if !format!("{count:x}").eq_ignore_ascii_case(&size) {
            return Err(format!("a chunk of {size:?}"));
        }
        bytes += size.len() + 2;
        if count == 0 {
            let mut behind = Vec::new();
            loop {
                let Some(line) = source.line().await else { return Ok(None) };
                bytes += line.len() + 2;
                if line.is_empty() {
                    return Ok(Some((body, bytes, behind)));
                }
                behind.push(format!("behind: {}", latin(&line)));
            }
        }
        let Some(chunk) = source.exactly(count + 2).await else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err(format!("a chunk with another end: {:?}", latin(&chunk)));
        }
        bytes += chunk.len();
        body.extend_from_slice(&chunk[..count]);
    }
}
