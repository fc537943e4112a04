//! Why a breaker is open, where those who are turned away can read it without a lock.

use crate::outcome::{Opened, OpenedBy};
use crate::sync::{AtomicU64, Ordering};
use crate::time::Instant;

/// Written under the lock of the breaker before its gate says that it is open, and not again before the gate has said
/// something else. Who reads it looks at the gate before and after: if it is the same, so is all that was read.
#[derive(Default)]
pub(super) struct Notice {
    until: AtomicU64,
    /// The numbers of an [`Opened`], two a word.
    numbers: [AtomicU64; 4],
}

impl Notice {
    pub(super) fn write(&self, until: Instant, opened: &Opened) {
        let Opened { cause, failures, slow, calls, consecutive, version } = *opened;
        let (cause, threshold) = match cause {
            OpenedBy::FailureRate { per_mille } => (0, per_mille),
            OpenedBy::SlowRate { per_mille } => (1, per_mille),
            OpenedBy::Consecutive { threshold } => (2, threshold),
        };
        let words = [(failures, slow), (calls, consecutive), (version, cause), (threshold, 0)];
        self.until.store(until.as_nanos(), Ordering::Release);
        for (number, (high, low)) in self.numbers.iter().zip(words) {
            number.store(u64::from(high) << 32 | u64::from(low), Ordering::Release);
        }
    }

    #[inline]
    pub(super) fn until(&self) -> Instant {
        Instant::from_nanos(self.until.load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn opened(&self) -> Opened {
        let [(failures, slow), (calls, consecutive), (version, cause), (threshold, _)] =
            self.numbers.each_ref().map(|number| {
                let word = number.load(Ordering::Acquire);
                let half = |half: u64| u32::try_from(half & u64::from(u32::MAX)).unwrap_or(u32::MAX);
                (half(word >> 32), half(word))
            });
        let cause = match cause {
            0 => OpenedBy::FailureRate { per_mille: threshold },
            1 => OpenedBy::SlowRate { per_mille: threshold },
            _ => OpenedBy::Consecutive { threshold },
        };
        Opened { cause, failures, slow, calls, consecutive, version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let causes = [
            OpenedBy::FailureRate { per_mille: 500 },
            OpenedBy::SlowRate { per_mille: 1000 },
            OpenedBy::Consecutive { threshold: u32::MAX },
        ];
        for cause in causes {
            let opened =
                Opened { cause, failures: 1, slow: u32::MAX, calls: 3, consecutive: u32::MAX, version: 5 };
            let notice = Notice::default();
            notice.write(Instant::from_nanos(7), &opened);
            assert_eq!((notice.until(), notice.opened()), (Instant::from_nanos(7), opened));
        }
    }
}
