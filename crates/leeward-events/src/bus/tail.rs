//! The newest part of a log in memory, so that live subscribers need not read the file.

use std::collections::VecDeque;

use super::message::{Delivery, Message, Position};
use crate::pattern::Patterns;

/// Most events looked at in one read: the tail's lock is held for that long, some tens of microseconds.
const SCAN_MAX: usize = 1024;

/// What an event costs beside its body: queue slot, kind, reference counts.
const OVERHEAD_BYTES: usize = 96;

/// A contiguous run of messages up to the head of the log, bounded by bytes.
#[derive(Debug)]
pub(super) struct Tail {
    /// The position of the first entry; with no entries, of the next one to come.
    first: Position,
    entries: VecDeque<Message>,
    bytes: usize,
}

/// The answer to a read.
#[derive(Debug)]
pub(super) enum Found {
    /// These come next; possibly none of them matched.
    Next { deliveries: Vec<Delivery>, through: Position, head: Position },
    /// Nothing after the position has been published.
    AtHead,
    /// The position lies before the tail.
    Older,
}

impl Tail {
    /// An empty tail behind a log whose newest event is at `head`.
    pub(super) fn behind(head: Position) -> Self {
        Self { first: head.plus(1), entries: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn head(&self) -> Position {
        self.first.plus(i64::try_from(self.entries.len()).unwrap_or(i64::MAX) - 1)
    }

    /// What the tail costs in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, message: Message) {
        self.bytes += cost(&message);
        self.entries.push_back(message);
    }

    /// Forgets the oldest entries until at most `bytes_max` are left.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max && self.forget_first() {}
    }

    /// Forgets the oldest entry if it is at or before `position`.
    pub(super) fn forget_through(&mut self, position: Position) -> bool {
        self.first <= position && self.forget_first()
    }

    fn forget_first(&mut self) -> bool {
        let Some(message) = self.entries.pop_front() else { return false };
        self.bytes -= cost(&message);
        self.first = self.first.plus(1);
        true
    }

    /// The position before the oldest entry.
    pub(super) fn floor(&self) -> Position {
        self.first.plus(-1)
    }

    pub(super) fn read(&self, after: Position, patterns: &Patterns, events_max: usize) -> Found {
        if after >= self.head() {
            return Found::AtHead;
        }
        let Ok(skip) = usize::try_from(after.get() + 1 - self.first.get()) else { return Found::Older };
        let mut deliveries = Vec::new();
        let mut through = after;
        for message in self.entries.iter().skip(skip).take(SCAN_MAX) {
            through = through.plus(1);
            if patterns.matches(message.kind()) {
                deliveries.push(Delivery { position: through, body: message.body().clone() });
                if deliveries.len() >= events_max {
                    break;
                }
            }
        }
        Found::Next { deliveries, through, head: self.head() }
    }
}

pub(super) fn cost(message: &Message) -> usize {
    message.body().len() + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(kind: &str) -> Message {
        Message::trusted(kind.into(), Bytes::from(vec![b'x'; 10]))
    }

    fn positions(found: Found) -> (Vec<i64>, i64) {
        match found {
            Found::Next { deliveries, through, .. } => {
                (deliveries.iter().map(|one| one.position.get()).collect(), through.get())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_what_matches_and_says_how_far_it_looked() {
        let mut tail = Tail::behind(Position::new(40));
        for kind in ["a", "b", "a", "b", "b"] {
            tail.push(message(kind));
        }
        let a = Patterns::new(["a"]).unwrap();
        assert_eq!(positions(tail.read(Position::new(40), &a, 10)), (vec![41, 43], 45));
        assert_eq!(positions(tail.read(Position::new(40), &a, 1)), (vec![41], 41));
        assert_eq!(positions(tail.read(Position::new(43), &a, 10)), (vec![], 45));
        assert!(matches!(tail.read(Position::new(45), &a, 10), Found::AtHead));
        assert!(matches!(tail.read(Position::new(39), &a, 10), Found::Older));
    }

    #[test]
    fn shrinking_forgets_the_oldest_and_counts_right() {
        let mut tail = Tail::behind(Position::START);
        for _ in 0..10 {
            tail.push(message("a"));
        }
        tail.shrink(3 * cost(&message("a")));
        assert_eq!((tail.floor().get(), tail.head().get()), (7, 10));
        assert!(matches!(tail.read(Position::new(6), &Patterns::all(), 9), Found::Older));
        assert_eq!(positions(tail.read(Position::new(7), &Patterns::all(), 9)), (vec![8, 9, 10], 10));
        tail.shrink(0);
        assert_eq!((tail.bytes(), tail.head().get(), tail.floor().get()), (0, 10, 10));
        assert!(matches!(tail.read(Position::new(10), &Patterns::all(), 9), Found::AtHead));
    }
}
