//! Every interleaving of a leader, waiters, and those of them who leave.

use std::future::Future;
use std::task::{Context, Poll, Waker};

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use super::*;

/// What became of a caller who goes all the way.
fn get(flights: &Flights<u8, u32>, load: u32) -> u32 {
    let lead = |leader: Leader<'_, u8, u32>| {
        leader.complete(load);
        load
    };
    match flights.join(&1, 2) {
        Seat::Leader(leader) => lead(leader),
        Seat::Waiter(waiter) => match block_on(waiter.wait()) {
            Waited::Result(result) => result,
            Waited::Leader(leader) => lead(leader),
        },
        Seat::Full => panic!("there is a place for everybody"),
    }
}

/// A caller who is dropped: without a result as a leader, after one look as a waiter.
fn give_up(flights: &Flights<u8, u32>) {
    match flights.join(&1, 2) {
        Seat::Leader(leader) => drop(leader),
        Seat::Waiter(waiter) => {
            let mut waiting = Box::pin(waiter.wait());
            // A seat or a result that it was given is dropped here as well.
            let _: Poll<_> = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        Seat::Full => panic!("there is a place for everybody"),
    }
}

#[test]
fn loom_everybody_gets_a_result_and_the_flight_ends() {
    loom::model(|| {
        let flights = Arc::new(Flights::new());
        let threads = [1, 2].map(|load| {
            let flights = Arc::clone(&flights);
            thread::spawn(move || get(&flights, load))
        });
        let results = threads.map(|thread| thread.join().unwrap());
        assert!(results.iter().all(|result| [1, 2].contains(result)), "{results:?}");
        assert_eq!(flights.len(), 0);
    });
}

#[test]
fn loom_a_leader_who_leaves_hands_over() {
    loom::model(|| {
        let flights = Arc::new(Flights::new());
        let Seat::Leader(leader) = flights.join(&1, 2) else { panic!("the first leads") };
        let thread = thread::spawn({
            let flights = Arc::clone(&flights);
            move || get(&flights, 7)
        });
        drop(leader);
        assert_eq!(thread.join().unwrap(), 7, "nobody else had a result");
        assert_eq!(flights.len(), 0);
    });
}

#[test]
fn loom_a_waiter_who_leaves_takes_nobody_s_turn_with_it() {
    loom::model(|| {
        let flights = Arc::new(Flights::new());
        let Seat::Leader(leader) = flights.join(&1, 2) else { panic!("the first leads") };
        let waits = thread::spawn({
            let flights = Arc::clone(&flights);
            move || get(&flights, 7)
        });
        let gives_up = thread::spawn({
            let flights = Arc::clone(&flights);
            move || give_up(&flights)
        });
        drop(leader);
        assert_eq!(waits.join().unwrap(), 7);
        gives_up.join().unwrap();
        assert_eq!(flights.len(), 0);
    });
}

#[test]
fn loom_a_result_reaches_all_who_wait() {
    loom::model(|| {
        let flights = Arc::new(Flights::new());
        let Seat::Leader(leader) = flights.join(&1, 2) else { panic!("the first leads") };
        let Seat::Waiter(waiter) = flights.join(&1, 2) else { panic!("the second waits") };
        let completes = thread::spawn({
            let flights = Arc::clone(&flights);
            move || {
                let newcomer = flights.join(&1, 2);
                // A newcomer may wait, or lead the next flight: it gives up either way.
                drop(newcomer);
            }
        });
        let waited = {
            leader.complete(3);
            block_on(waiter.wait())
        };
        assert!(matches!(waited, Waited::Result(3)));
        drop(waited);
        completes.join().unwrap();
        assert_eq!(flights.len(), 0);
    });
}
