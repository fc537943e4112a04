//! A request on its way to a service: written anew from the model, with one way to find its end.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::Method;
use http::header::{self, HeaderMap, HeaderName};
use http::uri::PathAndQuery;
use http_body::Body;
use tokio::io::AsyncWrite;

use super::writer::last_chunk;
use crate::lines::{Lines, line};
use crate::spare;

/// Pieces of a body up to this size are copied behind what is to be written, so that many small ones go out in one write.
const COPY_BYTES_MAX: usize = 16 * 1_024;
/// As before, for a piece with which the body is complete: a longer one has nothing to wait for, and is written from where it is, in
/// one write with what is in front of it.
const LAST_COPY_BYTES_MAX: usize = 1_024;

/// Why sending stopped.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The service takes no more.
    Written(io::Error),
    /// The body could not be read to its end.
    Body,
}

/// How the service finds the end of the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Framing {
    /// So many bytes are still to come.
    Known(u64),
    /// In chunks.
    Chunked,
}

/// A request, and how much of it went out.
#[derive(Debug)]
pub(crate) struct Asking<B> {
    /// To be written first, from here on.
    out: Vec<u8>,
    written: usize,
    /// To be written then.
    data: Bytes,
    /// To be written last.
    tail: &'static [u8],
    body: B,
    framing: Framing,
    is_over: bool,
    is_begun: bool,
    /// Whether something may wait in a buffer below.
    is_unflushed: bool,
    is_head: bool,
    may_keep_alive: bool,
}

/// What the head of a request says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saying<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a PathAndQuery,
    pub(crate) host: &'a str,
    /// All but `host`, those about the connection, and those about the length.
    pub(crate) headers: &'a HeaderMap,
    /// Those that the gateway adds to the request, and those that it adds to this attempt. Of none of them there is one in `headers`.
    pub(crate) more: [&'a Lines; 2],
    /// Whether this is the last request on its connection.
    pub(crate) closes: bool,
    /// Whether the connection is to be switched to WebSocket.
    pub(crate) upgrades: bool,
    /// Whether trailers of the answer have somewhere to go.
    pub(crate) takes_trailers: bool,
}

impl<B> Asking<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    pub(crate) fn new(saying: Saying<'_>, body: B) -> Self {
        let (is_over, length) = (body.is_end_stream(), body.size_hint().exact());
        let framing = match length {
            _ if is_over => Framing::Known(0),
            Some(length) => Framing::Known(length),
            None => Framing::Chunked,
        };
        let mut out = spare::take();
        write_head(&mut out, saying, framing);
        Self {
            out,
            written: 0,
            data: Bytes::new(),
            tail: b"",
            body,
            framing,
            is_over,
            is_begun: false,
            is_unflushed: false,
            is_head: *saying.method == Method::HEAD,
            may_keep_alive: !saying.closes,
        }
    }

    /// Sends on. Ready when all of it went out.
    pub(super) fn poll<W>(&mut self, stream: &mut W, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>>
    where
        W: AsyncWrite + Unpin,
    {
        loop {
            // What is there of the body at once goes out with the head.
            while !self.is_over && self.has_room() {
                match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => self.take(data)?,
                        Err(frame) => self.end(frame.trailers_ref())?,
                    },
                    Poll::Ready(Some(Err(_cut))) => return Poll::Ready(Err(Stopped::Body)),
                    Poll::Ready(None) => self.end(None)?,
                    Poll::Pending if self.is_written() => {
                        // What there is may be what the service waits for.
                        ready!(self.poll_flush(stream, cx))?;
                        return Poll::Pending;
                    }
                    Poll::Pending => break,
                }
            }
            if self.is_written() {
                return self.poll_flush(stream, cx);
            }
            let count = ready!(self.poll_write(stream, cx)).map_err(Stopped::Written)?;
            self.advance(count);
        }
    }

    fn poll_flush<W>(&mut self, stream: &mut W, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>>
    where
        W: AsyncWrite + Unpin,
    {
        if self.is_unflushed {
            ready!(Pin::new(stream).poll_flush(cx)).map_err(Stopped::Written)?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Puts a piece of the body behind what is to be written.
    fn take(&mut self, data: Bytes) -> Result<(), Stopped> {
        if data.is_empty() {
            return Ok(());
        }
        let length = data.len() as u64;
        let is_chunked = match &mut self.framing {
            Framing::Chunked => true,
            Framing::Known(left) => {
                *left = left.checked_sub(length).ok_or(Stopped::Body)?;
                self.is_over = *left == 0;
                false
            }
        };
        if is_chunked {
            // Writing into a vector does not fail.
            drop(write!(self.out, "{length:x}\r\n"));
        }
        let tail: &[u8] = if is_chunked { b"\r\n" } else { b"" };
        let copied_max = if self.is_over { LAST_COPY_BYTES_MAX } else { COPY_BYTES_MAX };
        if data.len() <= copied_max {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(tail);
        } else {
            (self.data, self.tail) = (data, tail);
        }
        Ok(())
    }

    /// Ends the body. Trailers have a place behind chunks only.
    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Stopped> {
        self.is_over = true;
        match self.framing {
            Framing::Chunked => last_chunk(&mut self.out, trailers),
            Framing::Known(0) => {}
            Framing::Known(_) => return Err(Stopped::Body),
        }
        Ok(())
    }

    fn poll_write<W>(&self, stream: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        W: AsyncWrite + Unpin,
    {
        let (out, stream) = (&self.out[self.written..], Pin::new(stream));
        let written = if self.data.is_empty() && self.tail.is_empty() {
            ready!(stream.poll_write(cx, out))?
        } else {
            let parts = [IoSlice::new(out), IoSlice::new(&self.data), IoSlice::new(self.tail)];
            ready!(stream.poll_write_vectored(cx, &parts))?
        };
        Poll::Ready(if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) })
    }

    fn advance(&mut self, mut count: usize) {
        self.is_begun = true;
        self.is_unflushed = true;
        let of_out = count.min(self.out.len() - self.written);
        self.written += of_out;
        count -= of_out;
        let of_data = count.min(self.data.len());
        self.data.advance(of_data);
        self.tail = &self.tail[count - of_data..];
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
    }

    /// Whether another piece of the body may be taken before what there is was written.
    fn has_room(&self) -> bool {
        self.data.is_empty() && self.tail.is_empty() && self.out.len() <= COPY_BYTES_MAX
    }

    fn is_written(&self) -> bool {
        self.out.is_empty() && self.data.is_empty() && self.tail.is_empty()
    }

    /// Whether all of it went out.
    pub(super) fn is_over(&self) -> bool {
        self.is_over && self.is_written() && !self.is_unflushed
    }

    /// Whether something of it went out.
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    pub(super) fn may_keep_alive(&self) -> bool {
        self.may_keep_alive
    }
}

impl<B> Drop for Asking<B> {
    fn drop(&mut self) {
        spare::give_back(std::mem::take(&mut self.out));
    }
}

fn write_head(out: &mut Vec<u8>, saying: Saying<'_>, framing: Framing) {
    out.extend_from_slice(saying.method.as_str().as_bytes());
    out.push(b' ');
    // A query alone stands for the root (RFC 9112, 3.2.1).
    if saying.target.as_str().starts_with('?') {
        out.push(b'/');
    }
    out.extend_from_slice(saying.target.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    line(out, b"host", saying.host.as_bytes());
    for (name, value) in saying.headers {
        if !is_ours(name) {
            line(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    for lines in saying.more {
        out.extend_from_slice(lines.as_bytes());
    }
    match framing {
        Framing::Known(0) if !expects_body(saying.method) => {}
        Framing::Known(length) => line(out, b"content-length", itoa::Buffer::new().format(length).as_bytes()),
        Framing::Chunked => line(out, b"transfer-encoding", b"chunked"),
    }
    match (saying.takes_trailers, saying.closes) {
        _ if saying.upgrades => {
            line(out, b"upgrade", b"websocket");
            line(out, b"connection", b"upgrade");
        }
        (false, false) => {}
        (false, true) => line(out, b"connection", b"close"),
        // It is about this connection, and says so (RFC 9110, 10.1.4).
        (true, closes) => {
            line(out, b"te", b"trailers");
            line(out, b"connection", if closes { b"te, close" } else { b"te" });
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Headers that are written from the model.
fn is_ours(name: &HeaderName) -> bool {
    *name == header::HOST
        || *name == header::CONTENT_LENGTH
        || *name == header::TRANSFER_ENCODING
        || *name == header::CONNECTION
}

/// Methods whose body has a meaning: that there is none is said (RFC 9110, 8.6).
fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}
