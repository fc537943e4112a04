//! Connections to services: one small pool a core, so that no connection and no lock is shared between cores.
//!
//! An idle connection is kept for less time than the service keeps it, so that the two sides seldom close it at the
//! same moment as a request is sent. Where it happens all the same, a request that was never written is sent again on a
//! new connection whatever its method, and one that was written is repeated once if it is safe to.

mod connect;
mod http2;
mod idle;
mod stream;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use leeward_discovery::{Endpoint, Picked};
use leeward_resilience::{Clock, Instant};
use rustls::ClientConfig;

pub(crate) use self::connect::{Opened, connect};
use self::http2::{Connection, Next, Table as Multiplexed};
use self::idle::{Idle, Idles};
pub(crate) use self::stream::{Look, Stream};
use crate::body::Upload;
use crate::config::Protocol;
use crate::h1::{self, AnswerError, Asking, Came, Failed, Failure, Link};
use crate::tls::{self, Outward};

/// How often idle connections are looked at: those that the service closed, or that are too old, are let go.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The body of a service's answer.
pub(crate) enum Answer {
    /// Over HTTP/1.1.
    One(h1::Answer<Upload>),
    /// Over HTTP/2.
    Many(Box<http2::Answer>),
}

impl Answer {
    /// The header lines, if they are not in a table.
    fn came(&self) -> Option<&Came> {
        match self {
            Self::One(answer) => answer.came(),
            Self::Many(_) => None,
        }
    }

    /// Takes the header lines, if they are not in a table.
    pub(crate) fn take_came(&mut self) -> Option<Came> {
        match self {
            Self::One(answer) => answer.take_came(),
            Self::Many(_) => None,
        }
    }

    /// The connection, which speaks HTTP no more, and what came in on it already; `None` over HTTP/2.
    pub(crate) fn into_stream(self) -> Option<(Stream, BytesMut)> {
        match self {
            Self::One(answer) => Some(answer.into_stream()),
            Self::Many(_) => None,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match &mut *self {
            Self::One(answer) => Pin::new(answer).poll_frame(cx),
            Self::Many(answer) => Pin::new(answer).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::One(answer) => answer.is_end_stream(),
            Self::Many(answer) => answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::One(answer) => answer.size_hint(),
            Self::Many(answer) => answer.size_hint(),
        }
    }
}

/// Connections that turn out to be of no use for one request, before it is given up.
const ROUNDS_MAX: usize = 3;

/// How connections to one service are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) read_timeout: Duration,
    pub(crate) idle_max: usize,
}

/// How one service is reached.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) keep: Keep,
    /// For endpoints that are `https://`.
    pub(crate) tls: Option<Arc<Outward>>,
    pub(crate) protocol: Protocol,
}

impl Way {
    fn may_be_http2(&self, endpoint: &Endpoint) -> bool {
        match self.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => endpoint.is_encrypted(),
        }
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Opened, Error> {
        connect(endpoint, self.tls.as_deref(), self.protocol, self.keep.connect_timeout).await
    }

    /// What a connection to an endpoint must have begun with.
    fn under(&self, endpoint: &Endpoint) -> Option<Arc<ClientConfig>> {
        let tls = self.tls.as_ref().filter(|_| endpoint.is_encrypted());
        tls.map(|tls| tls.in_force())
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nothing was sent: the connection did not come about.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// Nothing was executed: the two sides did not come to terms.
    #[error("no connection over TLS: {}", .0.as_str())]
    Handshake(tls::Failure),
    /// The service says that it has not looked at the request.
    #[error("the service refused the request unread")]
    Refused,
    /// The service closed the connection before it answered. It may have acted.
    #[error("the connection ended before an answer: {0}")]
    Ended(std::io::Error),
    /// What came back breaks a rule of HTTP/2.
    #[error("the answer is not HTTP/2: {0}")]
    Protocol(String),
    /// The client's body could not be read to its end.
    #[error("the request body ended early")]
    Body,
    /// What came back is not HTTP, or says its length in a way that others may read otherwise.
    #[error("the answer is not HTTP: {0}")]
    Answer(h1::NoAnswer),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Ended(error) => Self::Ended(error),
            Failure::Body => Self::Body,
            Failure::Answer(wrong) => Self::Answer(wrong),
        }
    }
}

/// The idle connections of one core.
pub(crate) struct Pool {
    idle: RefCell<Idles>,
    many: Multiplexed,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("idle", &self.idle.borrow()).finish_non_exhaustive()
    }
}

/// Where a connection goes when its answer was read to the end. Until then it belongs to the answer, and is closed with it.
pub(crate) struct Lease {
    pool: Rc<Pool>,
    under: Option<Arc<ClientConfig>>,
    keep: Keep,
}

/// The head of an answer, and what its body is read from. In a box, since it is handed up through every policy.
pub(crate) struct Got {
    /// Over HTTP/1.1 without its headers, until they are put [into the table](Got::table).
    pub(crate) response: Response<Answer>,
    pub(crate) lease: Lease,
    /// The endpoint of a call of gRPC whose end is still to come.
    pub(crate) picked: Option<Picked>,
}

impl std::fmt::Debug for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Got").field("status", &self.response.status()).finish_non_exhaustive()
    }
}

impl Got {
    /// The headers, in a table from here on.
    pub(crate) fn table(&mut self) -> &HeaderMap {
        if let Some(came) = self.response.body_mut().take_came() {
            *self.response.headers_mut() = came.table();
        }
        self.response.headers()
    }

    /// The first value of a header, wherever it stands.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&[u8]> {
        match self.response.body().came() {
            Some(came) => came.get(name),
            None => self.response.headers().get(name).map(HeaderValue::as_bytes),
        }
    }
}

impl Lease {
    /// Returns the connection, if it takes another request.
    pub(crate) fn give_back(self, answer: Answer) {
        let Self { pool, under, keep } = self;
        if keep.idle_max == 0 {
            return;
        }
        // A stream of many has nothing to give back: its connection never left.
        let Answer::One(answer) = answer else { return };
        let Some(link) = answer.into_link() else { return };
        let now = pool.clock.now();
        let one = Idle { link, under, since: now, idle_timeout: keep.idle_timeout };
        pool.idle.borrow_mut().put(one, keep.idle_max);
    }
}

/// A connection as it came about.
enum Shared {
    Many(Rc<Connection>),
    One(Link, Option<Arc<ClientConfig>>),
}

/// How a request is sent again, if it may be.
pub(crate) trait Source {
    /// The request, once more.
    fn make(&self) -> Option<Box<Asking<Upload>>>;
    /// The same over HTTP/2.
    fn make_http2(&self, is_encrypted: bool) -> Option<(Request<()>, Upload)>;
    /// Whether a repetition does no harm.
    fn is_safe(&self) -> bool;
    /// When it is sent.
    fn now(&self) -> Instant;
}

impl Pool {
    /// An empty pool. It belongs to the runtime of its core.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Rc<Self> {
        let pool = Rc::new(Self { idle: RefCell::default(), many: Multiplexed::default(), clock });
        tokio::task::spawn_local(keep_clean(Rc::downgrade(&pool)));
        pool
    }

    /// Sends the request to an endpoint, over an idle connection if there is one.
    pub(crate) async fn send(
        self: &Rc<Self>,
        endpoint: &Endpoint,
        way: &Way,
        source: &impl Source,
    ) -> Result<Box<Got>, Error> {
        if way.may_be_http2(endpoint) {
            // The rare ways in boxes, so that the usual one stays small: it is moved into one itself.
            return Box::pin(self.send_either(endpoint, way, source)).await;
        }
        let under = way.under(endpoint);
        let first = self.take(endpoint.authority(), under.as_ref(), source).map(|link| (link, true));
        self.send_http1((endpoint, way), source, under, first).await
    }

    /// Sends it over whichever kind of connection there is, or comes about.
    async fn send_either(
        self: &Rc<Self>,
        endpoint: &Endpoint,
        way: &Way,
        source: &impl Source,
    ) -> Result<Box<Got>, Error> {
        let mut why = Error::Body;
        for _ in 0..ROUNDS_MAX {
            let under = way.under(endpoint);
            if let Some(link) = self.take(endpoint.authority(), under.as_ref(), source) {
                return self.send_http1((endpoint, way), source, under, Some((link, true))).await;
            }
            let connection = match self.shared(endpoint, way).await? {
                Shared::Many(connection) => connection,
                Shared::One(link, under) => {
                    return self.send_http1((endpoint, way), source, under, Some((link, false))).await;
                }
            };
            let Some((request, body)) = source.make_http2(endpoint.is_encrypted()) else { return Err(why) };
            match connection.ask(request, body).await {
                Ok((head, answer)) => {
                    let lease = Lease { pool: Rc::clone(self), under, keep: way.keep };
                    let response = head.map(|()| Answer::Many(Box::new(answer)));
                    return Ok(Box::new(Got { response, lease, picked: None }));
                }
                Err(failed) => {
                    if let (Error::Handshake(failure), Some(tls)) = (&failed.why, &way.tls) {
                        tls.failed(*failure, endpoint);
                    }
                    why = failed.why;
                    if !failed.is_untouched {
                        return Err(why);
                    }
                }
            }
        }
        // Several took none of it: whether to insist is not decided here.
        Err(if matches!(why, Error::Ended(_)) { Error::Refused } else { why })
    }

    /// Sends a request that switches its connection: one of its own, over HTTP/1.1, which nobody else has used.
    pub(crate) async fn switch(
        self: &Rc<Self>,
        endpoint: &Endpoint,
        way: &Way,
        source: &impl Source,
    ) -> Result<Box<Got>, Error> {
        let opened = connect(endpoint, way.tls.as_deref(), Protocol::Http1, way.keep.connect_timeout).await?;
        if opened.is_http2 {
            return Err(Error::Connect(std::io::Error::other("it speaks HTTP/2, where nothing is switched")));
        }
        let asking = source.make().ok_or(Error::Body)?;
        match Link::new(opened.stream, endpoint.authority()).ask(asking).await {
            Ok((head, answer)) => {
                let lease = Lease { pool: Rc::clone(self), under: opened.under, keep: way.keep };
                let response = head.map(|()| Answer::One(answer));
                Ok(Box::new(Got { response, lease, picked: None }))
            }
            Err(failed) => Err(not_taken(way, endpoint, &failed.why).unwrap_or_else(|| failed.why.into())),
        }
    }

    /// A connection with room, once there is one. Bounded by the time of the attempt, which is all that a request waits.
    async fn shared(&self, endpoint: &Endpoint, way: &Way) -> Result<Shared, Error> {
        loop {
            let under = way.under(endpoint);
            let opening = match self.many.next(endpoint.authority(), under.as_ref()) {
                Next::Ask(connection) => return Ok(Shared::Many(connection)),
                Next::Wait(room, failures) => {
                    room.notified().await;
                    if self.many.is_hopeless(endpoint.authority(), under.as_ref(), failures) {
                        return Err(Error::Connect(std::io::ErrorKind::NotConnected.into()));
                    }
                    continue;
                }
                Next::Open(opening) => opening,
            };
            let opened = way.connect(endpoint).await.inspect_err(|_| opening.failed())?;
            if !opened.is_http2 {
                opening.is_http1();
                return Ok(Shared::One(Link::new(opened.stream, endpoint.authority()), opened.under));
            }
            let begun = Connection::begin(opened, way.keep, &opening).await;
            let connection = begun.inspect_err(|_| opening.failed())?;
            opening.came_about(&connection);
            return Ok(Shared::Many(connection));
        }
    }

    async fn send_http1(
        self: &Rc<Self>,
        (endpoint, way): (&Endpoint, &Way),
        source: &impl Source,
        mut under: Option<Arc<ClientConfig>>,
        mut first: Option<(Link, bool)>,
    ) -> Result<Box<Got>, Error> {
        let mut asking = source.make().ok_or(Error::Body)?;
        // Two rounds: a reused connection may turn out to be closed, a new one not for that reason.
        loop {
            let (link, is_reused) = match first.take() {
                Some(first) => first,
                None => {
                    let opened = Box::pin(way.connect(endpoint)).await?;
                    if opened.is_http2 {
                        let changed = "it spoke HTTP/1.1 before, and HTTP/2 now";
                        return Err(Error::Connect(std::io::Error::other(changed)));
                    }
                    under = opened.under;
                    (Link::new(opened.stream, endpoint.authority()), false)
                }
            };
            let failed = match link.ask(asking).await {
                Ok((head, answer)) => {
                    let lease = Lease { pool: Rc::clone(self), under, keep: way.keep };
                    let response = head.map(|()| Answer::One(answer));
                    return Ok(Box::new(Got { response, lease, picked: None }));
                }
                Err(failed) => *failed,
            };
            let Failed { why, unsent, is_answered } = failed;
            let is_ended = matches!(why, Failure::Ended(_)) && !is_answered;
            if is_ended
                && !is_reused
                && let Some(refused) = not_taken(way, endpoint, &why)
            {
                return Err(refused);
            }
            if !is_reused || !is_ended {
                return Err(why.into());
            }
            let again = match unsent {
                Some(asking) => Some(asking),
                None if source.is_safe() => source.make(),
                None => None,
            };
            let Some(again) = again else { return Err(why.into()) };
            asking = again;
        }
    }

    /// The connection used last: it is the warmest, and the others may reach their end.
    fn take(&self, authority: &str, under: Option<&Arc<ClientConfig>>, source: &impl Source) -> Option<Link> {
        // What may be repeated is, should the connection turn out to be closed.
        let look = if source.is_safe() { Look::Last } else { Look::Now };
        self.idle.borrow_mut().take(authority, under, (source.now(), look))
    }

    /// Closes every idle connection.
    pub(crate) fn close(&self) {
        self.idle.borrow_mut().clear();
        self.many.clear();
    }
}

/// Lets idle connections go that are of no use any more, as long as there is a pool.
async fn keep_clean(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.idle.borrow_mut().sweep(pool.clock.now());
        pool.many.sweep();
    }
}

/// Whether the service ended the handshake for the certificate that it was shown, which it may say late.
fn not_taken(way: &Way, endpoint: &Endpoint, why: &Failure) -> Option<Error> {
    let (Failure::Ended(error), Some(tls)) = (why, &way.tls) else { return None };
    let failure = tls::Failure::after(error)?;
    tls.failed(failure, endpoint);
    Some(Error::Handshake(failure))
}
