//! One connection over HTTP/2 to a service: its streams, and how it is found dead.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{Ping, Reason};
use http::{Request, Response};
use http_body::Body;
use rustls::ClientConfig;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::answer::Answer;
use super::pump::{Pump, Stopped};
use super::questions::Questions;
use super::table::Opening;
use super::wire::{Heard, Wire};
use crate::body::Upload;
use crate::h1::{Length, said};
use crate::upstream::{Error, Keep, Opened};

/// Streams at a time on one connection, where the service takes as many.
const STREAMS_MAX: usize = 100;
/// What of one answer waits for its client. What of all answers of a connection may wait is as much for each stream, so that clients
/// who take nothing do not stop the others.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 100 * STREAM_WINDOW_BYTES;
/// What of a request waits for the service, on each stream.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Largest head of an answer, and most lines of it, as over HTTP/1.1.
const HEAD_BYTES_MAX: u32 = 64 * 1024;
pub(super) const HEADERS_MAX: usize = 128;
/// Most interim answers (1xx) before the final one.
const INTERIM_MAX: u32 = 256;
/// Streams that the gateway ends since the service broke a rule on them.
const ERRORS_MAX: usize = 100;
/// How long a connection with requests on it is silent before it is asked whether it lives, and how long it may take to say so.
const SILENT_MAX: Duration = Duration::from_secs(10);
const PONG_WITHIN: Duration = Duration::from_secs(5);

/// A failure, and whether the service said that it has not looked at the request.
pub(crate) struct Failed {
    pub(crate) why: Error,
    pub(crate) is_untouched: bool,
}

impl From<Error> for Failed {
    fn from(why: Error) -> Self {
        Self { why, is_untouched: false }
    }
}

/// A connection that takes requests, several at a time.
pub(crate) struct Connection {
    sender: SendRequest<Bytes>,
    heard: Rc<Heard>,
    pub(super) under: Option<Arc<ClientConfig>>,
    is_leaving: Cell<bool>,
    /// Streams at a time that the service took when it was looked at last.
    took: Cell<usize>,
    /// Whether a request was answered: from then on an alert is no refusal of the handshake.
    was_answered: Cell<bool>,
    streams: Cell<usize>,
    idle_since: Cell<Instant>,
    idle_timeout: Duration,
    /// Told when a stream ends, or the connection.
    room: Rc<Notify>,
}

/// A stream's place on its connection.
pub(super) struct Place(Rc<Connection>);

impl Drop for Place {
    fn drop(&mut self) {
        let Connection { streams, idle_since, room, .. } = &*self.0;
        streams.set(streams.get() - 1);
        idle_since.set(Instant::now());
        room.notify_one();
    }
}

impl Connection {
    /// Begins HTTP/2 on a connection.
    ///
    /// # Errors
    /// The connection ended.
    pub(crate) async fn begin(opened: Opened, keep: Keep, opening: &Opening) -> Result<Rc<Self>, Error> {
        opened.stream.is_asked_by_the_system();
        let heard = Rc::new(Heard::new());
        let wire = Wire::new(opened.stream, Rc::clone(&heard));
        let begun = options(opening.takes).handshake(wire).await;
        let (sender, connection) = begun.map_err(|error| Error::Connect(io::Error::other(error)))?;
        let took = Cell::new(sender.current_max_send_streams());
        let this = Rc::new(Self {
            sender,
            took,
            heard,
            under: opened.under,
            is_leaving: Cell::new(false),
            was_answered: Cell::new(false),
            streams: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            idle_timeout: keep.idle_timeout,
            room: Rc::clone(&opening.room),
        });
        tokio::task::spawn_local(drive(connection, Rc::downgrade(&this), keep.read_timeout));
        Ok(this)
    }

    /// Whether it takes another request now.
    pub(super) fn has_room(&self) -> bool {
        self.is_open() && self.streams.get() < self.sender.current_max_send_streams().min(STREAMS_MAX)
    }

    /// Streams at a time that the service takes, once it said so.
    pub(super) fn takes(&self) -> Option<usize> {
        self.was_answered.get().then(|| self.sender.current_max_send_streams())
    }

    /// Whether it takes requests at all.
    pub(super) fn is_open(&self) -> bool {
        !self.is_leaving.get() && !self.heard.is_over.get()
    }

    /// Whether it has had nothing to do for longer than it is kept.
    pub(super) fn is_idle(&self) -> bool {
        self.streams.get() == 0 && self.idle_since.get().elapsed() >= self.idle_timeout
    }

    /// Hears what the service says of the connection as a whole, though no request ends with it.
    fn hear(&self) {
        if !self.is_leaving.get() && self.heard.tally.borrow().is_leaving() {
            self.leave();
        }
        let takes = self.sender.current_max_send_streams();
        if takes > self.took.replace(takes) {
            self.room.notify_waiters();
        }
    }

    /// Takes no further requests.
    fn leave(&self) {
        self.is_leaving.set(true);
        self.room.notify_waiters();
    }

    /// Sends a request and reads the head of its answer. Its body goes on being sent while that of the answer is read.
    ///
    /// # Errors
    /// There is no answer.
    ///
    /// # Cancel safety
    /// The request is taken back.
    pub(crate) async fn ask(
        self: Rc<Self>,
        request: Request<()>,
        body: Upload,
    ) -> Result<(Response<()>, Answer), Failed> {
        let number = self.streams.get() + 1;
        self.streams.set(number);
        let place = Place(Rc::clone(&self));
        let mut sender = self.sender.clone();
        let untouched = |error| {
            self.leave();
            Failed { why: Error::Ended(io::Error::other(error)), is_untouched: true }
        };
        poll_fn(|cx| sender.poll_ready(cx)).await.map_err(untouched)?;
        let is_whole = body.is_end_stream();
        let (mut answering, stream) = sender.send_request(request, is_whole).map_err(untouched)?;
        let mut pump = (!is_whole).then(|| Pump::new(stream, body));
        let response = self.head(&mut answering, &mut pump, number).await?;
        self.was_answered.set(true);
        let (head, stream) = response.into_parts();
        if head.headers.len() > HEADERS_MAX {
            return Err(Error::Protocol("its head has more than 128 lines".into()).into());
        }
        let length = match said(&head.headers) {
            Ok(Some(Length::Known(length))) => Some(length),
            Ok(None) => None,
            Ok(Some(Length::Chunked)) => {
                return Err(Error::Protocol("it says transfer-encoding".into()).into());
            }
            Err(rule) => return Err(Error::Protocol(rule.text().into()).into()),
        };
        Ok((Response::from_parts(head, ()), Answer::new(stream, pump, length, place)))
    }

    async fn head(
        &self,
        answering: &mut ResponseFuture,
        pump: &mut Option<Pump>,
        number: usize,
    ) -> Result<Response<h2::RecvStream>, Failed> {
        let mut interim = 0;
        let mut answering = pin!(answering);
        poll_fn(|cx| {
            match pump.as_mut().map(|pump| pump.poll(cx)) {
                Some(Poll::Ready(Ok(()) | Err(Stopped::Refused))) => *pump = None,
                Some(Poll::Ready(Err(Stopped::Body))) => return Poll::Ready(Err(Error::Body.into())),
                Some(Poll::Pending) | None => {}
            }
            while let Poll::Ready(Some(Ok(_))) = answering.poll_informational(cx) {
                interim += 1;
                if interim > INTERIM_MAX {
                    let why = Error::Protocol("too many interim answers".into());
                    return Poll::Ready(Err(why.into()));
                }
            }
            answering.as_mut().poll(cx).map_err(|error| self.failed(error, number))
        })
        .await
    }

    /// What an error says about the request, and about the connection.
    fn failed(&self, error: h2::Error, number: usize) -> Failed {
        let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        // Once the connection is over, requests that were looked at get this error too.
        let is_above_last = error.is_go_away() && !self.heard.is_over.get();
        if error.is_go_away() || error.is_io() || self.heard.is_over.get() {
            self.leave();
        }
        // Sent before the service had said how many it takes at a time: now that this is known, there is room or the request waits.
        let is_one_too_many = is_refused && number > self.sender.current_max_send_streams();
        let is_untouched = error.is_remote() && (is_above_last || is_one_too_many);
        let refused = self.heard.refused.get().filter(|_| !self.was_answered.get());
        let why = if let Some(failure) = refused {
            Error::Handshake(failure)
        } else if is_refused && error.is_remote() {
            // Room for it is the service's to make: to ask again at once would be to insist.
            Error::Refused
        } else if error.is_library() {
            Error::Protocol(error.to_string())
        } else {
            Error::Ended(io::Error::other(error))
        };
        Failed { why, is_untouched }
    }
}

fn options(takes: Option<usize>) -> client::Builder {
    let mut options = client::Builder::new();
    options
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_max_send_streams(takes.map_or(STREAMS_MAX, |takes| takes.max(1)))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_local_error_reset_streams(Some(ERRORS_MAX));
    options
}

/// Moves a connection until it ends, or costs more than it answers, or is found dead.
async fn drive(
    mut connection: client::Connection<Wire>,
    of: std::rc::Weak<Connection>,
    read_timeout: Duration,
) {
    let Some(heard) = of.upgrade().map(|of| Rc::clone(&of.heard)) else { return };
    let silent_max = SILENT_MAX.min(read_timeout / 4);
    let pong_within = PONG_WITHIN.min(read_timeout / 4);
    let mut pings = connection.ping_pong();
    let mut asked_at: Option<Instant> = None;
    let mut questions = Questions::default();
    loop {
        let moved = tokio::time::timeout(
            silent_max.min(pong_within),
            poll_fn(|cx| {
                let polled = pin!(&mut connection).poll(cx).map(|ended| ended.is_ok());
                if heard.tally.borrow().flood().is_some() {
                    return Poll::Ready(false);
                }
                if let Some(of) = of.upgrade() {
                    of.hear();
                }
                // An answer to the question comes by the same bytes as everything else.
                if let (Some(pings), true) = (&mut pings, asked_at.is_some())
                    && pings.poll_pong(cx).is_ready()
                {
                    asked_at = None;
                }
                polled
            }),
        )
        .await;
        if let Ok(is_done) = moved {
            // One that came to its end in order had no request left that the service had looked at.
            heard.is_over.set(heard.is_over.get() || !is_done);
            break;
        }
        let is_used = of.upgrade().is_some_and(|of| of.streams.get() > 0);
        let stuck = heard.tally.borrow().head_since().is_some_and(|since| since.elapsed() > read_timeout);
        if stuck || asked_at.is_some_and(|at| at.elapsed() > pong_within) {
            tracing::debug!("a connection to a service says nothing any more");
            heard.is_over.set(true);
            break;
        }
        let is_silent = heard.at.get().elapsed() >= silent_max;
        let (now, answers) = (Instant::now(), heard.tally.borrow().content());
        let is_due = is_used && is_silent && asked_at.is_none() && questions.are_welcome(answers, now);
        if let (Some(pings), true) = (&mut pings, is_due)
            && pings.send_ping(Ping::opaque()).is_ok()
        {
            asked_at = Some(now);
            questions.asked(answers, now);
        }
    }
    if let Some(of) = of.upgrade() {
        of.leave();
    }
    // Whoever still waits on it hears of its end now.
    drop(connection);
}
