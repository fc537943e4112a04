//! The last good copies of answers, for when the target cannot be asked.

use std::time::Duration;

use bytes::Bytes;
use leeward_resilience::cache::{Entry, Found, Memory, MemoryStore};
use leeward_resilience::{ConfigErrors, Instant};

use crate::identity::Principal;

/// Memory for the copies of one target. A page of a list is some kilobytes, so that a thousand of them fit; and a service
/// with ten targets spends 80 MiB on copies at the very most.
const TOTAL_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A copy larger than this is not kept: one answer should not push out hundreds of others.
const COPY_BYTES_MAX: usize = 64 * 1024;
/// So long at least a copy is kept, whatever its maker accepts itself: another reader may accept an older one.
const KEEP: Duration = Duration::from_secs(3_600);
/// What a copy costs besides its body, its path and the principal's texts: two entries and their allocations. It bounds the number of
/// copies as well, however small they are.
const COPY_BYTES_EXTRA: usize = 512;

/// Whose copy of what: one principal never sees what was made for another.
pub(super) type Slot = (Principal, Box<str>);

/// The copies of one target.
#[derive(Debug)]
pub(super) struct Stale {
    copies: MemoryStore<Slot, Bytes>,
}

/// A copy, and its age.
pub(super) struct Kept {
    pub(super) body: Bytes,
    pub(super) age: Duration,
}

impl Stale {
    pub(super) fn new() -> Result<Self, ConfigErrors> {
        let bounds = Memory { bytes_max: TOTAL_BYTES_MAX, entries_max: TOTAL_BYTES_MAX / COPY_BYTES_EXTRA };
        Ok(Self { copies: MemoryStore::new(bounds, cost)? })
    }

    pub(super) fn slot(&self, principal: &Principal, path: &str) -> Slot {
        (principal.clone(), path.into())
    }

    /// Keeps a copy for `age_max`; those that were not used for longest make room for it.
    pub(super) fn keep(&self, slot: Slot, body: &[u8], age_max: Duration, now: Instant) {
        if body.len() > COPY_BYTES_MAX {
            return;
        }
        // An answer's body can be a part of the buffer that it was read into, all of which it would keep.
        let value = Bytes::copy_from_slice(body);
        self.copies.keep(slot, Entry { value, fresh_for: Duration::ZERO, keep_for: age_max.max(KEEP) }, now);
    }

    pub(super) fn find(&self, slot: &Slot, now: Instant) -> Option<Kept> {
        let Found { value, expired_for } = self.copies.find(slot, now)?;
        Some(Kept { body: value, age: expired_for.unwrap_or_default() })
    }
}

fn cost(slot: &Slot, body: &Bytes) -> usize {
    let (principal, path) = slot;
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

    const AGE_MAX: Duration = Duration::from_secs(60);

    fn keep(stale: &Stale, path: &str, body: &[u8]) {
        stale.keep(slot(path), body, AGE_MAX, Instant::ZERO);
    }

    fn found(stale: &Stale, path: &str) -> Option<Bytes> {
        stale.find(&slot(path), Instant::ZERO).map(|kept| kept.body)
    }

    #[test]
    fn the_sum_of_all_copies_is_bounded_and_what_is_used_stays() {
        let (stale, body) = (Stale::new().unwrap(), vec![0; COPY_BYTES_MAX]);
        let fit = TOTAL_BYTES_MAX / (COPY_BYTES_MAX + COPY_BYTES_EXTRA);
        for number in 0..fit * 2 {
            keep(&stale, &format!("/{number}"), &body);
            assert!(found(&stale, "/0").is_some(), "used a moment ago, {number}");
            assert!(stale.copies.size().1 <= TOTAL_BYTES_MAX, "{number}");
        }
        assert!(stale.copies.size().1 > TOTAL_BYTES_MAX / 2, "no more goes than has to");
        assert!(found(&stale, "/1").is_none(), "used longest ago");
        assert!(found(&stale, &format!("/{}", fit * 2 - 1)).is_some());
    }

    #[test]
    fn many_small_copies_are_bounded_too() {
        let stale = Stale::new().unwrap();
        for number in 0..TOTAL_BYTES_MAX / COPY_BYTES_EXTRA + 10 {
            keep(&stale, &number.to_string(), b"");
        }
        assert!(stale.copies.size().1 <= TOTAL_BYTES_MAX);
        assert!(found(&stale, "0").is_none());
    }

    #[test]
    fn a_newer_copy_takes_the_place_of_the_older_and_ends_with_its_time() {
        let stale = Stale::new().unwrap();
        keep(&stale, "/", b"older");
        let newer = Instant::from_nanos(5);
        stale.keep(slot("/"), b"new", AGE_MAX, newer);
        let kept = stale.find(&slot("/"), newer + Duration::from_secs(59)).unwrap();
        assert_eq!((&*kept.body, kept.age), (&b"new"[..], Duration::from_secs(59)));
        stale.keep(slot("/"), &vec![0; COPY_BYTES_MAX + 1], AGE_MAX, newer);
        assert_eq!(&*found(&stale, "/").unwrap(), b"new", "what is too large is not kept");
        assert!(stale.find(&slot("/"), newer + KEEP).is_none());
    }

    #[test]
    fn principals_are_apart() {
        let stale = Stale::new().unwrap();
        keep(&stale, "/1", b"1");
        assert!(found(&stale, "/1").is_some());
        let other = stale.slot(&Principal::User(User::new("u-1")), "/1");
        assert!(stale.find(&other, Instant::ZERO).is_none());
    }
}
