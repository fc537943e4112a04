//! One connection of the load: one request at a time, the answer compared with what the upstream has.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::message::{self, Head};
use super::pipe::Ask;

/// What became of a call to [`Client::go_on`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The answer is not complete.
    Waits,
    /// The answer came, and was the right one.
    Done(Done),
    /// The connection is of no more use.
    Failed(String),
}

/// A right answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Done {
    /// When its request should have started.
    pub(super) due: Instant,
    /// Whether it tells of a rate limit.
    pub(super) limited: bool,
    /// Whether the gateway closes the connection after it.
    pub(super) closes: bool,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    /// The request under way.
    request: Option<Request>,
}

#[derive(Debug)]
struct Request {
    number: usize,
    written: usize,
    due: Instant,
    /// A head that is not complete yet.
    begun: Vec<u8>,
    head: Option<Head>,
    /// Bytes of the body that came and were right.
    body: usize,
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, request: None }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.request.is_some()
    }

    /// Starts request `number` of `requests`, which is due at `due`.
    pub(super) fn begin(&mut self, number: usize, due: Instant, requests: &[Ask]) -> Step {
        self.request = Some(Request { number, written: 0, due, begun: Vec::new(), head: None, body: 0 });
        match self.write(requests) {
            Ok(()) => Step::Waits,
            Err(error) => Step::Failed(format!("a request could not be sent: {error}")),
        }
    }

    /// Writes and reads until there is nothing more to do. `expected` is the answer's body.
    pub(super) fn go_on(&mut self, requests: &[Ask], expected: &[u8], buffer: &mut [u8]) -> Step {
        if let Err(error) = self.write(requests) {
            return Step::Failed(format!("a request could not be sent: {error}"));
        }
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Step::Failed("the connection was closed without an answer".to_owned()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Waits,
                Err(error) => return Step::Failed(error.to_string()),
            };
            let Some(request) = &mut self.request else {
                return Step::Failed("bytes without a request".to_owned());
            };
            match request.take(&buffer[..read], expected) {
                Ok(None) if read < buffer.len() => return Step::Waits,
                Ok(None) => {}
                Ok(Some(done)) => {
                    self.request = None;
                    return Step::Done(done);
                }
                Err(reason) => return Step::Failed(reason),
            }
        }
    }

    fn write(&mut self, requests: &[Ask]) -> std::io::Result<()> {
        let Some(request) = &mut self.request else { return Ok(()) };
        let bytes = requests[request.number].bytes();
        while request.written < bytes.len() {
            match self.stream.write(&bytes[request.written..]) {
                Ok(more) => request.written += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Request {
    fn take(&mut self, bytes: &[u8], expected: &[u8]) -> Result<Option<Done>, String> {
        let Some(head) = self.head else {
            if self.begun.is_empty() {
                return self.head(bytes, expected);
            }
            self.begun.extend_from_slice(bytes);
            let begun = std::mem::take(&mut self.begun);
            return self.head(&begun, expected);
        };
        self.body(head, bytes, expected)
    }

    fn head(&mut self, bytes: &[u8], expected: &[u8]) -> Result<Option<Done>, String> {
        let Some(head) = message::response(bytes)? else {
            self.begun = bytes.to_vec();
            return Ok(None);
        };
        if head.status != 200 || head.body_bytes != expected.len() {
            let text = String::from_utf8_lossy(&bytes[head.len..bytes.len().min(head.len + 200)]);
            return Err(format!("status {} with {} bytes: {text}", head.status, head.body_bytes));
        }
        self.head = Some(head);
        self.body(head, &bytes[head.len..], expected)
    }

    fn body(&mut self, head: Head, bytes: &[u8], expected: &[u8]) -> Result<Option<Done>, String> {
        let end = self.body + bytes.len();
        if expected.get(self.body..end) != Some(bytes) {
            return Err(format!("other bytes than the upstream sent, from {} to {end}", self.body));
        }
        self.body = end;
        let done = Done { due: self.due, limited: head.proves, closes: head.closes };
        Ok((end == expected.len()).then_some(done))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const BODY: &[u8] = b"0123456789";

    fn request() -> Request {
        let due = Instant::now();
        Request { number: 0, written: 0, due, begun: Vec::new(), head: None, body: 0 }
    }

    #[test]
    fn an_answer_may_come_in_any_pieces() {
        let text = [&b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"[..], BODY].concat();
        for cut in 0..text.len() {
            let mut request = request();
            assert_eq!(request.take(&text[..cut], BODY), Ok(None), "{cut}");
            assert!(request.take(&text[cut..], BODY).unwrap().is_some(), "{cut}");
        }
    }

    #[test]
    fn an_answer_that_is_not_the_upstream_s_is_an_error() {
        for text in [
            "HTTP/1.1 429 No\r\ncontent-length: 10\r\n\r\n0123456789",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n012345678",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456788",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789x",
        ] {
            assert!(request().take(text.as_bytes(), BODY).is_err(), "{text}");
        }
    }
}
