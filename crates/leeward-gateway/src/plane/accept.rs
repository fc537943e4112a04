//! The acceptor: one thread that takes connections in and hands them over.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use leeward_resilience::Mode;
use leeward_runtime::Hold;
use tokio::sync::mpsc::error::TrySendError;

use super::begin::turn_away;
use super::choose::{self, Busy, Pace};
use super::{Door, Entry, Handed, Seat};
use crate::published::Published;
use crate::shared::Shared;

/// How often rates are measured, when somebody connects.
const MEASURE_EVERY: Duration = Duration::from_millis(100);
/// How much of the earlier rate a measurement keeps.
const KEEP: f64 = 0.5;
/// The pause after the process ran out of file descriptors: taking the next one at once would spin.
const BREATHE: Duration = Duration::from_millis(10);

pub(super) fn start(
    published: Published,
    doors: Vec<Door>,
    seats: Vec<Seat>,
    hold: Hold,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("leeward-accept".to_owned()).spawn(move || {
        runtime.block_on(run(&published, doors, seats, &hold));
        drop(hold);
    })?;
    Ok(())
}

/// Takes connections in at every door until the stop.
async fn run(published: &Published, doors: Vec<Door>, seats: Vec<Seat>, hold: &Hold) {
    let rates = RefCell::new(Rates::new(seats.len()));
    let watched = doors.into_iter().map(|door| watch(published, door, &seats, &rates, hold));
    futures_util::future::join_all(watched).await;
}

async fn watch(published: &Published, door: Door, seats: &[Seat], rates: &RefCell<Rates>, hold: &Hold) {
    let Door { listener, entry } = door;
    // The one that can be passed on is closed with this one.
    let listening = listener.try_clone().and_then(tokio::net::TcpListener::from_std);
    let listener = match listening {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the listener cannot be used"),
    };
    let hand_over = |(stream, peer)| {
        hand_over(&published.current(), seats, &mut rates.borrow_mut(), &entry, stream, peer);
    };
    loop {
        match hold.stop().or(listener.accept()).await {
            Some(Ok(connection)) => hand_over(connection),
            // The client gave up before it was taken, or descriptors ran out: neither ends the acceptor.
            Some(Err(error)) => {
                tracing::debug!(%error, "accept");
                published.current().metrics.accepts_failed.inc();
                tokio::time::sleep(BREATHE).await;
            }
            None => break,
        }
    }
    published.current().traffic.drain();
    // Those that the kernel has accepted already are served too.
    while let Ok(Ok(connection)) = tokio::time::timeout(Duration::ZERO, listener.accept()).await {
        hand_over(connection);
    }
}

fn hand_over(
    shared: &Shared,
    seats: &[Seat],
    rates: &mut Rates,
    entry: &Arc<Entry>,
    stream: tokio::net::TcpStream,
    peer: std::net::SocketAddr,
) {
    if shared.traffic.connections() >= shared.config.limits.connections {
        shared.metrics.connections_refused.inc();
        return;
    }
    let Ok(stream) = stream.into_std() else { return };
    let seat = &seats[choose::least(&rates.measure(seats))];
    // It is the best that there is. Cheaper here than on the core, which has too much to do.
    if entry.tls.is_some() && seat.load.is_full() {
        turn_away(&stream);
        shared.metrics.overload.connections.with([Mode::Enforced.as_str()]).inc();
        return;
    }
    // Counted here, so that the next choice sees it before the core does.
    seat.load.connections.fetch_add(1, Ordering::Relaxed);
    shared.traffic.opened();
    shared.metrics.connections.inc();
    let handed = Handed { stream, peer, entry: Arc::clone(entry), at: shared.clock.now() };
    if let Err(TrySendError::Full(_) | TrySendError::Closed(_)) = seat.queue.try_send(handed) {
        seat.load.connections.fetch_sub(1, Ordering::Relaxed);
        shared.traffic.closed();
        shared.metrics.connections.dec();
        shared.metrics.connections_refused.inc();
    }
}

/// Requests a second and core, as a fading average.
struct Rates {
    at: tokio::time::Instant,
    counts: Vec<u64>,
    rates: Vec<f64>,
}

impl Rates {
    fn new(cores: usize) -> Self {
        Self { at: tokio::time::Instant::now(), counts: vec![0; cores], rates: vec![0.0; cores] }
    }

    fn measure(&mut self, seats: &[Seat]) -> Vec<Busy> {
        let passed = self.at.elapsed();
        if passed >= MEASURE_EVERY {
            self.at = tokio::time::Instant::now();
            for ((count, rate), seat) in self.counts.iter_mut().zip(&mut self.rates).zip(seats) {
                let now = seat.load.requests();
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a count within some seconds fits into an f64"
                )]
                let lately = (now - *count) as f64 / passed.as_secs_f64();
                *rate = *rate * KEEP + lately * (1.0 - KEEP);
                *count = now;
            }
        }
        let busy = |(seat, rate): (&Seat, &f64)| {
            let load = &seat.load;
            let pace = match (load.is_full(), load.is_behind()) {
                (true, _) => Pace::Full,
                (false, true) => Pace::Behind,
                (false, false) => Pace::Well,
            };
            Busy { connections: load.connections(), rate: *rate, pace }
        };
        seats.iter().zip(&self.rates).map(busy).collect()
    }
}
