//! Every interleaving of two or three threads at a gate.

use std::pin::pin;
use std::task::{Context, Poll};

use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use super::*;

const NOW: Instant = Instant::from_nanos(1);

/// A gate, and what only the holder of its one permit may touch: loom ends the model when two do, or when one does not
/// see what the other left.
struct Guarded {
    gate: Gate,
    cell: UnsafeCell<()>,
}

impl Guarded {
    fn new(places: u32) -> Arc<Self> {
        Arc::new(Self { gate: Gate::new(1, places, Order::Fifo), cell: UnsafeCell::new(()) })
    }

    /// With the permit: touches the cell, and gives the permit back.
    fn work(&self) {
        self.cell.with_mut(|_| ());
        self.gate.release(|| NOW);
    }

    /// Waits for a permit, if there is a place.
    fn wait(&self) -> bool {
        let granted = self.gate.try_acquire()
            || match self.gate.enter(NOW) {
                Entered::Granted => true,
                Entered::Waiting(waiter) => block_on(waiter),
                Entered::Full => false,
            };
        if granted {
            self.work();
        }
        granted
    }

    /// Takes a place, looks once, and gives up.
    fn give_up(&self) {
        match self.gate.enter(NOW) {
            Entered::Granted => self.work(),
            Entered::Waiting(waiter) => {
                let mut waiter = pin!(waiter);
                let polled = waiter.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                if polled == Poll::Ready(true) {
                    self.work();
                }
            }
            Entered::Full => {}
        }
    }

    /// Nobody holds a permit or a place, and the next one gets through without waiting.
    fn assert_clear(&self) {
        assert_eq!((self.gate.in_flight(), self.gate.waiting()), (0, 0));
        assert!(self.gate.try_acquire());
        self.work();
    }
}

#[test]
fn loom_one_permit_is_held_by_one_thread() {
    loom::model(|| {
        let guarded = Guarded::new(0);
        let threads = [(); 2].map(|()| {
            let guarded = Arc::clone(&guarded);
            thread::spawn(move || guarded.wait())
        });
        let granted = threads.map(|thread| thread.join().unwrap());
        assert!(granted.contains(&true), "a free gate lets at least one through");
        guarded.assert_clear();
    });
}

#[test]
fn loom_who_waits_is_woken() {
    loom::model(|| {
        let guarded = Guarded::new(1);
        let waits = thread::spawn({
            let guarded = Arc::clone(&guarded);
            move || (0..2).for_each(|_| assert!(guarded.wait()))
        });
        assert!(guarded.wait());
        waits.join().unwrap();
        guarded.assert_clear();
    });
}

#[test]
fn loom_who_gives_up_loses_no_permit_and_nobody_else_s_turn() {
    loom::model(|| {
        let guarded = Guarded::new(2);
        assert!(guarded.gate.try_acquire());
        let waits = thread::spawn({
            let guarded = Arc::clone(&guarded);
            move || assert!(guarded.wait())
        });
        let gives_up = thread::spawn({
            let guarded = Arc::clone(&guarded);
            move || guarded.give_up()
        });
        guarded.work();
        waits.join().unwrap();
        gives_up.join().unwrap();
        guarded.assert_clear();
    });
}

#[test]
fn loom_a_raised_limit_lets_somebody_in_and_a_lowered_one_is_reached() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(1, 2, Order::Fifo));
        assert!(gate.try_acquire());
        let waits = thread::spawn({
            let gate = Arc::clone(&gate);
            move || {
                let granted = match gate.enter(NOW) {
                    Entered::Granted => true,
                    Entered::Waiting(waiter) => block_on(waiter),
                    Entered::Full => false,
                };
                assert!(granted);
                gate.release(|| NOW);
            }
        });
        gate.set_limit(2, NOW);
        waits.join().unwrap();
        gate.set_limit(1, NOW);
        assert!(!gate.try_acquire());
        gate.release(|| NOW);
        assert_eq!((gate.in_flight(), gate.waiting()), (0, 0));
        assert!(gate.try_acquire());
    });
}
