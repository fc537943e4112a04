//! One load a key at a time: a leader who loads, and waiters who get what the leader gets.
//!
//! A leader who is dropped, or whose result is its own affair, leaves its seat; the next waiter takes it, and a newcomer
//! may come first. A flight is in the map as long as somebody leads it or waits for it, so that there are never more
//! flights than callers.

use std::collections::HashMap;
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::sync::{Mutex, OnceLock};

#[derive(Debug)]
pub(super) struct Flights<K, R> {
    /// Locked before the seats of a flight.
    map: Mutex<HashMap<K, Arc<Flight<R>>>>,
}

#[derive(Debug)]
struct Flight<R> {
    seats: Mutex<Seats>,
    result: OnceLock<R>,
    wake: Notify,
}

#[derive(Debug)]
struct Seats {
    led: bool,
    waiters: u32,
}

/// What a caller is to a flight.
pub(super) enum Seat<'a, K: Hash + Eq, R> {
    Leader(Leader<'a, K, R>),
    Waiter(Waiter<'a, K, R>),
    /// So many wait already.
    Full,
}

/// How waiting ended.
pub(super) enum Waited<'a, K: Hash + Eq, R> {
    Result(R),
    /// The leader is gone, and this caller is the next one.
    Leader(Leader<'a, K, R>),
}

impl<K: Hash + Eq + Clone, R: Clone> Flights<K, R> {
    pub(super) fn new() -> Self {
        Self { map: Mutex::new(HashMap::new()) }
    }

    /// A seat in the flight of a key, in which at most so many wait.
    pub(super) fn join(&self, key: &K, waiters_max: u32) -> Seat<'_, K, R> {
        let mut map = self.map.lock();
        let Some(flight) = map.get(key) else {
            let seats = Mutex::new(Seats { led: true, waiters: 0 });
            let flight = Arc::new(Flight { seats, result: OnceLock::new(), wake: Notify::new() });
            map.insert(key.clone(), Arc::clone(&flight));
            return Seat::Leader(Leader { flights: self, key: key.clone(), flight });
        };
        let mut seats = flight.seats.lock();
        let (flight, key) = (Arc::clone(flight), key.clone());
        if !seats.led {
            seats.led = true;
            drop(seats);
            return Seat::Leader(Leader { flights: self, key, flight });
        }
        if seats.waiters >= waiters_max {
            return Seat::Full;
        }
        seats.waiters += 1;
        drop(seats);
        Seat::Waiter(Waiter { flights: self, key, flight })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.map.lock().len()
    }
}

/// The one who loads. Dropped without a result, it hands over.
pub(super) struct Leader<'a, K: Hash + Eq, R> {
    flights: &'a Flights<K, R>,
    key: K,
    flight: Arc<Flight<R>>,
}

impl<K: Hash + Eq, R> Leader<'_, K, R> {
    /// Gives the result to all that wait.
    pub(super) fn complete(self, result: R) {
        // The first result stands, and a leader completes once. Dropping does the rest.
        let _ = self.flight.result.set(result);
    }
}

impl<K: Hash + Eq, R> Drop for Leader<'_, K, R> {
    fn drop(&mut self) {
        let mut map = self.flights.map.lock();
        let mut seats = self.flight.seats.lock();
        seats.led = false;
        if self.flight.result.get().is_some() {
            map.remove(&self.key);
            self.flight.wake.notify_waiters();
        } else if seats.waiters == 0 {
            map.remove(&self.key);
        } else {
            // Should that one be dropped before it sits down, `Notify` wakes the next.
            self.flight.wake.notify_one();
        }
    }
}

/// One who waits. Dropped, it gives up its place.
pub(super) struct Waiter<'a, K: Hash + Eq, R> {
    flights: &'a Flights<K, R>,
    key: K,
    flight: Arc<Flight<R>>,
}

impl<'a, K: Hash + Eq + Clone, R: Clone> Waiter<'a, K, R> {
    pub(super) async fn wait(self) -> Waited<'a, K, R> {
        loop {
            let mut notified = pin!(self.flight.wake.notified());
            // In the queue first, so that nothing that happens from here on is missed.
            notified.as_mut().enable();
            if let Some(result) = self.flight.result.get() {
                return Waited::Result(result.clone());
            }
            if self.sit_down() {
                let (flight, key) = (Arc::clone(&self.flight), self.key.clone());
                return Waited::Leader(Leader { flights: self.flights, key, flight });
            }
            notified.await;
        }
    }

    /// Takes the leader's seat if nobody has it. The place as a waiter is given up when `self` is dropped.
    fn sit_down(&self) -> bool {
        let mut seats = self.flight.seats.lock();
        let free = !seats.led && self.flight.result.get().is_none();
        seats.led |= free;
        free
    }
}

impl<K: Hash + Eq, R> Drop for Waiter<'_, K, R> {
    fn drop(&mut self) {
        let mut map = self.flights.map.lock();
        let mut seats = self.flight.seats.lock();
        seats.waiters -= 1;
        if seats.waiters == 0 && !seats.led && self.flight.result.get().is_none() {
            map.remove(&self.key);
        }
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_flight_is_forgotten_once_nobody_is_in_it() {
        let flights: Flights<u8, u8> = Flights::new();
        // Who leaves in which order: the leader is 0.
        for order in [[0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 0, 1]] {
            let Seat::Leader(leader) = flights.join(&1, 2) else { panic!("the first leads") };
            let (Seat::Waiter(first), Seat::Waiter(second)) = (flights.join(&1, 2), flights.join(&1, 2))
            else {
                panic!("the others wait")
            };
            assert!(matches!(flights.join(&1, 2), Seat::Full));
            let mut context = Context::from_waker(Waker::noop());
            let (mut first, mut second) = (Box::pin(first.wait()), Box::pin(second.wait()));
            assert!(first.as_mut().poll(&mut context).is_pending());
            assert!(second.as_mut().poll(&mut context).is_pending());
            let (mut leader, mut first, mut second) = (Some(leader), Some(first), Some(second));
            for who in order {
                assert_eq!(flights.len(), 1);
                match who {
                    0 => drop(leader.take()),
                    1 => drop(first.take()),
                    _ => drop(second.take()),
                }
            }
            assert_eq!(flights.len(), 0, "{order:?}");
        }
    }

    #[test]
    fn a_result_ends_the_flight_and_a_newcomer_starts_another() {
        let flights: Flights<u8, u8> = Flights::new();
        let Seat::Leader(leader) = flights.join(&1, 2) else { panic!("the first leads") };
        let Seat::Waiter(waiter) = flights.join(&1, 2) else { panic!("the second waits") };
        leader.complete(7);
        let Seat::Leader(_next) = flights.join(&1, 2) else { panic!("a new flight") };
        let mut waiting = Box::pin(waiter.wait());
        let polled = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, std::task::Poll::Ready(Waited::Result(7))));
        drop((polled, waiting));
        assert_eq!(flights.len(), 1, "the new flight is still there");
    }
}
