//! The sliding window: the pure rule.

use std::time::Duration;

use super::{Core, Decision, SlidingWindow, Used};
use crate::time::{Instant, nanos};

/// Slices of a period.
const SLICES: u64 = 10;

/// The running slice, and the ten before it that a whole period can reach into.
const LEN: usize = 11;
const BUCKETS: u64 = LEN as u64;

/// The rule, with its options turned into nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sliding {
    limit: u32,
    period: Duration,
    /// Rounded up, so that ten slices are never shorter than the period.
    slice_nanos: u64,
}

/// The calls that passed, by slice.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Number of the running slice since the origin of time.
    head: u64,
    buckets: [u32; LEN],
    sum: u32,
}

impl Sliding {
    pub(super) fn new(config: &SlidingWindow) -> Self {
        let slice_nanos = nanos(config.period).div_ceil(SLICES);
        Self { limit: config.limit.get(), period: config.period, slice_nanos }
    }

    /// The start of a slice.
    const fn start(self, slice: u64) -> Instant {
        Instant::from_nanos(slice.saturating_mul(self.slice_nanos))
    }
}

impl Passed {
    /// Driven by the time alone. Time that runs backwards counts as the running slice.
    fn rotate(&mut self, slice: u64) {
        let steps = slice.saturating_sub(self.head);
        for step in 1..=steps.min(BUCKETS) {
            self.sum -= std::mem::take(self.bucket(self.head.wrapping_add(step)));
        }
        self.head = self.head.max(slice);
    }

    fn bucket(&mut self, slice: u64) -> &mut u32 {
        &mut self.buckets[index(slice)]
    }

    /// The slices with calls in them, oldest first.
    fn used(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        let oldest = self.head.saturating_sub(BUCKETS - 1);
        (oldest..=self.head).filter(|&slice| self.buckets[index(slice)] > 0)
    }
}

fn index(slice: u64) -> usize {
    usize::try_from(slice % BUCKETS).unwrap_or(0)
}

impl Core for Sliding {
    type State = Passed;

    fn decide(&self, passed: &mut Passed, now: Instant) -> Decision {
        passed.rotate(now.as_nanos() / self.slice_nanos);
        let allowed = passed.sum < self.limit;
        if allowed {
            passed.sum += 1;
            *passed.bucket(passed.head) += 1;
        }
        let oldest = passed.used().next().unwrap_or(passed.head);
        let freed_after = self.start(oldest.saturating_add(BUCKETS)).saturating_duration_since(now);
        Decision {
            allowed,
            limit: self.limit,
            period: self.period,
            // More than the limit may have passed while it was higher, or in shadow mode.
            remaining: self.limit.saturating_sub(passed.sum),
            reset_after: self.clear_at(passed).saturating_duration_since(now),
            // One call at least leaves with the oldest slice.
            retry_after: (!allowed).then(|| freed_after.max(Duration::from_nanos(1))),
            version: 1,
        }
    }

    fn undo(&self, passed: &mut Passed) {
        let newest = passed.used().next_back();
        if let Some(newest) = newest {
            *passed.bucket(newest) -= 1;
            passed.sum -= 1;
        }
    }

    fn clear_at(&self, passed: &Passed) -> Instant {
        passed.used().next_back().map_or(Instant::ZERO, |newest| self.start(newest.saturating_add(BUCKETS)))
    }

    fn used(&self, passed: &Passed, now: Instant) -> Used {
        let clear = self.clear_at(passed) <= now;
        let part = if clear { 0 } else { passed.sum.min(self.limit) };
        Used { part: part.into(), whole: self.limit.into() }
    }

    fn with_used(&self, used: Used, now: Instant) -> Passed {
        let mut passed = Passed { head: now.as_nanos() / self.slice_nanos, ..Passed::default() };
        passed.sum = u32::try_from(used.of(self.limit.into())).unwrap_or(self.limit);
        *passed.bucket(passed.head) = passed.sum;
        passed
    }

    /// What passed has passed, whatever the limit is now. A slice counts from its end, since its calls may be as young.
    fn carry(&self, old: &Self, passed: &Passed, now: Instant) -> Passed {
        let slice_at = |nanos: u64| nanos / self.slice_nanos;
        let mut carried = Passed { head: slice_at(now.as_nanos()), ..Passed::default() };
        for slice in passed.used() {
            let youngest = old.start(slice.saturating_add(1)).as_nanos() - 1;
            let to = slice_at(youngest.min(now.as_nanos()));
            if to + BUCKETS > carried.head {
                let calls = passed.buckets[index(slice)];
                *carried.bucket(to) += calls;
                carried.sum += calls;
            }
        }
        carried
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    const START: Instant = Instant::from_nanos(10_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    fn sliding(limit: u32, period: Duration) -> Sliding {
        Sliding::new(&SlidingWindow { period, ..SlidingWindow::per_second(NonZeroU32::new(limit).unwrap()) })
    }

    proptest! {
        /// The naive model keeps the time of every call that passed, and counts them anew each time.
        #[test]
        fn it_does_what_a_log_of_all_calls_says(
            steps in prop::collection::vec((0_u64..3000, prop::bool::weighted(0.1)), 1..400),
            limit in 1_u32..20,
        ) {
            let rule = sliding(limit, SECOND);
            let (mut passed, mut log, mut now) = (Passed::default(), Vec::<u64>::new(), START);
            for (ms, long) in steps {
                now = now + Duration::from_millis(if long { ms } else { ms / 60 });
                let slice = |nanos: u64| nanos / 100_000_000;
                let in_force = log.iter().filter(|&&at| slice(at) + 10 >= slice(now.as_nanos())).count();
                let allowed = in_force < limit as usize;
                let decision = rule.decide(&mut passed, now);
                prop_assert_eq!(decision.allowed, allowed);
                if allowed {
                    log.push(now.as_nanos());
                }
                let left = limit as usize - in_force - usize::from(allowed);
                prop_assert_eq!(decision.remaining as usize, left);
            }
        }

        #[test]
        fn in_no_period_more_than_the_limit_passes(
            pauses in prop::collection::vec(0_u64..120_000_000, 1..500),
            limit in 1_u32..30,
            period_ms in 1_u64..2000,
        ) {
            let period = Duration::from_millis(period_ms);
            let rule = sliding(limit, period);
            let (mut state, mut passed, mut now) = (Passed::default(), Vec::<u64>::new(), START);
            for pause in pauses {
                now = now + Duration::from_nanos(pause);
                if rule.decide(&mut state, now).allowed {
                    passed.push(now.as_nanos());
                }
            }
            for window in passed.windows(limit as usize + 1) {
                prop_assert!(window[limit as usize] - window[0] >= nanos(period), "{window:?}");
            }
        }

        #[test]
        fn who_waits_as_told_passes(
            pauses in prop::collection::vec(0_u64..90_000_000, 1..200),
            limit in 1_u32..8,
        ) {
            let rule = sliding(limit, SECOND);
            let (mut state, mut now) = (Passed::default(), START);
            for pause in pauses {
                now = now + Duration::from_nanos(pause);
                if let Some(wait) = rule.decide(&mut state, now).retry_after {
                    let almost = now + wait.saturating_sub(Duration::from_nanos(1));
                    prop_assert!(!rule.decide(&mut state, almost).allowed);
                    now = now + wait;
                    prop_assert!(rule.decide(&mut state, now).allowed);
                }
            }
        }
    }

    #[test]
    fn calls_at_the_end_of_a_slice_do_not_make_room_in_the_next_period() {
        let rule = sliding(100, SECOND);
        let mut state = Passed::default();
        let end = START + 999 * MS;
        let pass = |state: &mut Passed, now| (0..300).filter(|_| rule.decide(state, now).allowed).count();
        assert_eq!(pass(&mut state, end), 100);
        assert_eq!(pass(&mut state, end + 995 * MS), 0, "two weighted buckets would let 99 through");
        assert_eq!(pass(&mut state, end + SECOND), 0, "up to a tenth of the period late");
        assert_eq!(pass(&mut state, START + 2000 * MS), 100);
    }

    #[test]
    fn the_state_of_a_key_is_as_small_as_it_is_documented() {
        assert_eq!(size_of::<Passed>(), 56);
    }

    #[test]
    fn nothing_old_is_left_after_idleness_and_time_that_runs_backwards_loses_nothing() {
        let rule = sliding(3, SECOND);
        let mut state = Passed::default();
        while rule.decide(&mut state, START).allowed {}
        assert!(!rule.decide(&mut state, START.saturating_sub(5 * SECOND)).allowed);
        assert_eq!(rule.clear_at(&state), START + 1100 * MS);
        let decision = rule.decide(&mut state, START + 3600 * SECOND);
        assert_eq!((decision.allowed, decision.remaining), (true, 2));
    }

    /// A call in each of the last so many slices of 100 ms.
    fn called(rule: Sliding, slices: u64) -> (Passed, Instant) {
        let mut passed = Passed::default();
        for slice in 0..slices {
            assert!(rule.decide(&mut passed, START + MS * 100 * u32::try_from(slice).unwrap()).allowed);
        }
        (passed, START + MS * 100 * u32::try_from(slices - 1).unwrap())
    }

    #[test]
    fn carried_to_the_same_rule_calls_stay_in_their_slices() {
        let rule = sliding(20, SECOND);
        let (passed, now) = called(rule, 8);
        let carried = rule.carry(&rule, &passed, now + 50 * MS);
        assert_eq!((carried.head, carried.buckets, carried.sum), (passed.head, passed.buckets, passed.sum));
    }

    #[test]
    fn what_no_period_reaches_any_more_is_not_carried() {
        let rule = sliding(20, SECOND);
        let (passed, now) = called(rule, 1);
        for (slices, left) in [(10, 1), (11, 0), (12, 0)] {
            assert_eq!(rule.carry(&rule, &passed, now + 100 * MS * slices).sum, left, "{slices}");
        }
    }

    #[test]
    fn what_is_used_is_known_until_it_is_forgotten_and_taken_over_for_a_period() {
        let rule = sliding(20, SECOND);
        let (passed, now) = called(rule, 5);
        let part = |at| rule.used(&passed, at).part;
        assert_eq!((part(now), part(now + 1099 * MS), part(now + 1100 * MS)), (5, 5, 0));
        let mut full = rule.with_used(Used { part: 3, whole: 3 }, now);
        assert!(!rule.decide(&mut full, now + 1099 * MS).allowed);
        assert!(rule.decide(&mut full, now + 1100 * MS).allowed);
    }
}
