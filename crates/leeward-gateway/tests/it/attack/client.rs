//! A client that reads answers as strictly as the upstream reads requests.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::case::Step;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn closes(&self) -> bool {
        self.all("connection").any(|value| value == "close")
    }

    /// Whether the problem document names it as its rule or its code.
    pub(crate) fn names(&self, why: &str) -> bool {
        let document: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        document["rule"] == why || document["code"] == why
    }
}

/// What stands where an answer should.
#[derive(Debug)]
pub(crate) enum Next {
    Answer(Answer),
    /// The end of the connection, and whether it was a clean one.
    End {
        clean: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Whether the next answer has a head only, since only that was asked for.
    pub(crate) asked_for_head: bool,
}

impl Client {
    pub(crate) async fn connect(addr: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new(), asked_for_head: false }
    }

    /// The gateway may end the connection before all is sent: that is its right.
    pub(crate) async fn play(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Pause(time) => tokio::time::sleep(*time).await,
                Step::Send(bytes) => {
                    let sent = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes)).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        return;
                    }
                }
            }
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.play(&[Step::Send(bytes.to_vec())]).await;
    }

    /// What came and is no whole answer.
    pub(crate) fn unread(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// The next answer, in the one form that the gateway writes.
    pub(crate) async fn next(&mut self) -> Result<Next, String> {
        tokio::time::timeout(PATIENCE, self.read()).await.unwrap_or_else(|_| {
            Err(format!("nothing comes after {:?}", String::from_utf8_lossy(&self.buffer)))
        })
    }

    async fn read(&mut self) -> Result<Next, String> {
        loop {
            if let Some((answer, length)) = parse(&self.buffer, self.asked_for_head)? {
                self.asked_for_head = false;
                self.buffer.drain(..length);
                return Ok(Next::Answer(answer));
            }
            let mut chunk = [0_u8; 4 * 1024];
            match self.stream.read(&mut chunk).await {
                Ok(0) if self.buffer.is_empty() => return Ok(Next::End { clean: true }),
                Ok(0) | Err(_) => return Ok(Next::End { clean: false }),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

fn parse(bytes: &[u8], is_bare: bool) -> Result<Option<(Answer, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status: u16 = status.ok_or_else(|| format!("no status line: {text:?}"))?;
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("no header lines: {text:?}"))?;
    let mut answer = Answer { status, headers, body: String::new() };
    let lengths: Vec<String> = answer.all("content-length").map(str::to_owned).collect();
    let codings: Vec<&str> = answer.all("transfer-encoding").collect();
    let mut at = end + 4;
    let body = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) if matches!(status, 100..=199 | 204 | 304) => Vec::new(),
        // What is no request asked for no head: it is answered in full.
        ([] | [_], []) if is_bare && status == 200 => Vec::new(),
        ([length], []) => {
            let count: usize = length.parse().map_err(|_| format!("no length: {text:?}"))?;
            let Some(body) = bytes.get(at..at + count) else { return Ok(None) };
            at += count;
            body.to_vec()
        }
        ([], ["chunked"]) => {
            let mut body = Vec::new();
            loop {
                let Some(line) = bytes[at..].windows(2).position(|two| two == b"\r\n") else {
                    return Ok(None);
                };
                let size = String::from_utf8_lossy(&bytes[at..at + line]).into_owned();
                let count = usize::from_str_radix(&size, 16).map_err(|_| format!("no chunk: {size:?}"))?;
                at += line + 2;
                let Some(chunk) = bytes.get(at..at + count + 2) else { return Ok(None) };
                at += count + 2;
                body.extend_from_slice(&chunk[..count]);
                if count == 0 {
                    break body;
                }
            }
        }
        _ => return Err(format!("no length, or several: {text:?}")),
    };
    answer.body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some((answer, at)))
}
