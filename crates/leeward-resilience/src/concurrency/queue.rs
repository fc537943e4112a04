//! The places in the queue: who waits, in which order, and what became of him. Pure.

use std::time::Duration;

use crate::time::Instant;

/// Who gets the next permit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Who waits longest. The default: fair, and nobody is forgotten.
    #[default]
    Fifo,
    /// Who waits longest, until somebody has been waiting without a break for `after`: then the one who came last, whose
    /// caller is the likeliest to be still there, and a newcomer takes the place of the one who waits longest when the
    /// queue is full. Back to the fair order when the queue was empty once.
    LifoUnderOverload {
        /// 1 ms ..= 60 s. 100 ms is a good start: a burst is over by then, an overload is not.
        after: Duration,
    },
}

/// What became of one in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Waiting,
    /// He has a permit and does not know yet.
    Granted,
    /// A newcomer took his place.
    Displaced,
}

const NONE: usize = usize::MAX;

struct Slot<W> {
    fate: Fate,
    /// Who is to be told; `None` also in a slot that is free.
    waker: Option<W>,
    previous: usize,
    next: usize,
}

/// A doubly linked list in one vector, so that each operation takes constant time and allocates only when the queue is
/// longer than ever before. A slot belongs to one who waits until he [leaves](Self::leave).
pub(crate) struct Queue<W> {
    order: Order,
    slots: Vec<Slot<W>>,
    free: usize,
    first: usize,
    last: usize,
    len: u32,
    /// Since when it has not been empty.
    since: Instant,
}

impl<W> Queue<W> {
    pub(crate) fn new(order: Order) -> Self {
        let (slots, since) = (Vec::new(), Instant::ZERO);
        Self { order, slots, free: NONE, first: NONE, last: NONE, len: 0, since }
    }

    pub(crate) const fn set_order(&mut self, order: Order) {
        self.order = order;
    }

    /// Those who wait.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    fn overloaded(&self, now: Instant) -> bool {
        match self.order {
            Order::Fifo => false,
            Order::LifoUnderOverload { after } => {
                self.len > 0 && now.saturating_duration_since(self.since) >= after
            }
        }
    }

    /// The last place for one more.
    pub(crate) fn enter(&mut self, now: Instant) -> usize {
        if self.len == 0 {
            self.since = now;
        }
        let slot = Slot { fate: Fate::Waiting, waker: None, previous: self.last, next: NONE };
        let key = if self.free == NONE {
            self.slots.push(slot);
            self.slots.len() - 1
        } else {
            let key = self.free;
            self.free = self.slots[key].next;
            self.slots[key] = slot;
            key
        };
        match self.last {
            NONE => self.first = key,
            last => self.slots[last].next = key,
        }
        self.last = key;
        self.len += 1;
        key
    }

    /// Gives a permit to whose turn it is; `None` when nobody waits.
    pub(crate) fn grant(&mut self, now: Instant) -> Option<Option<W>> {
        let key = if self.overloaded(now) { self.last } else { self.first };
        self.settle(key, Fate::Granted)
    }

    /// Takes the place of who waits longest, if the order allows.
    pub(crate) fn displace(&mut self, now: Instant) -> Option<Option<W>> {
        if self.overloaded(now) { self.settle(self.first, Fate::Displaced) } else { None }
    }

    fn settle(&mut self, key: usize, fate: Fate) -> Option<Option<W>> {
        if key == NONE {
            return None;
        }
        self.unlink(key);
        self.slots[key].fate = fate;
        Some(self.slots[key].waker.take())
    }

    /// What became of him, and whom to tell when that changes.
    pub(crate) fn fate(&mut self, key: usize) -> (Fate, &mut Option<W>) {
        let slot = &mut self.slots[key];
        (slot.fate, &mut slot.waker)
    }

    /// Gives up the slot, and says what had become of him.
    pub(crate) fn leave(&mut self, key: usize) -> Fate {
        let fate = self.slots[key].fate;
        if fate == Fate::Waiting {
            self.unlink(key);
        }
        let slot = &mut self.slots[key];
        (slot.waker, slot.next) = (None, self.free);
        self.free = key;
        fate
    }

    fn unlink(&mut self, key: usize) {
        let Slot { previous, next, .. } = self.slots[key];
        match previous {
            NONE => self.first = next,
            previous => self.slots[previous].next = next,
        }
        match next {
            NONE => self.last = previous,
            next => self.slots[next].previous = previous,
        }
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const START: Instant = Instant::from_nanos(1_000_000_000);

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Enter,
        Grant,
        Displace,
        Leave(usize),
        Advance(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Enter),
            2 => Just(Step::Grant),
            1 => Just(Step::Displace),
            2 => (0_usize..50).prop_map(Step::Leave),
            1 => (0_u32..150).prop_map(Step::Advance),
        ]
    }

    proptest! {
        /// The naive model is a deque of those who wait, searched from end to end.
        #[test]
        fn it_does_what_a_deque_does(steps in prop::collection::vec(step(), 1..300), lifo: bool) {
            let after = 100 * MS;
            let mut queue = Queue::new(if lifo { Order::LifoUnderOverload { after } } else { Order::Fifo });
            let (mut model, mut since, mut now) = (VecDeque::<u32>::new(), START, START);
            let mut present = Vec::<(usize, u32)>::new();
            for (number, step) in (0_u32..).zip(steps) {
                let overloaded = lifo && !model.is_empty() && now.saturating_duration_since(since) >= after;
                match step {
                    Step::Enter => {
                        if model.is_empty() {
                            since = now;
                        }
                        let key = queue.enter(now);
                        *queue.fate(key).1 = Some(number);
                        prop_assert!(present.iter().all(|&(other, _)| other != key));
                        present.push((key, number));
                        model.push_back(number);
                    }
                    Step::Grant => {
                        let next = if overloaded { model.pop_back() } else { model.pop_front() };
                        prop_assert_eq!(queue.grant(now).flatten(), next);
                    }
                    Step::Displace => {
                        let next = if overloaded { model.pop_front() } else { None };
                        prop_assert_eq!(queue.displace(now).flatten(), next);
                    }
                    Step::Leave(index) if !present.is_empty() => {
                        let (key, number) = present.swap_remove(index % present.len());
                        let place = model.iter().position(|&other| other == number);
                        prop_assert_eq!(queue.leave(key) == Fate::Waiting, place.is_some());
                        if let Some(place) = place {
                            model.remove(place);
                        }
                    }
                    Step::Leave(_) => {}
                    Step::Advance(ms) => now = now + ms * MS,
                }
                prop_assert_eq!(queue.len() as usize, model.len());
            }
            prop_assert!(queue.slots.len() <= 300);
        }
    }

    #[test]
    fn slots_are_used_again() {
        let mut queue = Queue::<()>::new(Order::Fifo);
        for _ in 0..1000 {
            let keys = [queue.enter(START), queue.enter(START)];
            queue.grant(START);
            assert_eq!((queue.leave(keys[0]), queue.leave(keys[1])), (Fate::Granted, Fate::Waiting));
        }
        assert_eq!(queue.slots.len(), 2);
    }

    #[test]
    fn another_order_holds_for_those_who_wait_already() {
        let lifo = Order::LifoUnderOverload { after: 100 * MS };
        for (before, after, expected) in [(Order::Fifo, lifo, 1), (lifo, Order::Fifo, 0)] {
            let mut queue = Queue::<()>::new(before);
            let keys = [queue.enter(START), queue.enter(START)];
            queue.set_order(after);
            assert!(queue.grant(START + 100 * MS).is_some());
            let granted = keys.map(|key| queue.fate(key).0 == Fate::Granted);
            assert_eq!(granted.iter().position(|granted| *granted), Some(expected), "{after:?}");
        }
    }
}
