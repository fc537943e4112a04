//! One connection over HTTP/2: its streams, its clocks, and how it ends.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::{self, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;

use super::answer::{self, Ended};
use super::request;
use super::tally::{Flood, Tally};
use super::wire::Wire;
use crate::access::Delivery;
use crate::config::Limits;
use crate::life::{self, Peer};
use crate::plane::current::Current;
use crate::socket::Socket;

/// Requests at a time on one connection: as much as RFC 9113 asks for at least, and browsers use fewer. Each may hold a place among
/// those of the whole gateway.
const STREAMS_MAX: u32 = 100;
/// What a client may send of one body before somebody reads it, and of all bodies of a connection: so much memory can a connection take.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 512 * 1024;
/// What of an answer waits for the client, on each stream.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Streams on which a client broke a rule. A client that is sound breaks none.
const ERRORS_MAX: usize = 100;
/// How long a client may take to leave that was asked to.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// What all streams of a connection share.
struct Seat {
    current: Rc<Current>,
    peer: Peer,
    open: Cell<usize>,
    /// Since when no stream is open.
    idle_since: Cell<Instant>,
}

/// Counts a stream until it is done.
struct Open(Rc<Seat>);

impl Open {
    fn new(seat: &Rc<Seat>) -> Self {
        seat.open.set(seat.open.get() + 1);
        Self(Rc::clone(seat))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.idle_since.set(Instant::now());
    }
}

/// Serves a connection until it ends. `read` came in on it already.
pub(crate) async fn serve(
    current: Rc<Current>,
    socket: Socket,
    read: BytesMut,
    peer: Peer,
    mut draining: watch::Receiver<bool>,
) {
    // A connection keeps the limits that it began with, a request the configuration that it did.
    let limits = current.core().shared.config.limits.clone();
    let now = Instant::now();
    let tally = Rc::new(RefCell::new(Tally::new(now)));
    let wire = Wire::new(socket, read, Rc::clone(&tally), &limits);
    let handshake = options(&limits).handshake(wire);
    let Ok(Ok(mut connection)) = tokio::time::timeout(limits.head_timeout, handshake).await else { return };
    let seat = Rc::new(Seat { current, peer, open: Cell::new(0), idle_since: Cell::new(now) });
    let mut is_first = true;
    // Set once the client was told that no further request is taken.
    let mut leaving: Option<Instant> = None;
    loop {
        let patience = if is_first { limits.head_timeout } else { limits.idle_timeout };
        let due = leaving.unwrap_or(seat.idle_since.get() + patience);
        let next = tokio::select! {
            biased;
            next = next(&mut connection, &tally) => next,
            _drain = draining.wait_for(|draining| *draining), if leaving.is_none() => Next::Drain,
            // Looked at again when it is due: a stream may have been opened meanwhile.
            () = tokio::time::sleep_until(due.max(Instant::now() + TICK)) => Next::Due,
        };
        match next {
            Next::Request(request, respond) => {
                is_first = false;
                tokio::task::spawn_local(stream(Open::new(&seat), request, respond, limits.write_timeout));
            }
            Next::Drain => {
                connection.graceful_shutdown();
                leaving = Some(Instant::now() + LEAVE_WITHIN);
            }
            Next::Due if seat.open.get() > 0 => {}
            Next::Due if leaving.is_some() => return,
            Next::Due if seat.idle_since.get() + patience > Instant::now() => {}
            Next::Due => {
                connection.graceful_shutdown();
                leaving = Some(Instant::now() + LEAVE_WITHIN);
            }
            Next::Flood(flood) => return end(&seat, connection, flood).await,
            Next::Closed => return,
        }
    }
}

/// How seldom the clocks of a connection are looked at.
const TICK: Duration = Duration::from_millis(50);

fn options(limits: &Limits) -> server::Builder {
    let mut options = server::Builder::new();
    options
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(Some(ERRORS_MAX));
    options
}

#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
enum Next {
    Request(Request<RecvStream>, SendResponse<Bytes>),
    Drain,
    Due,
    Flood(Flood),
    Closed,
}

/// What the connection brings next. All its streams move while this is polled.
async fn next(connection: &mut Connection<Wire, Bytes>, tally: &RefCell<Tally>) -> Next {
    poll_fn(|cx| {
        let polled = connection.poll_accept(cx);
        if let Some(flood) = tally.borrow().flood() {
            return Poll::Ready(Next::Flood(flood));
        }
        polled.map(|next| match next {
            Some(Ok((request, respond))) => Next::Request(request, respond),
            Some(Err(_)) | None => Next::Closed,
        })
    })
    .await
}

/// Ends a connection that costs more than it asks for, and says why.
async fn end(seat: &Seat, mut connection: Connection<Wire, Bytes>, flood: Flood) {
    let core = seat.current.core();
    let shared = &core.shared;
    shared.metrics.http2_floods.with([flood.as_str()]).inc();
    tracing::debug!(client = %seat.peer.ip, flood = flood.as_str(), "a connection is ended");
    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    let closed = poll_fn(|cx| connection.poll_closed(cx));
    let _late = tokio::time::timeout(LEAVE_WITHIN, closed).await;
}

/// One request and its answer.
async fn stream(
    open: Open,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    write_timeout: Duration,
) {
    let Seat { current, peer, .. } = &*open.0;
    let core = current.core();
    let unix_ms = core.shared.clock.unix_ms();
    let method = request.method().clone();
    let answered = match request::read(request, core.shared.config.limits.headers) {
        Ok(read) => {
            if read.expects_continue {
                let _gone = respond.send_informational(go_on());
            }
            let serving = life::serve(core, peer, read.request);
            tokio::select! {
                biased;
                // A client that takes its request back takes what is done for it along.
                _reset = poll_fn(|cx| respond.poll_reset(cx)) => return,
                answer = serving => answer,
            }
        }
        Err(rule) => life::broken(&core, peer, rule),
    };
    send(peer, respond, &method, answered, unix_ms, write_timeout).await;
}

async fn send(
    peer: &Peer,
    respond: SendResponse<Bytes>,
    method: &http::Method,
    answer: Response<Delivery>,
    unix_ms: i64,
    write_timeout: Duration,
) {
    if let Err(ended @ (Ended::Broken | Ended::Stalled | Ended::Late)) =
        answer::send(respond, method, answer, unix_ms, write_timeout).await
    {
        tracing::debug!(client = %peer.ip, ?ended, "an answer did not come to its end");
    }
}

fn go_on() -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::CONTINUE;
    response
}
