//! A client's socket, plain or encrypted.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use crate::tls::Meter;

/// What a connection reads from and writes to.
#[derive(Debug)]
pub(crate) enum Socket {
    /// As it came from the system.
    Plain {
        stream: TcpStream,
        /// Bytes written so far, around and around.
        written: usize,
    },
    /// Behind a session, which has a buffer of its own: what is written has left only after a flush.
    Tls(Box<TlsStream<Meter>>),
}

impl Socket {
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self::Plain { stream, written: 0 }
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The socket itself.
    pub(crate) fn stream(&self) -> &TcpStream {
        match self {
            Self::Plain { stream, .. } => stream,
            Self::Tls(tls) => tls.get_ref().0.stream(),
        }
    }

    /// Bytes that the system took so far, around and around.
    pub(crate) fn written(&self) -> usize {
        match self {
            Self::Plain { written, .. } => *written,
            Self::Tls(tls) => tls.get_ref().0.written(),
        }
    }
}

/// What a client must take of an answer in each `write_timeout` while there is more to send.
const WRITE_BYTES_MIN: usize = 4 * 1024;

/// Watches that a client takes what is sent to it: by amount, so that a byte a second does not count as progress.
#[derive(Debug)]
pub(crate) struct Pace {
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// What the client had taken when the timer was set.
    from: usize,
}

impl Pace {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, timer: None, from: 0 }
    }

    /// Passes on what became of a write, and ends one that makes no progress.
    pub(crate) fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Socket,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.rest_after(socket.written());
            return polled;
        }
        self.poll_stalled(cx, socket.written()).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ready when the client, which has taken so much by now, takes too little. Asked while something waits to be taken.
    pub(crate) fn poll_stalled(&mut self, cx: &mut Context<'_>, taken: usize) -> Poll<()> {
        loop {
            let timeout = self.timeout;
            let timer = match &mut self.timer {
                Some(timer) => timer,
                None => {
                    self.from = taken;
                    self.timer.insert(Box::pin(tokio::time::sleep(timeout)))
                }
            };
            ready!(timer.as_mut().poll(cx));
            if self.taken(taken) < WRITE_BYTES_MIN {
                return Poll::Ready(());
            }
            self.timer = None;
        }
    }

    /// Nothing waits any more.
    pub(crate) fn rest(&mut self) {
        self.timer = None;
    }

    /// As [`Pace::rest`] once the client took enough since something began to wait.
    pub(crate) fn rest_after(&mut self, taken: usize) {
        if self.timer.is_some() && self.taken(taken) >= WRITE_BYTES_MIN {
            self.timer = None;
        }
    }

    fn taken(&self, by_now: usize) -> usize {
        by_now.wrapping_sub(self.from)
    }
}

fn counted(written: &mut usize, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    if let Poll::Ready(Ok(count)) = polled {
        *written = written.wrapping_add(count);
    }
    polled
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain { stream, .. } => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain { stream, written } => counted(written, Pin::new(stream).poll_write(cx, bytes)),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain { stream, written } => {
                counted(written, Pin::new(stream).poll_write_vectored(cx, parts))
            }
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain { stream, .. } => stream.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain { stream, .. } => Pin::new(stream).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain { stream, .. } => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
