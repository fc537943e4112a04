//! The connection under HTTP/2, with the account of its frames.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::http2::Tally;
use crate::tls;
use crate::upstream::Stream;

/// What is known of a connection by its bytes.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) tally: RefCell<Tally>,
    /// When something came in last.
    pub(super) at: Cell<Instant>,
    /// Whether nothing comes any more.
    pub(super) is_over: Cell<bool>,
    /// Why the service did not take the gateway, if it said so behind the handshake.
    pub(super) refused: Cell<Option<tls::Failure>>,
}

impl Heard {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let tally = RefCell::new(Tally::of_service(now));
        Self { tally, at: Cell::new(now), is_over: Cell::new(false), refused: Cell::new(None) }
    }
}

pub(super) struct Wire {
    stream: Stream,
    heard: Rc<Heard>,
}

impl Wire {
    pub(super) fn new(stream: Stream, heard: Rc<Heard>) -> Self {
        Self { stream, heard }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(read) = &polled {
            let came = &buf.filled()[before..];
            if read.is_err() || came.is_empty() {
                self.heard.is_over.set(true);
                self.heard.refused.set(read.as_ref().err().and_then(tls::Failure::after));
            } else {
                let now = Instant::now();
                self.heard.at.set(now);
                self.heard.tally.borrow_mut().came(came, now);
            }
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.heard.tally.borrow_mut().went(&bytes[..*count]);
        }
        written
    }

    // The library writes the head of a frame and its payload in one call only when this says so.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        if let Poll::Ready(Ok(count)) = &written {
            let mut left = *count;
            let mut tally = self.heard.tally.borrow_mut();
            for part in parts {
                let taken = left.min(part.len());
                tally.went(&part[..taken]);
                left -= taken;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
