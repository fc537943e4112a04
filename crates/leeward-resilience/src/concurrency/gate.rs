//! So many at a time, and a queue before them: what a concurrency limit of any kind is made of.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::queue::{Fate, Order, Queue};
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};
use crate::time::Instant;

/// The lowest bit of the state; those in flight are counted above it. It is set only when no permit is free, and cleared
/// by the permit that is given back when nobody waits any more: until then it may be set for nobody.
const SOMEBODY_WAITS: u64 = 1;
const ONE: u64 = 2;

/// As long as nobody waits, a permit is one compare-and-swap. While somebody does, the state changes under the lock of
/// the queue alone: a permit given back is handed to whose turn it is, and nobody overtakes.
pub(crate) struct Gate {
    state: AtomicU64,
    /// Changed under the lock of the queue.
    limit: AtomicU32,
    /// Changed under the lock of the queue.
    places: AtomicU32,
    queue: Mutex<Queue<Waker>>,
}

/// What came of asking for a place.
pub(crate) enum Entered<'a> {
    /// A permit came free meanwhile.
    Granted,
    /// A place. It resolves to whether there is a permit, or somebody else took the place.
    Waiting(Waiter<'a>),
    /// No place is free.
    Full,
}

impl Gate {
    pub(crate) fn new(limit: u32, places: u32, order: Order) -> Self {
        let (state, queue) = (AtomicU64::new(0), Mutex::new(Queue::new(order)));
        Self { state, limit: AtomicU32::new(limit), places: AtomicU32::new(places), queue }
    }

    /// Takes a permit if one is free and nobody waits. Whoever does gives it back with [`release`](Self::release).
    pub(crate) fn try_acquire(&self) -> bool {
        let mut seen = self.state.load(Ordering::Relaxed);
        loop {
            let limit = u64::from(self.limit.load(Ordering::Relaxed));
            if seen & SOMEBODY_WAITS != 0 || seen / ONE >= limit {
                return false;
            }
            match self.state.compare_exchange_weak(seen, seen + ONE, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => seen = other,
            }
        }
    }

    /// Takes a permit, or else a place in the queue.
    pub(crate) fn enter(&self, now: Instant) -> Entered<'_> {
        let mut queue = self.queue.lock();
        let mut displaced = None;
        if queue.len() >= self.places.load(Ordering::Relaxed) {
            if queue.len() == 0 {
                return if self.try_acquire() { Entered::Granted } else { Entered::Full };
            }
            displaced = queue.displace(now);
            if displaced.is_none() {
                return Entered::Full;
            }
        }
        // Either a permit that came free is seen here, or who gives it back later sees that somebody waits.
        while self.state.load(Ordering::Relaxed) & SOMEBODY_WAITS == 0 {
            if self.try_acquire() {
                return Entered::Granted;
            }
            let seen = self.state.load(Ordering::Relaxed);
            if seen / ONE >= u64::from(self.limit.load(Ordering::Relaxed)) {
                let waits = seen | SOMEBODY_WAITS;
                let _ = self.state.compare_exchange(seen, waits, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
        let key = queue.enter(now);
        drop(queue);
        wake(displaced.flatten());
        Entered::Waiting(Waiter { gate: self, key: Some(key) })
    }

    /// Gives a permit back. `now` is asked for only when somebody waits.
    pub(crate) fn release(&self, now: impl FnOnce() -> Instant) {
        let mut seen = self.state.load(Ordering::Relaxed);
        while seen & SOMEBODY_WAITS == 0 {
            match self.state.compare_exchange_weak(seen, seen - ONE, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
        let mut queue = self.queue.lock();
        self.state.fetch_sub(ONE, Ordering::AcqRel);
        let waker = self.grant_one(&mut queue, now());
        drop(queue);
        wake(waker.flatten());
    }

    /// Puts another limit into force. Nobody loses a permit: a lower limit is reached as they are given back.
    pub(crate) fn set_limit(&self, limit: u32, now: Instant) {
        let mut queue = self.queue.lock();
        self.limit.store(limit, Ordering::Relaxed);
        self.grant_all(&mut queue, now);
    }

    /// Like [`set_limit`](Self::set_limit), with another queue. Nobody loses his place: a shorter queue is reached as they
    /// leave.
    pub(crate) fn resize(&self, limit: u32, places: u32, order: Order, now: Instant) {
        let mut queue = self.queue.lock();
        self.limit.store(limit, Ordering::Relaxed);
        self.places.store(places, Ordering::Relaxed);
        queue.set_order(order);
        self.grant_all(&mut queue, now);
    }

    /// Bounded by the queue.
    fn grant_all(&self, queue: &mut Queue<Waker>, now: Instant) {
        while let Some(waker) = self.grant_one(queue, now) {
            wake(waker);
        }
    }

    /// Hands a free permit to whose turn it is, if somebody waits.
    fn grant_one(&self, queue: &mut Queue<Waker>, now: Instant) -> Option<Option<Waker>> {
        let free = self.in_flight() < self.limit();
        let granted = if free && queue.len() > 0 { queue.grant(now) } else { None };
        if granted.is_some() {
            self.state.fetch_add(ONE, Ordering::AcqRel);
        }
        if queue.len() == 0 {
            self.state.fetch_and(!SOMEBODY_WAITS, Ordering::AcqRel);
        }
        granted
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    pub(crate) fn in_flight(&self) -> u32 {
        u32::try_from(self.state.load(Ordering::Relaxed) / ONE).unwrap_or(u32::MAX)
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.queue.lock().len()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A place in the queue. Dropping it gives up the place, and hands on a permit that came too late.
pub(crate) struct Waiter<'a> {
    gate: &'a Gate,
    /// `None` once it left.
    key: Option<usize>,
}

impl Future for Waiter<'_> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(key) = self.key else { return Poll::Pending };
        let mut queue = self.gate.queue.lock();
        let (fate, waker) = queue.fate(key);
        if fate == Fate::Waiting {
            if !waker.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        queue.leave(key);
        drop(queue);
        self.key = None;
        Poll::Ready(fate == Fate::Granted)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut queue = self.gate.queue.lock();
        let fate = queue.leave(key);
        drop(queue);
        if fate == Fate::Granted {
            self.gate.release(super::now);
        }
    }
}

#[cfg(all(test, loom))]
mod models;
