//! A connection that was switched to WebSocket: bytes pass in both directions until one side, a clock or the gateway's own stop ends it.
//!
//! What passes is not looked into, but for where frames begin: at a stop both sides are told between two frames (close code 1001), and
//! have the time to drain to say goodbye themselves. Each direction holds one buffer of 16 KiB at most: who does not read makes the other
//! one wait.

mod frames;
mod way;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use leeward_telemetry::metrics::Gauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use self::way::{Broken, Way};
use crate::access::Notes;
use crate::config::Tunnel as Options;
use crate::h1::Io;
use crate::metrics::TunnelMetrics;
use crate::upstream::Stream;

/// A close frame with the code 1001, `going away`: as a server sends it, and as a client does, whose frames are masked.
const GOODBYE: &[u8] = &[0x88, 0x02, 0x03, 0xe9];
const GOODBYE_MASKED: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

/// How long the other side may go on when one has closed.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How a tunnel ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Both sides closed it.
    Closed,
    /// The client broke it off, or took nothing for too long.
    Client,
    /// The service broke it off.
    Service,
    /// Nothing passed for too long.
    Idle,
    /// It lasted as long as it may.
    Duration,
    /// The gateway stopped, and the sides did not close it in time.
    Drain,
}

impl End {
    /// The name in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Client => "client",
            Self::Service => "service",
            Self::Idle => "idle",
            Self::Duration => "duration",
            Self::Drain => "drain",
        }
    }
}

/// Counts a tunnel while it is open.
struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The service's side of a connection that was switched, until the client's side is too.
pub(crate) struct Tunnel {
    service: Side,
    options: Options,
    drain: Duration,
    metrics: TunnelMetrics,
    notes: Notes,
}

/// One side: what it sent behind its head already, and then the rest.
struct Side {
    stream: Stream,
    early: BytesMut,
}

impl Tunnel {
    pub(crate) fn new(
        (stream, early): (Stream, BytesMut),
        (options, drain): (Options, Duration),
        (metrics, notes): (&TunnelMetrics, &Notes),
    ) -> Self {
        let service = Side { stream, early };
        Self { service, options, drain, metrics: metrics.clone(), notes: notes.clone() }
    }

    /// Passes bytes until it ends. How, and how many went to the client.
    ///
    /// # Cancel safety
    /// Both connections are closed.
    pub(crate) async fn run(self, io: &Io, draining: &mut watch::Receiver<bool>) -> (End, u64) {
        let Self { service, options, drain, metrics, notes } = self;
        metrics.open.inc();
        let _open = Open(metrics.open.clone());
        let (begun, moved) = (Instant::now(), Cell::new(Instant::now()));
        let until = options.max_duration.map(|longest| begun + longest);
        let mut both = Both {
            client: io,
            service,
            up: Way::default(),
            down: Way::default(),
            moved: &moved,
            is_half_closed: false,
        };
        let (mut leaving, mut closing): (Option<Instant>, Option<Instant>) = (None, None);
        let end = loop {
            let is_leaving = leaving.is_some();
            let idle = moved.get() + options.idle_timeout;
            let due = [Some(idle), until, leaving, closing].into_iter().flatten().min().unwrap_or(idle);
            tokio::select! {
                biased;
                end = poll_fn(|cx| both.poll(cx, is_leaving)) => match end {
                    Some(end) => break end,
                    None => closing = Some(Instant::now() + LAST_WORDS),
                },
                _drain = draining.wait_for(|draining| *draining), if !is_leaving => {
                    leaving = Some(Instant::now() + drain);
                }
                () = sleep_until(due) => {
                    let now = Instant::now();
                    if closing.is_some_and(|due| now >= due) {
                        break End::Closed;
                    }
                    if leaving.is_some_and(|due| now >= due) {
                        break End::Drain;
                    }
                    if until.is_some_and(|due| now >= due) {
                        break End::Duration;
                    }
                    // Looked at again when it is due: something may have passed meanwhile.
                    if now >= moved.get() + options.idle_timeout {
                        break End::Idle;
                    }
                }
            }
        };
        notes.received(usize::try_from(both.up.passed()).unwrap_or(usize::MAX));
        metrics.ended.with([end.as_str()]).inc();
        (end, both.down.passed())
    }
}

/// Both directions.
struct Both<'a> {
    client: &'a Io,
    service: Side,
    up: Way,
    down: Way,
    moved: &'a Cell<Instant>,
    is_half_closed: bool,
}

impl Both<'_> {
    /// Moves what can be moved. Ready when nothing comes any more, and once, with nothing, when only one side says something still.
    fn poll(&mut self, cx: &mut Context<'_>, is_leaving: bool) -> Poll<Option<End>> {
        let Self { client, service, up, down, moved, is_half_closed } = self;
        let mut client = Watched { inner: Client(client), moved };
        let mut service = Watched { inner: service, moved };
        let upwards = up.poll(cx, &mut client, &mut service, is_leaving.then_some(GOODBYE_MASKED));
        let downwards = down.poll(cx, &mut service, &mut client, is_leaving.then_some(GOODBYE));
        match (upwards, downwards) {
            (Poll::Ready(Err(Broken::Reader)), _) | (_, Poll::Ready(Err(Broken::Writer))) => {
                Poll::Ready(Some(End::Client))
            }
            (Poll::Ready(Err(Broken::Writer)), _) | (_, Poll::Ready(Err(Broken::Reader))) => {
                Poll::Ready(Some(End::Service))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Some(End::Closed)),
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            _ if *is_half_closed => Poll::Pending,
            _ => {
                *is_half_closed = true;
                Poll::Ready(None)
            }
        }
    }
}

/// The client's connection.
struct Client<'a>(&'a Io);

/// Notes when something came in.
struct Watched<'a, S> {
    inner: S,
    moved: &'a Cell<Instant>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.moved.set(Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl AsyncRead for Client<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_switched(cx, buf)
    }
}

impl AsyncWrite for Client<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}

impl AsyncRead for Side {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Side {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
