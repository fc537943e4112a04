//! The last good copies of answers, for when the target cannot be asked.

use std::collections::HashMap;

use bytes::Bytes;
use leeward_resilience::Instant;
use parking_lot::Mutex;

use crate::identity::Principal;

/// Copies kept for one target.
const COPIES_MAX: usize = 2_048;
/// A copy larger than this is not kept: the bound on the number then bounds the memory as well.
const COPY_BYTES_MAX: usize = 64 * 1024;

/// Whose copy of what: one principal never sees what was made for another.
pub(super) type Slot = (Principal, Box<str>);

#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) body: Bytes,
    pub(super) at: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Stale {
    copies: Mutex<HashMap<Slot, Kept>>,
}

impl Stale {
    pub(super) fn slot(&self, principal: &Principal, path: &str) -> Slot {
        (principal.clone(), path.into())
    }

    pub(super) fn keep(&self, slot: Slot, body: Bytes, at: Instant) {
        if body.len() > COPY_BYTES_MAX {
            return;
        }
        let mut copies = self.copies.lock();
        if copies.len() >= COPIES_MAX && !copies.contains_key(&slot) {
            // The oldest goes. Full is rare, so that looking at all is fine.
            let oldest = copies.iter().min_by_key(|(_, kept)| kept.at).map(|(slot, _)| slot.clone());
            oldest.map(|slot| copies.remove(&slot));
        }
        copies.insert(slot, Kept { body, at });
    }

    pub(super) fn find(&self, slot: &Slot) -> Option<Kept> {
        self.copies.lock().get(slot).cloned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::identity::User;

    #[test]
    fn the_oldest_copy_goes_and_principals_are_apart() {
        let stale = Stale::default();
        for number in 0..COPIES_MAX + 1 {
            let slot = stale.slot(&Principal::Service, &format!("/{number}"));
            stale.keep(slot, Bytes::from_static(b"1"), Instant::from_nanos(u64::try_from(number).unwrap()));
        }
        assert!(stale.find(&stale.slot(&Principal::Service, "/0")).is_none());
        assert!(stale.find(&stale.slot(&Principal::Service, "/1")).is_some());
        assert!(stale.find(&stale.slot(&Principal::User(User::new("u-1")), "/1")).is_none());
        stale.keep(
            stale.slot(&Principal::Service, "/big"),
            Bytes::from(vec![0; COPY_BYTES_MAX + 1]),
            Instant::ZERO,
        );
        assert!(stale.find(&stale.slot(&Principal::Service, "/big")).is_none());
    }
}
