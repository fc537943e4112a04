//! One connection of the load over HTTP/2: one stream at a time, the answer compared with what the upstream has.
//!
//! The protocol is crate `h2`'s. Nobody is woken: whoever is told that the socket is ready polls everything.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Connection, ResponseFuture, SendRequest};
use http::{Request, Response, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::client::{Done, Step};
use super::message::LIMIT;

/// One connection.
pub(super) struct Streams {
    connection: Connection<Wire, Bytes>,
    sender: SendRequest<Bytes>,
    request: Option<Asked>,
}

struct Asked {
    due: Instant,
    answer: Answer,
    limited: bool,
    /// Bytes of the body that came and were right.
    body: usize,
}

enum Answer {
    Awaited(ResponseFuture),
    Comes(RecvStream),
}

impl Streams {
    /// Begins the connection.
    pub(super) fn new(stream: TcpStream) -> Result<Self, String> {
        let mut cx = Context::from_waker(Waker::noop());
        let handshake = pin!(h2::client::handshake(Wire(stream)));
        match handshake.poll(&mut cx) {
            Poll::Ready(Ok((sender, connection))) => Ok(Self { connection, sender, request: None }),
            Poll::Ready(Err(error)) => Err(format!("HTTP/2: {error}")),
            Poll::Pending => Err("HTTP/2: a new socket takes no preface".to_owned()),
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.request.is_some()
    }

    /// Sends `head`, which is due at `due`.
    pub(super) fn begin(&mut self, head: &Request<()>, due: Instant) -> Step {
        let mut cx = Context::from_waker(Waker::noop());
        if !matches!(self.sender.poll_ready(&mut cx), Poll::Ready(Ok(()))) {
            return Step::Failed("HTTP/2: no stream can be opened".to_owned());
        }
        match self.sender.send_request(head.clone(), true) {
            Ok((answer, _no_body)) => {
                let answer = Answer::Awaited(answer);
                self.request = Some(Asked { due, answer, limited: false, body: 0 });
            }
            Err(error) => return Step::Failed(format!("HTTP/2: a request could not be sent: {error}")),
        }
        match self.turn(&mut cx) {
            Ok(()) => Step::Waits,
            Err(reason) => Step::Failed(reason),
        }
    }

    /// Writes and reads until there is nothing more to do. `expected` is the answer's body.
    pub(super) fn go_on(&mut self, expected: &[u8]) -> Step {
        let mut cx = Context::from_waker(Waker::noop());
        if let Err(reason) = self.turn(&mut cx) {
            return Step::Failed(reason);
        }
        let Some(request) = &mut self.request else { return Step::Waits };
        let step = match request.go_on(expected, &mut cx) {
            Ok(Some(done)) => {
                self.request = None;
                Step::Done(done)
            }
            Ok(None) => Step::Waits,
            Err(reason) => return Step::Failed(reason),
        };
        // What was read makes room, which the other side is told of.
        match self.turn(&mut cx) {
            Ok(()) => step,
            Err(reason) => Step::Failed(reason),
        }
    }

    /// Reads and writes what can be.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        match Pin::new(&mut self.connection).poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => Err("HTTP/2: the connection was closed".to_owned()),
            Poll::Ready(Err(error)) => Err(format!("HTTP/2: {error}")),
        }
    }
}

impl Asked {
    fn go_on(&mut self, expected: &[u8], cx: &mut Context<'_>) -> Result<Option<Done>, String> {
        if let Answer::Awaited(answer) = &mut self.answer {
            let Poll::Ready(answer) = Pin::new(answer).poll(cx) else { return Ok(None) };
            let answer = answer.map_err(|error| format!("HTTP/2: {error}"))?;
            self.limited = is_right(&answer, expected.len())?;
            self.answer = Answer::Comes(answer.into_body());
        }
        let Answer::Comes(body) = &mut self.answer else { return Ok(None) };
        loop {
            let bytes = match body.poll_data(cx) {
                Poll::Pending => return Ok(None),
                Poll::Ready(None) => break,
                Poll::Ready(Some(bytes)) => bytes.map_err(|error| format!("HTTP/2: {error}"))?,
            };
            let end = self.body + bytes.len();
            if expected.get(self.body..end) != Some(&bytes[..]) {
                return Err(format!("other bytes than the upstream sent, from {} to {end}", self.body));
            }
            self.body = end;
            body.flow_control().release_capacity(bytes.len()).map_err(|error| error.to_string())?;
        }
        if self.body != expected.len() {
            return Err(format!("the answer ended after {} bytes", self.body));
        }
        Ok(Some(Done { due: self.due, limited: self.limited, closes: false }))
    }
}

/// Whether an answer, which must be the upstream's, tells of a rate limit.
fn is_right(answer: &Response<RecvStream>, bytes: usize) -> Result<bool, String> {
    let length = answer.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if answer.status() != 200 || length.and_then(|length| length.parse().ok()) != Some(bytes) {
        return Err(format!("status {} with {length:?} bytes", answer.status()));
    }
    Ok(LIMIT.iter().any(|name| answer.headers().contains_key(*name)))
}

/// A socket that never waits, as crate `h2` wants it.
#[derive(Debug)]
struct Wire(TcpStream);

fn ready<T>(result: std::io::Result<T>) -> Poll<std::io::Result<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let read = self.0.read(buffer.initialize_unfilled());
        ready(read.map(|read| buffer.advance(read)))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        ready(self.0.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        ready(self.0.write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        ready(self.0.shutdown(std::net::Shutdown::Write))
    }
}
