//! The data plane: one thread and one runtime a core, and an acceptor that hands each new connection to the core with
//! the least to do.
//!
//! With a shared listener or `SO_REUSEPORT` the kernel spreads connections by hash, and a few long-lived busy ones may
//! all sit on one core. One acceptor that knows how busy each core is costs a hand-over a connection, which keep-alive
//! makes rare, and nothing a request.

mod accept;
mod begin;
mod choose;
mod connection;
mod core;
pub(crate) mod current;
mod drain;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use leeward_resilience::Instant;
use leeward_runtime::{Stage, Tasks};
use tokio::sync::mpsc;

use crate::config::{Config, Protocols};
use crate::decisions::Asked;
use crate::published::Published;
use crate::tls;

/// Connections handed to a core that it has not taken yet. It takes them as fast as it polls; beyond this it hangs.
const HANDED_MAX: usize = 1_024;
/// Connections that the kernel may hold for the acceptor.
const BACKLOG: i32 = 4_096;

/// What others know of a core.
#[derive(Default, Debug)]
pub(crate) struct Load {
    connections: AtomicUsize,
    requests: AtomicU64,
    /// What its work waits for its turn, lately.
    delay_us: AtomicU64,
    is_behind: AtomicBool,
    /// Whether that is longer than a new connection over TLS may wait.
    is_full: AtomicBool,
}

impl Load {
    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn keeps_up(&self, delay: Duration, is_behind: bool, is_full: bool) {
        self.delay_us.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.is_behind.store(is_behind, Ordering::Relaxed);
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    pub(crate) fn delay_us(&self) -> u64 {
        self.delay_us.load(Ordering::Relaxed)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }
}

/// A connection on its way from the acceptor to a core.
#[derive(Debug)]
struct Handed {
    stream: TcpStream,
    peer: SocketAddr,
    entry: Arc<Entry>,
    /// When it was taken in.
    at: Instant,
}

/// How connections to an address begin.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) tls: Option<Arc<tls::Server>>,
    pub(crate) protocols: Protocols,
}

/// An address that clients connect to.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) listener: Arc<TcpListener>,
    pub(crate) entry: Arc<Entry>,
}

/// A core as the acceptor sees it.
#[derive(Debug)]
struct Seat {
    queue: mpsc::Sender<Handed>,
    load: Arc<Load>,
}

/// Takes an address. Nobody can connect yet.
///
/// # Errors
/// When the address is taken or not this machine's.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Lets clients connect.
///
/// # Errors
/// When another socket listens on the address already.
pub(crate) fn listen(socket: socket2::Socket) -> std::io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// How many cores carry requests.
pub(crate) fn cores(config: &Config) -> usize {
    let cores = config.cores.or_else(|| std::thread::available_parallelism().ok());
    cores.map_or(1, std::num::NonZeroUsize::get)
}

/// Starts a core for each end of `asked`, and the acceptor. They stop in the first stage, and hold it until the requests on their way are
/// answered, so that the services behind are still there for them.
///
/// # Errors
/// When a thread or a runtime cannot be made.
pub(crate) fn start(
    published: &Published,
    doors: Vec<Door>,
    asked: Vec<Asked>,
    tasks: &Tasks,
) -> std::io::Result<Vec<Arc<Load>>> {
    let mut seats = Vec::with_capacity(asked.len());
    for (number, asked) in asked.into_iter().enumerate() {
        let (queue, handed) = mpsc::channel(HANDED_MAX);
        let load = Arc::new(Load::default());
        let hold = tasks.hold(Stage::Edge, format!("gateway.core-{number}"));
        core::start(number, published, Arc::clone(&load), (handed, asked), hold)?;
        seats.push(Seat { queue, load });
    }
    let loads: Vec<Arc<Load>> = seats.iter().map(|seat| Arc::clone(&seat.load)).collect();
    published.current().traffic.has_cores(&loads);
    accept::start(published.clone(), doors, seats, tasks.hold(Stage::Edge, "gateway.accept"))?;
    Ok(loads)
}
