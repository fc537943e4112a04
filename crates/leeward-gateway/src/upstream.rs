//! Connections to services: one small pool a core, so that no connection and no lock is shared between cores.
//!
//! An idle connection is kept for less time than the service keeps it, so that the two sides seldom close it at the
//! same moment as a request is sent. Where it happens all the same, a request that was never written is sent again on a
//! new connection whatever its method, and one that was written is repeated once if it is safe to.

mod connect;
mod stream;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use leeward_discovery::Endpoint;
use leeward_resilience::{Clock, Instant};
use rustls::ClientConfig;

pub(crate) use self::connect::connect;
pub(crate) use self::stream::Stream;
use crate::body::Upload;
use crate::h1::{self, Asking, Failed, Failure, Link};
use crate::tls::{self, Outward};

/// Endpoints with idle connections: entries of endpoints that are gone are dropped when the table is full.
const ENDPOINTS_MAX: usize = 1_024;
/// How often idle connections are looked at: those that the service closed, or that are too old, are let go.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The body of a service's answer.
pub(crate) type Answer = h1::Answer<Upload>;

/// How connections to one service are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) idle_max: usize,
}

/// How one service is reached.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) keep: Keep,
    /// For endpoints that are `https://`.
    pub(crate) tls: Option<Arc<Outward>>,
}

impl Way {
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
    /// The service closed the connection before it answered. It may have acted.
    #[error("the connection ended before an answer: {0}")]
    Ended(std::io::Error),
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

struct Idle {
    link: Link,
    /// The TLS that it began with: who is believed under another one, and what was presented, is not known here.
    under: Option<Arc<ClientConfig>>,
    since: Instant,
    idle_timeout: Duration,
}

impl Idle {
    fn is_good(&mut self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < self.idle_timeout && self.link.is_open()
    }

    fn is_under(&self, wanted: Option<&Arc<ClientConfig>>) -> bool {
        match (&self.under, wanted) {
            (None, None) => true,
            (Some(own), Some(wanted)) => Arc::ptr_eq(own, wanted),
            _ => false,
        }
    }
}

/// Idle connections by where they lead to, which no client can choose. Ids of endpoints are unique within one service only.
type Table = HashMap<Box<str>, Vec<Idle>, foldhash::fast::RandomState>;

/// The idle connections of one core.
pub(crate) struct Pool {
    idle: RefCell<Table>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("endpoints", &self.idle.borrow().len()).finish_non_exhaustive()
    }
}

/// Where a connection goes when its answer was read to the end. Until then it belongs to the answer, and is closed with it.
pub(crate) struct Lease {
    pool: Rc<Pool>,
    authority: Box<str>,
    under: Option<Arc<ClientConfig>>,
    keep: Keep,
}

impl Lease {
    /// Returns the connection, if it takes another request.
    pub(crate) fn give_back(self, answer: Answer) {
        let Self { pool, authority, under, keep } = self;
        if keep.idle_max == 0 {
            return;
        }
        let Some(link) = answer.into_link() else { return };
        let now = pool.clock.now();
        let mut idle = pool.idle.borrow_mut();
        if idle.len() >= ENDPOINTS_MAX && !idle.contains_key(&authority) {
            sweep(&mut idle, now);
        }
        let connections = idle.entry(authority).or_default();
        if connections.len() >= keep.idle_max {
            // The oldest goes: it is the next to be closed by the other side.
            connections.remove(0);
        }
        connections.push(Idle { link, under, since: now, idle_timeout: keep.idle_timeout });
    }
}

/// How a request is sent again, if it may be.
pub(crate) trait Source {
    /// The request, once more.
    fn make(&self) -> Option<Box<Asking<Upload>>>;
    /// Whether a repetition does no harm.
    fn is_safe(&self) -> bool;
}

impl Pool {
    /// An empty pool. It belongs to the runtime of its core.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Rc<Self> {
        let pool = Rc::new(Self { idle: RefCell::default(), clock });
        tokio::task::spawn_local(keep_clean(Rc::downgrade(&pool)));
        pool
    }

    /// Sends the request to an endpoint, over an idle connection if there is one.
    pub(crate) async fn send(
        self: &Rc<Self>,
        endpoint: &Endpoint,
        way: &Way,
        source: &impl Source,
    ) -> Result<(Response<Answer>, Lease), Error> {
        let mut asking = source.make().ok_or(Error::Body)?;
        let mut under = way.under(endpoint);
        let mut reused = self.take(endpoint.authority(), under.as_ref());
        // Two rounds: a reused connection may turn out to be closed, a new one not for that reason.
        loop {
            let is_reused = reused.is_some();
            let link = match reused.take() {
                Some(link) => link,
                None => {
                    let opened = connect(endpoint, way.tls.as_deref(), way.keep.connect_timeout).await?;
                    under = opened.under;
                    Link::new(opened.stream)
                }
            };
            let failed = match link.ask(asking).await {
                Ok((head, answer)) => {
                    let (pool, authority) = (Rc::clone(self), endpoint.authority().into());
                    let lease = Lease { pool, authority, under, keep: way.keep };
                    return Ok((head.map(|()| answer), lease));
                }
                Err(failed) => *failed,
            };
            let Failed { why, unsent, is_answered } = failed;
            let is_ended = matches!(why, Failure::Ended(_)) && !is_answered;
            if is_ended && let Some(refused) = not_taken(way, endpoint, &why) {
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
    fn take(&self, authority: &str, under: Option<&Arc<ClientConfig>>) -> Option<Link> {
        let now = self.clock.now();
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(authority)?;
        while let Some(last) = connections.iter().rposition(|one| one.is_under(under)) {
            let mut one = connections.remove(last);
            if one.is_good(now) {
                return Some(one.link);
            }
        }
        None
    }

    /// Closes every idle connection.
    pub(crate) fn close(&self) {
        self.idle.borrow_mut().clear();
    }
}

fn sweep(idle: &mut Table, now: Instant) {
    idle.retain(|_, connections| {
        connections.retain_mut(|one| one.is_good(now));
        !connections.is_empty()
    });
}

/// Lets idle connections go that are of no use any more, as long as there is a pool.
async fn keep_clean(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        sweep(&mut pool.idle.borrow_mut(), pool.clock.now());
    }
}

/// Whether the service ended the handshake for the certificate that it was shown, which it may say late.
fn not_taken(way: &Way, endpoint: &Endpoint, why: &Failure) -> Option<Error> {
    let (Failure::Ended(error), Some(tls)) = (why, &way.tls) else { return None };
    let failure = tls::Failure::after(error)?;
    tls.failed(failure, endpoint);
    Some(Error::Handshake(failure))
}
