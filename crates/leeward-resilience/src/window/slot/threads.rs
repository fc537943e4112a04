//! The threads of the system.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::OnceLock;

use crate::sync::{AtomicU64, Ordering};

/// More slots than that are not given out, however many processors there are: each costs every counter two cache lines.
const SLOTS_MAX: usize = 32;

/// How many slots there are: two for each processor, since besides a runtime's workers other threads call too. A thread
/// that finds none free does without, and takes a lock where the others do not.
pub(crate) fn slots() -> usize {
    static SLOTS: OnceLock<usize> = OnceLock::new();
    *SLOTS.get_or_init(|| {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        (2 * processors).clamp(4, SLOTS_MAX)
    })
}

/// The slots that are taken, a bit each.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// It was not asked for yet.
const UNKNOWN: usize = usize::MAX;
/// None was free, or the thread is ending.
const NONE: usize = usize::MAX - 1;

thread_local! {
    static SLOT: Cell<usize> = const { Cell::new(UNKNOWN) };
    static LEASE: Lease = const { Lease };
}

/// Gives the slot back when the thread ends.
struct Lease;

impl Drop for Lease {
    fn drop(&mut self) {
        let slot = SLOT.replace(NONE);
        if slot < SLOTS_MAX {
            give_back(&TAKEN, slot);
        }
    }
}

/// The slot of this thread, less than [`slots`]. Nobody else has it as long as this thread lives.
#[inline]
pub(crate) fn slot() -> Option<usize> {
    let slot = SLOT.get();
    if slot < SLOTS_MAX {
        return Some(slot);
    }
    if slot == UNKNOWN { take() } else { None }
}

#[cold]
fn take() -> Option<usize> {
    // The lease must exist before there is something to give back.
    let slot = LEASE.try_with(|_| lowest_free(&TAKEN, slots())).ok().flatten();
    SLOT.set(slot.unwrap_or(NONE));
    slot
}

fn lowest_free(taken: &AtomicU64, slots: usize) -> Option<usize> {
    let mut seen = taken.load(Ordering::Relaxed);
    // Bounded: it fails only when another thread took or gave back a slot.
    loop {
        let slot = seen.trailing_ones();
        let index = usize::try_from(slot).ok().filter(|index| *index < slots)?;
        match taken.compare_exchange_weak(seen, seen | 1 << slot, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return Some(index),
            Err(other) => seen = other,
        }
    }
}

/// Whoever takes it next sees all that was written in its name.
fn give_back(taken: &AtomicU64, slot: usize) {
    taken.fetch_and(!(1 << slot), Ordering::Release);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn the_lowest_free_one_is_given_and_none_when_all_are_taken() {
        let taken = AtomicU64::new(0);
        let take = || lowest_free(&taken, 3);
        assert_eq!([take(), take(), take(), take()], [Some(0), Some(1), Some(2), None]);
        give_back(&taken, 1);
        assert_eq!([take(), take()], [Some(1), None]);
    }

    #[test]
    fn no_two_living_threads_have_the_same_slot_and_the_dead_give_theirs_back() {
        let mut given_in_all = 0;
        for _ in 0..50 {
            let threads = slots() * 2;
            let all_asked = Barrier::new(threads);
            let taken: Vec<Option<usize>> = std::thread::scope(|scope| {
                let ask = || {
                    let mine = slot();
                    all_asked.wait();
                    assert_eq!(slot(), mine);
                    mine
                };
                let asking: Vec<_> = (0..threads).map(|_| scope.spawn(ask)).collect();
                asking.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let given: Vec<usize> = taken.into_iter().flatten().collect();
            let distinct: HashSet<usize> = given.iter().copied().collect();
            assert_eq!(distinct.len(), given.len());
            assert!(given.iter().all(|slot| *slot < slots()));
            given_in_all += given.len();
        }
        // Other tests hold some now and then; but if the dead kept theirs, no more than all could be given once.
        assert!(given_in_all > slots(), "{given_in_all}");
    }
}
