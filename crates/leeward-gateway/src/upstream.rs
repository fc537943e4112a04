//! Connections to services: one small pool a core, so that no connection and no lock is shared between cores.
//!
//! An idle connection is kept for less time than the service keeps it, so that the two sides seldom close it at the
//! same moment as a request is sent. Where it happens all the same, a request that was never written is sent again on a
//! new connection whatever its method, and one that was written is repeated once if it is safe to.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use leeward_discovery::Endpoint;
use leeward_resilience::{Clock, Instant};
use tokio::net::TcpStream;

use crate::body::Upload;
use crate::h1::{self, Rule};

/// Most header lines of an answer.
const ANSWER_HEADERS_MAX: usize = 128;
/// Largest answer head, in bytes.
const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long an idle connection may take to be ready.
const READY_WITHIN: Duration = Duration::from_millis(5);
/// Endpoints with idle connections: entries of endpoints that are gone are dropped when the table is full.
const ENDPOINTS_MAX: usize = 1_024;

/// How connections to one service are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) idle_max: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nothing was sent: the connection did not come about.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// The service closed the connection before it answered. It may have acted.
    #[error("the connection ended before an answer: {0}")]
    Ended(hyper::Error),
    /// The client's body could not be read to its end.
    #[error("the request body ended early")]
    Body,
    /// What came back is not HTTP.
    #[error("the answer is not HTTP: {0}")]
    Answer(hyper::Error),
    /// What came back says its length in a way that others may read otherwise.
    #[error("the answer's length: {}", .0.text())]
    Length(Rule),
}

struct Idle {
    sender: SendRequest<Upload>,
    since: Instant,
}

/// The idle connections of one core.
pub(crate) struct Pool {
    idle: RefCell<HashMap<Box<str>, Vec<Idle>>>,
    clock: std::sync::Arc<dyn Clock>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("endpoints", &self.idle.borrow().len()).finish_non_exhaustive()
    }
}

/// A connection in use. Dropped before its answer is complete, it is closed.
pub(crate) struct Lease {
    sender: SendRequest<Upload>,
    pool: Rc<Pool>,
    authority: Box<str>,
    keep: Keep,
    reused: bool,
}

impl Lease {
    /// Whether the connection takes a request. One that just came back is a turn of its task away from it; one whose
    /// last request is still being uploaded, since the answer came early, may take for ever.
    async fn is_usable(&mut self) -> bool {
        if self.sender.is_ready() || !self.reused {
            return true;
        }
        matches!(tokio::time::timeout(READY_WITHIN, self.sender.ready()).await, Ok(Ok(())))
    }

    /// Returns the connection: its answer was read to the end.
    pub(crate) fn give_back(self) {
        let Self { sender, pool, authority, keep, .. } = self;
        if keep.idle_max == 0 || sender.is_closed() {
            return;
        }
        let since = pool.clock.now();
        let mut idle = pool.idle.borrow_mut();
        if idle.len() >= ENDPOINTS_MAX && !idle.contains_key(&authority) {
            idle.retain(|_, connections| {
                connections.iter().any(|one| since.saturating_duration_since(one.since) < keep.idle_timeout)
            });
        }
        let connections = idle.entry(authority).or_default();
        if connections.len() >= keep.idle_max {
            // The oldest goes: it is the next to be closed by the other side.
            connections.remove(0);
        }
        connections.push(Idle { sender, since });
    }
}

/// How a request is sent again, if it may be.
pub(crate) trait Source {
    /// The request, once more.
    fn make(&self) -> Option<Request<Upload>>;
    /// Whether a repetition does no harm.
    fn is_safe(&self) -> bool;
}

impl Pool {
    pub(crate) fn new(clock: std::sync::Arc<dyn Clock>) -> Rc<Self> {
        Rc::new(Self { idle: RefCell::default(), clock })
    }

    /// Sends the request to an endpoint, over an idle connection if there is one.
    pub(crate) async fn send(
        self: &Rc<Self>,
        endpoint: &Endpoint,
        keep: Keep,
        source: &impl Source,
    ) -> Result<(Response<Incoming>, Lease), Error> {
        let mut request = source.make().ok_or(Error::Body)?;
        let mut lease = match self.take(endpoint.authority(), keep) {
            Some(lease) => lease,
            None => self.connect(endpoint, keep).await?,
        };
        // Two rounds: a reused connection may turn out to be closed, a new one not for that reason.
        loop {
            if !lease.is_usable().await {
                lease = self.connect(endpoint, keep).await?;
            }
            let mut failed = match lease.sender.try_send_request(request).await {
                // The library decides what such an answer means; somebody between here and the service may decide otherwise.
                Ok(response) => {
                    return match h1::said(response.headers()) {
                        Ok(_) => Ok((response, lease)),
                        Err(rule) => Err(Error::Length(rule)),
                    };
                }
                Err(failed) => failed,
            };
            let unsent = failed.take_message();
            let error = failed.into_error();
            if !lease.reused {
                return Err(classify(error));
            }
            let again = match unsent {
                Some(request) => Some(request),
                None if source.is_safe() && !error.is_parse() && !error.is_user() => source.make(),
                None => None,
            };
            request = again.ok_or_else(|| classify(error))?;
            lease = self.connect(endpoint, keep).await?;
        }
    }

    /// The connection used last: it is the warmest, and the others may reach their end.
    fn take(self: &Rc<Self>, authority: &str, keep: Keep) -> Option<Lease> {
        let now = self.clock.now();
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(authority)?;
        while let Some(Idle { sender, since }) = connections.pop() {
            if now.saturating_duration_since(since) >= keep.idle_timeout {
                // The ones below it are older still.
                connections.clear();
                return None;
            }
            if !sender.is_closed() {
                return Some(Lease {
                    sender,
                    pool: Rc::clone(self),
                    authority: authority.into(),
                    keep,
                    reused: true,
                });
            }
        }
        None
    }

    async fn connect(self: &Rc<Self>, endpoint: &Endpoint, keep: Keep) -> Result<Lease, Error> {
        let authority = endpoint.authority();
        let opened = tokio::time::timeout(keep.connect_timeout, open(endpoint)).await;
        let stream =
            opened.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(Error::Connect)?;
        let mut options = http1::Builder::new();
        options.max_headers(ANSWER_HEADERS_MAX).max_header_size(ANSWER_HEAD_BYTES_MAX);
        let (sender, connection) = options.handshake(TokioIo::new(stream)).await.map_err(Error::Ended)?;
        // Ends when the sender is dropped or the other side closes; belongs to this core's runtime.
        tokio::task::spawn_local(connection);
        Ok(Lease { sender, pool: Rc::clone(self), authority: authority.into(), keep, reused: false })
    }

    /// Closes every idle connection.
    pub(crate) fn close(&self) {
        self.idle.borrow_mut().clear();
    }
}

async fn open(endpoint: &Endpoint) -> std::io::Result<TcpStream> {
    let url = endpoint.url();
    let host = url.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let stream = TcpStream::connect((host, url.port_u16().unwrap_or(80))).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn classify(error: hyper::Error) -> Error {
    if error.is_parse() {
        Error::Answer(error)
    } else if error.is_user() {
        Error::Body
    } else {
        Error::Ended(error)
    }
}
