//! The last good copies of answers, for when the target cannot be asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use leeward_resilience::Instant;
use parking_lot::Mutex;

use crate::identity::Principal;

/// Memory for the copies of one target. A page of a list is some kilobytes, so that a thousand of them fit; and a service
/// with ten targets spends 80 MiB on copies at the very most.
const TOTAL_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A copy larger than this is not kept: one answer should not push out hundreds of others.
const COPY_BYTES_MAX: usize = 64 * 1024;
/// What a copy costs besides its body, its path and the principal's texts: two entries and their allocations. It bounds the number of
/// copies as well, however small they are.
const COPY_BYTES_EXTRA: usize = 512;

/// Whose copy of what: one principal never sees what was made for another.
pub(super) type Slot = (Principal, Box<str>);

#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) body: Bytes,
    pub(super) at: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Stale {
    copies: Mutex<Copies>,
}

#[derive(Debug, Default)]
struct Copies {
    by_slot: HashMap<Arc<Slot>, Copy>,
    /// By when they were last used, the oldest first.
    by_turn: BTreeMap<u64, Arc<Slot>>,
    /// Counts uses.
    turn: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Copy {
    kept: Kept,
    turn: u64,
}

impl Stale {
    pub(super) fn slot(&self, principal: &Principal, path: &str) -> Slot {
        (principal.clone(), path.into())
    }

    /// Keeps a copy; those that were not used for longest make room for it.
    pub(super) fn keep(&self, slot: Slot, body: &[u8], at: Instant) {
        if body.len() > COPY_BYTES_MAX {
            return;
        }
        let mut copies = self.copies.lock();
        copies.remove(&slot);
        // An answer's body can be a part of the buffer that it was read into, all of which it would keep.
        let kept = Kept { body: Bytes::copy_from_slice(body), at };
        copies.bytes += cost(&slot, &kept.body);
        let (slot, turn) = (Arc::new(slot), copies.next_turn());
        copies.by_turn.insert(turn, Arc::clone(&slot));
        copies.by_slot.insert(slot, Copy { kept, turn });
        while copies.bytes > TOTAL_BYTES_MAX {
            let Some(oldest) = copies.by_turn.values().next().cloned() else { break };
            copies.remove(&oldest);
        }
    }

    pub(super) fn find(&self, slot: &Slot) -> Option<Kept> {
        let mut copies = self.copies.lock();
        let turn = copies.next_turn();
        let Copies { by_slot, by_turn, .. } = &mut *copies;
        let copy = by_slot.get_mut(slot)?;
        if let Some(slot) = by_turn.remove(&copy.turn) {
            by_turn.insert(turn, slot);
        }
        copy.turn = turn;
        Some(copy.kept.clone())
    }
}

impl Copies {
    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    fn remove(&mut self, slot: &Slot) {
        if let Some(Copy { kept, turn }) = self.by_slot.remove(slot) {
            self.by_turn.remove(&turn);
            self.bytes -= cost(slot, &kept.body);
        }
    }
}

fn cost((principal, path): &Slot, body: &Bytes) -> usize {
    let principal = match principal {
        Principal::User(user) => {
            let texts = user.roles.iter().chain(&user.permissions);
            // Each is a pointer, its length and two counts, and the text.
            user.id.len() + texts.map(|text| text.len() + 32).sum::<usize>()
        }
        Principal::Service | Principal::Operator => 0,
    };
    body.len() + path.len() + principal + COPY_BYTES_EXTRA
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::identity::User;

    fn slot(path: &str) -> Slot {
        (Principal::Service, path.into())
    }

    impl Stale {
        /// The sum that is kept, after a look that it is the true one.
        fn bytes(&self) -> usize {
            let copies = self.copies.lock();
            let counted: usize = copies.by_slot.iter().map(|(slot, copy)| cost(slot, &copy.kept.body)).sum();
            assert_eq!((copies.bytes, copies.by_turn.len()), (counted, copies.by_slot.len()));
            counted
        }
    }

    #[test]
    fn the_sum_of_all_copies_is_bounded_and_what_is_used_stays() {
        let (stale, body) = (Stale::default(), vec![0; COPY_BYTES_MAX]);
        let fit = TOTAL_BYTES_MAX / (COPY_BYTES_MAX + COPY_BYTES_EXTRA);
        for number in 0..fit * 2 {
            stale.keep(slot(&format!("/{number}")), &body, Instant::ZERO);
            assert!(stale.find(&slot("/0")).is_some(), "used a moment ago, {number}");
            assert!(stale.bytes() <= TOTAL_BYTES_MAX, "{number}");
        }
        assert!(stale.bytes() > TOTAL_BYTES_MAX / 2, "no more goes than has to");
        assert!(stale.find(&slot("/1")).is_none(), "used longest ago");
        assert!(stale.find(&slot(&format!("/{}", fit * 2 - 1))).is_some());
    }

    #[test]
    fn many_small_copies_are_bounded_too() {
        let stale = Stale::default();
        for number in 0..TOTAL_BYTES_MAX / COPY_BYTES_EXTRA + 10 {
            stale.keep(slot(&number.to_string()), b"", Instant::ZERO);
        }
        assert!(stale.bytes() <= TOTAL_BYTES_MAX);
        assert!(stale.find(&slot("0")).is_none());
    }

    #[test]
    fn a_newer_copy_takes_the_place_of_the_older() {
        let stale = Stale::default();
        stale.keep(slot("/"), b"older", Instant::ZERO);
        let newer = Instant::from_nanos(5);
        stale.keep(slot("/"), b"new", newer);
        let kept = stale.find(&slot("/")).unwrap();
        assert_eq!((&*kept.body, kept.at), (&b"new"[..], newer));
        assert_eq!(stale.bytes(), cost(&slot("/"), &kept.body));
        stale.keep(slot("/"), &vec![0; COPY_BYTES_MAX + 1], newer);
        assert_eq!(&*stale.find(&slot("/")).unwrap().body, b"new", "what is too large is not kept");
    }

    #[test]
    fn principals_are_apart() {
        let stale = Stale::default();
        stale.keep(slot("/1"), b"1", Instant::ZERO);
        assert!(stale.find(&stale.slot(&Principal::Service, "/1")).is_some());
        assert!(stale.find(&stale.slot(&Principal::User(User::new("u-1")), "/1")).is_none());
    }
}
