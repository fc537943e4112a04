//! A client's socket under HTTP/2: with a clock on heads and on what the client takes, and with the account of its frames.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::tally::Tally;
use crate::config::Limits;
use crate::socket::{Pace, Socket};

/// The socket.
pub(super) struct Wire {
    socket: Socket,
    /// What came in before it was known that this is HTTP/2.
    read: BytesMut,
    tally: Rc<RefCell<Tally>>,
    head_timeout: Duration,
    /// Runs while a head comes in.
    head_timer: Option<(Instant, Pin<Box<Sleep>>)>,
    pace: Pace,
}

impl Wire {
    pub(super) fn new(socket: Socket, read: BytesMut, tally: Rc<RefCell<Tally>>, limits: &Limits) -> Self {
        Self {
            socket,
            read,
            tally,
            head_timeout: limits.head_timeout,
            head_timer: None,
            pace: Pace::new(limits.write_timeout),
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.read.is_empty() {
            let count = self.read.len().min(buf.remaining());
            buf.put_slice(&self.read[..count]);
            self.read.advance(count);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }

    /// Ends a connection whose client has begun a head and does not come to its end: nothing else can be said on it.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(since) = self.tally.borrow().head_since() else {
            self.head_timer = None;
            return Poll::Pending;
        };
        if self.head_timer.as_ref().is_none_or(|(of, _)| *of != since) {
            let timer = tokio::time::sleep_until(since + self.head_timeout);
            self.head_timer = Some((since, Box::pin(timer)));
        }
        if let Some((_, timer)) = &mut self.head_timer {
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match self.poll_more(cx, buf) {
            Poll::Pending => self.poll_head(cx),
            Poll::Ready(Ok(())) => {
                self.tally.borrow_mut().came(&buf.filled()[before..], Instant::now());
                Poll::Ready(Ok(()))
            }
            failed => failed,
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.socket).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            this.tally.borrow_mut().went(&bytes[..*count]);
        }
        this.pace.watch(cx, &this.socket, written)
    }

    // The library writes the head of a frame and its payload in one call only when this says so.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, parts);
        if let Poll::Ready(Ok(count)) = &written {
            let mut left = *count;
            let mut tally = this.tally.borrow_mut();
            for part in parts {
                let taken = left.min(part.len());
                tally.went(&part[..taken]);
                left -= taken;
            }
        }
        this.pace.watch(cx, &this.socket, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let flushed = Pin::new(&mut this.socket).poll_flush(cx);
        this.pace.watch(cx, &this.socket, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
