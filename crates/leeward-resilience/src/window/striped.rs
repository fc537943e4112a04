//! A window of time whose hits cost no lock.

use std::time::Duration;

use super::{Counts, Stripes, Window, slot};
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::time::Instant;

/// A [`Window`] that many threads hit, and few ask. A hit in the tenth that is running is counted in the stripe of its
/// thread; the first of each tenth, a miss, and whoever asks take the lock and bring the two together.
pub(crate) struct StripedWindow {
    stripes: Stripes,
    locked: Mutex<Locked>,
    /// Until when the last miss is in the window, in nanoseconds: there usually is none, and nobody needs to count.
    missed_until: AtomicU64,
}

struct Locked {
    window: Window,
    length: Duration,
    /// So many hits of the stripes are in the window.
    absorbed: u64,
}

impl StripedWindow {
    pub(crate) fn new(length: Duration, now: Instant) -> Self {
        let locked = Locked { window: Window::new(length, now), length, absorbed: 0 };
        let missed_until = AtomicU64::new(0);
        Self { stripes: Stripes::new(), locked: Mutex::new(locked), missed_until }
    }

    pub(crate) fn hit(&self, now: Instant) {
        let counted = slot().is_some_and(|slot| self.stripes.hit(slot, now, || true));
        if !counted {
            self.with(|locked| locked.window.hit(now));
        }
    }

    /// Counts a miss if `allows` says so of the counts before it.
    pub(crate) fn miss_if(&self, now: Instant, allows: impl FnOnce(Counts) -> bool) -> bool {
        self.with(|Locked { window, length, .. }| {
            let allowed = allows(window.counts(now));
            if allowed {
                window.miss(now);
                self.missed_until.fetch_max((now + *length).as_nanos(), Ordering::Relaxed);
            }
            allowed
        })
    }

    /// What is in the window, without a lock where no miss is.
    pub(crate) fn counts_since_miss(&self, now: Instant) -> Option<Counts> {
        if now.as_nanos() >= self.missed_until.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.with(|locked| locked.window.counts(now)))
    }

    /// Looks back over another length. What is counted is kept, as far as it reaches.
    pub(crate) fn resize(&self, length: Duration, now: Instant) {
        self.with(|locked| {
            locked.window = locked.window.resized(length, now);
            locked.length = length;
            // A miss of the old window may be in the new one for as long as that is.
            self.missed_until.fetch_max((now + length).as_nanos(), Ordering::Relaxed);
        });
    }

    fn with<T>(&self, step: impl FnOnce(&mut Locked) -> T) -> T {
        let mut locked = self.locked.lock();
        let total = self.stripes.total();
        let absorbed = std::mem::replace(&mut locked.absorbed, total);
        locked.window.absorb(total.wrapping_sub(absorbed));
        let result = step(&mut locked);
        self.stripes.quiet_until(locked.window.running_until());
        result
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENGTH: Duration = Duration::from_secs(10);

    proptest! {
        #[test]
        fn it_counts_what_the_window_alone_counts(
            steps in prop::collection::vec((0_u64..4_000, any::<bool>()), 1..300),
        ) {
            let mut now = Instant::from_nanos(77_000_000_000);
            let (striped, mut alone) = (StripedWindow::new(LENGTH, now), Window::new(LENGTH, now));
            for (ms, hit) in steps {
                now = now + Duration::from_millis(ms / 8);
                if hit {
                    striped.hit(now);
                    alone.hit(now);
                } else {
                    let mut seen = Counts::default();
                    striped.miss_if(now, |counts| {
                        seen = counts;
                        true
                    });
                    prop_assert_eq!(seen, alone.counts(now));
                    alone.miss(now);
                }
            }
        }
    }

    #[test]
    fn another_length_looks_back_as_far_as_it_says() {
        let start = Instant::from_nanos(77_000_000_000);
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let begun = || {
            let window = StripedWindow::new(LENGTH, start);
            window.hit(start);
            assert!(window.miss_if(start, |_| true));
            window
        };
        let longer = begun();
        longer.resize(Duration::from_secs(20), after(1));
        let both = Counts { hits: 1, misses: 1, slow: 0 };
        assert_eq!(longer.counts_since_miss(after(15)), Some(both));
        assert_eq!(longer.counts_since_miss(after(22)), None);
        let shorter = begun();
        shorter.resize(Duration::from_secs(2), after(1));
        assert!(!shorter.miss_if(after(2), |counts| counts == Counts::default()), "not yet forgotten");
        assert!(shorter.miss_if(after(4), |counts| counts == Counts::default()));
    }

    #[test]
    fn hits_of_many_threads_are_all_there() {
        let now = Instant::from_nanos(1);
        let window = StripedWindow::new(LENGTH, now);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|_| window.hit(now)));
            }
        });
        window.miss_if(now, |counts| {
            assert_eq!(counts.hits, 8000);
            false
        });
    }
}
