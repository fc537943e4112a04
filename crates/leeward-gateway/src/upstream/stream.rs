//! A connection to a service, plain or encrypted.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// How long nothing passes before the system asks, how often it does then, and how many questions may stay without an answer.
const SILENT_MAX: Duration = Duration::from_secs(10);
const ASKED_EVERY: Duration = Duration::from_secs(5);
const ASKED_MAX: u32 = 3;

/// How well an idle connection is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// The socket is asked itself, for a system call.
    Now,
    /// What the runtime knows, which is as old as its last look at all sockets. Where the service closed since then, the request
    /// has to be sent again; what a service said unasked since then is read as its answer, as what it says a moment later is in any case.
    Last,
}

/// What a request to a service is written to.
#[derive(Debug)]
pub(crate) enum Stream {
    /// As it came from the system.
    Plain(TcpStream),
    /// Behind a session, which has a buffer of its own: what is written has left only after a flush.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Has the system ask whether the other machine is still there while nothing passes. Where it cannot, the times of requests find out.
    pub(crate) fn is_asked_by_the_system(&self) {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => tls.get_ref().0,
        };
        let asking = socket2::TcpKeepalive::new().with_time(SILENT_MAX).with_interval(ASKED_EVERY);
        let _best_effort = socket2::SockRef::from(stream).set_tcp_keepalive(&asking.with_retries(ASKED_MAX));
    }

    /// Whether nothing came in that nobody read: neither an end nor anything unasked.
    pub(crate) fn is_quiet(&mut self, look: Look) -> bool {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => {
                let (stream, session) = tls.get_mut();
                // What came in with the last answer may be in the session already.
                let state = session.process_new_packets();
                if !state.is_ok_and(|state| state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed())
                {
                    return false;
                }
                stream
            }
        };
        let peek = || socket2::SockRef::from(&*stream).peek(&mut [MaybeUninit::uninit()]);
        let unread = match look {
            Look::Now => peek(),
            // Without a system call where the runtime has heard of nothing.
            Look::Last => stream.try_io(Interest::READABLE, peek),
        };
        unread.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
