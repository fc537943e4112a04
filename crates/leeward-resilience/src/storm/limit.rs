//! The concurrency limit of a storm: the crate's own queue, and around it in one thread what the gate does between many.

use std::time::Duration;

use crate::concurrency::{Concurrency, Queue};
use crate::time::Instant;

pub(super) struct Limit {
    limit: u32,
    places: u32,
    pub(super) max_wait: Duration,
    taken: u32,
    /// Who waits is known by the number of his attempt.
    queue: Queue<usize>,
}

/// What an attempt has of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Permit,
    Queued { key: usize },
}

/// What came of asking for a permit.
pub(super) struct Entered {
    /// `None`: no place is free.
    pub(super) place: Option<Place>,
    /// The attempt that had to leave its place for it.
    pub(super) displaced: Option<usize>,
}

impl Limit {
    pub(super) fn new(config: &Concurrency) -> Self {
        let limit = if config.mode.is_shadow() { u32::MAX } else { config.limit.get() };
        let (places, max_wait, queue) = (config.queue, config.max_wait, Queue::new(config.order));
        Self { limit, places, max_wait, taken: 0, queue }
    }

    /// Asks for a permit, or else for a place. Nobody overtakes who waits.
    pub(super) fn enter(&mut self, attempt: usize, now: Instant) -> Entered {
        if self.queue.len() == 0 && self.taken < self.limit {
            self.taken += 1;
            return Entered { place: Some(Place::Permit), displaced: None };
        }
        let mut displaced = None;
        if self.queue.len() >= self.places {
            displaced = self.queue.displace(now).flatten();
            if displaced.is_none() {
                return Entered { place: None, displaced };
            }
        }
        let key = self.queue.enter(now);
        *self.queue.fate(key).1 = Some(attempt);
        Entered { place: Some(Place::Queued { key }), displaced }
    }

    /// Gives up a permit or a place.
    pub(super) fn leave(&mut self, place: Place) {
        match place {
            Place::Permit => self.taken -= 1,
            Place::Queued { key } => {
                self.queue.leave(key);
            }
        }
    }

    /// Hands a free permit to whose turn it is; his place is then his no more.
    pub(super) fn grant(&mut self, now: Instant) -> Option<usize> {
        if self.queue.len() == 0 || self.taken >= self.limit {
            return None;
        }
        let attempt = self.queue.grant(now).flatten()?;
        self.taken += 1;
        Some(attempt)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::concurrency::Order;

    const MS: Duration = Duration::from_millis(1);

    /// One at a time, and two places.
    fn limit(order: Order) -> Limit {
        Limit::new(&Concurrency { limit: NonZeroU32::MIN, queue: 2, order, ..Concurrency::default() })
    }

    fn at(ms: u32) -> Instant {
        Instant::from_nanos(1) + MS * ms
    }

    #[test]
    fn in_the_fair_order_who_waits_longest_is_next_and_a_newcomer_finds_no_place() {
        let mut limit = limit(Order::Fifo);
        let permit = limit.enter(0, at(0)).place.unwrap();
        assert_eq!(permit, Place::Permit);
        let places: Vec<_> = [1, 2].map(|number| limit.enter(number, at(0)).place.unwrap()).into();
        let late = limit.enter(3, at(1_000));
        assert!(late.place.is_none() && late.displaced.is_none());
        assert_eq!(limit.grant(at(1_000)), None, "the permit is taken");
        limit.leave(permit);
        assert_eq!((limit.grant(at(1_000)), limit.grant(at(1_000))), (Some(1), None));
        limit.leave(places[0]);
        // Who leaves is not granted.
        limit.leave(places[1]);
        limit.leave(Place::Permit);
        assert_eq!(limit.grant(at(1_000)), None);
        assert_eq!(limit.enter(4, at(1_000)).place, Some(Place::Permit));
    }

    #[test]
    fn under_overload_a_newcomer_displaces_who_waits_longest_and_is_next() {
        let mut limit = limit(Order::LifoUnderOverload { after: 10 * MS });
        limit.enter(0, at(0));
        for number in 1..=2 {
            assert!(matches!(limit.enter(number, at(0)).place, Some(Place::Queued { .. })));
        }
        assert!(limit.enter(3, at(9)).place.is_none(), "not yet");
        let late = limit.enter(4, at(10));
        assert!(matches!(late.place, Some(Place::Queued { .. })));
        assert_eq!(late.displaced, Some(1));
        limit.leave(Place::Permit);
        assert_eq!(limit.grant(at(10)), Some(4));
    }
}
