//! The socket of a client, with a clock on it.
//!
//! A client may be idle for a while between requests, must send a head within a short time once it began, and must
//! take some of the answer in each stretch of time: by amount, so that a byte a second does not count as progress.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::config::Limits;
use crate::socket::{Pace, Socket};

/// Where the connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Between requests, since then.
    Idle(Instant),
    /// A head began to come in then.
    Head(Instant),
    /// A request is served; other clocks watch it.
    Serving,
}

/// The socket.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    phase: Phase,
    head_timeout: Duration,
    idle_timeout: Duration,
    read_timer: Pin<Box<Sleep>>,
    pace: Pace,
}

impl Wire {
    pub(super) fn new(socket: Socket, limits: &Limits) -> Self {
        let now = Instant::now();
        Self {
            socket,
            // The first head is awaited as one that began: a connection that says nothing is not worth a long wait.
            phase: Phase::Head(now),
            head_timeout: limits.head_timeout,
            idle_timeout: limits.idle_timeout,
            read_timer: Box::pin(tokio::time::sleep_until(now + limits.head_timeout)),
            pace: Pace::new(limits.write_timeout),
        }
    }

    /// A request is served from now on.
    pub(super) fn serve(&mut self) {
        self.phase = Phase::Serving;
    }

    /// The client has the next word.
    pub(super) fn idle(&mut self) {
        self.phase = Phase::Idle(Instant::now());
        self.pace.rest();
    }

    /// Something of a head came in.
    pub(super) fn head_begins(&mut self) {
        if let Phase::Idle(_) = self.phase {
            self.phase = Phase::Head(Instant::now());
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Pending until the client has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = match self.phase {
            Phase::Idle(since) => since + self.idle_timeout,
            Phase::Head(since) => since + self.head_timeout,
            Phase::Serving => return Poll::Pending,
        };
        // A timer that rings early is set again when it does: cheaper than setting it for each request.
        if due < self.read_timer.deadline() {
            self.read_timer.as_mut().reset(due);
        }
        while self.read_timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            self.read_timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.socket).poll_read(cx, buf) {
            Poll::Ready(read) => Poll::Ready(read),
            Poll::Pending => self.poll_silence(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.socket).poll_write(cx, bytes);
        this.pace.watch(cx, &this.socket, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, parts);
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
