//! The other side of every engine: the clients that load it and the service behind it, in one thread on a core of
//! their own, so that what is measured on the engine's core is the engine.
//!
//! Requests and answers are made beforehand; an answer counts when it is, byte by byte, what the upstream sent.
//! In the open loop a request's time runs from the moment at which it should have started.

mod client;
mod message;
mod pipe;
mod poll;
mod run;
mod streams;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(super) use self::pipe::Ask;
use self::poll::{Poll, Ready, Source};
pub(super) use self::run::{Load, Tally};
pub(super) use self::upstream::Seen;
use self::upstream::Upstream;
use super::case::Size;

/// Bytes read at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// How often a phase looks whether it was told to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Upstream and clients.
pub(super) struct Driver {
    poll: Poll,
    ready: Ready,
    buffer: Box<[u8]>,
    /// The body of every answer, or its beginning.
    body: Vec<u8>,
    upstream: Upstream,
    stop: Arc<AtomicBool>,
}

impl Driver {
    /// `keys` is the set of keys that the upstream publishes.
    pub(super) fn new(keys: &str, stop: Arc<AtomicBool>) -> Result<Self, String> {
        let body: Vec<u8> =
            (0..Size::Large.bytes()).map(|at| b'a' + u8::try_from(at % 23).unwrap_or(0)).collect();
        // A wait ends when it should, not up to 50 us later.
        let _kernel_may_refuse = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let poll = Poll::new()?;
        let upstream = Upstream::open(&poll, keys, &body)?;
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Ok(Self { poll, ready: Ready::new(), buffer, body, upstream, stop })
    }

    /// The upstream's two endpoints.
    pub(super) fn upstream(&self) -> Result<[SocketAddr; 2], String> {
        self.upstream.addresses()
    }

    /// What the upstream has seen so far.
    pub(super) fn seen(&self) -> Seen {
        self.upstream.seen
    }

    /// Answers what the engine asks of its own accord, until `longest` is over.
    pub(super) fn serve(&mut self, longest: Duration) -> Result<(), String> {
        let until = Instant::now() + longest;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.wait(left)?;
            for at in 0..self.ready.len() {
                let source = self.ready.get(at);
                self.at_upstream(source)?;
            }
        }
    }

    /// Whether somebody stops the benchmark.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn wait(&mut self, longest: Duration) -> Result<(), String> {
        if self.is_stopped() {
            return Err("stopped by a signal".to_owned());
        }
        self.poll.wait(&mut self.ready, longest.min(LOOK_EVERY))
    }

    fn at_upstream(&mut self, source: Source) -> Result<(), String> {
        match source {
            Source::Listener(listener) => self.upstream.accept(&self.poll, listener)?,
            Source::Upstream(place) => self.upstream.ready(place, &mut self.buffer),
            Source::Client(_) => {}
        }
        Ok(())
    }
}
