//! Load in an open loop: requests start when they are due, whatever became of those before.
//!
//! A client waits for as long as it has patience, then leaves and closes its connection. It may try again, at once, as
//! clients do that nobody told better: that is what makes a storm.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

/// Longest head of an answer, and most connections that are kept.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const IDLE_MAX: usize = 4_096;
/// Requests of one load that are on their way at a time: beyond it the load is not what was asked for, and says so.
const UNDER_WAY_MAX: usize = 20_000;

/// What became of a request in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Good,
    /// 503 with `Retry-After`; of a connection over TLS also its end before the handshake's.
    Refused,
    /// Any other answer.
    Failed,
    /// Its client left.
    Late,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// Since the start of the clock.
    pub(super) due: Duration,
    /// When its last attempt began.
    pub(super) sent: Duration,
    pub(super) end: Duration,
    pub(super) fate: Fate,
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) patience: Duration,
    /// Times that it asks again.
    pub(super) retries: u32,
}

/// Clients of one gateway, over several loads.
#[derive(Clone)]
pub(super) struct Clients {
    shared: Rc<Shared>,
}

struct Shared {
    address: SocketAddr,
    client: Client,
    /// Encrypts; each request then has a connection of its own.
    tls: Option<TlsConnector>,
    start: Instant,
    idle: RefCell<Vec<TcpStream>>,
    done: RefCell<Vec<Request>>,
    tries: Cell<u64>,
}

impl Clients {
    pub(super) fn new(address: SocketAddr, client: Client) -> Self {
        Self::over(address, client, None)
    }

    /// Clients that open a connection for each request, and shake hands in full.
    pub(super) fn encrypted(address: SocketAddr, client: Client, tls: TlsConnector) -> Self {
        Self::over(address, client, Some(tls))
    }

    fn over(address: SocketAddr, client: Client, tls: Option<TlsConnector>) -> Self {
        let (idle, done, tries, start) =
            (Default::default(), Default::default(), Cell::new(0), Instant::now());
        Self { shared: Rc::new(Shared { address, client, tls, start, idle, done, tries }) }
    }

    /// The time on the clock of all its requests.
    pub(super) fn now(&self) -> Duration {
        self.shared.start.elapsed()
    }

    /// `rate` requests a second for `time`, at random distances; `message` makes each. Gives the requests that have ended since the
    /// last call, once those of this load have.
    ///
    /// # Errors
    /// When requests pile up here, so that the load is not the one that was asked for.
    pub(super) async fn load(
        &self,
        rate: f64,
        time: Duration,
        mut message: impl FnMut(u64) -> Rc<[u8]>,
    ) -> Result<(), String> {
        let until = self.now() + time;
        let (mut due, mut number) = (self.now(), 0);
        let mut under_way = JoinSet::new();
        loop {
            due += Duration::from_secs_f64(-(1.0 - fastrand::f64()).ln() / rate);
            if due >= until {
                break;
            }
            if due > self.now() {
                tokio::time::sleep_until(self.shared.start + due).await;
            }
            while under_way.try_join_next().is_some() {}
            if under_way.len() > UNDER_WAY_MAX {
                return Err(format!("{UNDER_WAY_MAX} requests are under way"));
            }
            let (shared, message) = (Rc::clone(&self.shared), message(number));
            under_way.spawn_local(async move { shared.request(due, &message).await });
            number += 1;
        }
        tokio::time::sleep_until(self.shared.start + until).await;
        while under_way.join_next().await.is_some() {}
        Ok(())
    }

    /// So many requests at a time for `time`, each client asking again once it is answered.
    pub(super) async fn closed(&self, clients: usize, time: Duration, message: impl Fn() -> Rc<[u8]>) {
        let until = self.now() + time;
        let one = async || {
            while self.now() < until {
                self.shared.request(self.now(), &message()).await;
            }
        };
        futures_util::future::join_all((0..clients).map(|_| one())).await;
    }

    /// How often something was asked, first and again.
    pub(super) fn tries(&self) -> u64 {
        self.shared.tries.get()
    }

    /// All requests that have ended.
    pub(super) fn take(&self) -> Vec<Request> {
        self.shared.done.take()
    }
}

impl Shared {
    async fn request(&self, due: Duration, message: &[u8]) {
        let mut again = self.client.retries;
        loop {
            let sent = self.start.elapsed();
            self.tries.set(self.tries.get() + 1);
            let fate = tokio::time::timeout(self.client.patience, self.exchange(message)).await;
            let fate = fate.unwrap_or(Ok(Fate::Late)).unwrap_or(Fate::Failed);
            if fate == Fate::Good || again == 0 {
                self.done.borrow_mut().push(Request { due, sent, end: self.start.elapsed(), fate });
                return;
            }
            again -= 1;
        }
    }

    async fn exchange(&self, message: &[u8]) -> std::io::Result<Fate> {
        if let Some(tls) = &self.tls {
            return self.exchange_encrypted(tls, message).await;
        }
        let idle = self.idle.borrow_mut().pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => TcpStream::connect(self.address).await?,
        };
        stream.set_nodelay(true)?;
        let head = converse(&mut stream, message).await?;
        if !head.closes && self.idle.borrow().len() < IDLE_MAX {
            self.idle.borrow_mut().push(stream);
        }
        Ok(head.fate)
    }

    async fn exchange_encrypted(&self, tls: &TlsConnector, message: &[u8]) -> std::io::Result<Fate> {
        let shaken = async {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            tls.connect(ServerName::from(self.address.ip()), stream).await
        };
        let Ok(mut stream) = shaken.await else { return Ok(Fate::Refused) };
        Ok(converse(&mut stream, message).await?.fate)
    }
}

/// One request and the whole answer.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    message: &[u8],
) -> std::io::Result<Head> {
    stream.write_all(message).await?;
    let mut answer = Vec::with_capacity(2_048);
    let head = loop {
        if answer.len() > HEAD_BYTES_MAX || stream.read_buf(&mut answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(head) = Head::read(&answer) {
            break head;
        }
    };
    while answer.len() < head.bytes {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

struct Head {
    fate: Fate,
    closes: bool,
    /// Of the whole answer.
    bytes: usize,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = response.parse(bytes).ok()? else { return None };
        let header = |name: &str| {
            let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.and_then(|header| std::str::from_utf8(header.value).ok())
        };
        let body: usize = header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        let fate = match response.code? {
            200 => Fate::Good,
            503 if header("retry-after").is_some() => Fate::Refused,
            _ => Fate::Failed,
        };
        let closes = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Some(Self { fate, closes, bytes: head + body })
    }
}

/// The requests that were due, or ended, within a time.
#[derive(Clone, Debug)]
pub(super) struct Seen(Vec<Request>);

impl Seen {
    pub(super) fn due(requests: &[Request], from: Duration, until: Duration) -> Self {
        Self(requests.iter().filter(|it| (from..until).contains(&it.due)).copied().collect())
    }

    /// Those whose last attempt began within a time.
    pub(super) fn sent(requests: &[Request], from: Duration, until: Duration) -> Self {
        Self(requests.iter().filter(|it| (from..until).contains(&it.sent)).copied().collect())
    }

    pub(super) fn ended(requests: &[Request], from: Duration, until: Duration) -> Self {
        Self(requests.iter().filter(|it| (from..until).contains(&it.end)).copied().collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn count(&self, fate: Fate) -> usize {
        self.0.iter().filter(|it| it.fate == fate).count()
    }

    /// The share of a fate among all; none of none.
    #[allow(clippy::cast_precision_loss, reason = "a few hundred thousand")]
    pub(super) fn share(&self, fate: Fate) -> f64 {
        self.count(fate) as f64 / self.0.len().max(1) as f64
    }

    /// The share that had no good answer within `longest` of when it was due.
    #[allow(clippy::cast_precision_loss, reason = "a few hundred thousand")]
    pub(super) fn share_later_than(&self, longest: Duration) -> f64 {
        let late = |it: &&Request| it.fate != Fate::Good || it.end.saturating_sub(it.due) > longest;
        self.0.iter().filter(late).count() as f64 / self.0.len().max(1) as f64
    }

    /// The time that the 99th of a hundred of them took since it was sent, in milliseconds.
    pub(super) fn p99_ms(&self, fate: Fate) -> f64 {
        let mut times: Vec<Duration> =
            self.0.iter().filter(|it| it.fate == fate).map(|it| it.end.saturating_sub(it.sent)).collect();
        times.sort_unstable();
        times.get(times.len() * 99 / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}
