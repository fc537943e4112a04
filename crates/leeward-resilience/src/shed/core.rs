//! The pure rule: (delays, waiting, now) to a level, (level, priority, draw) to a decision.

use std::time::Duration;

use super::{NAME, Shed};
use crate::outcome::{Reason, Rejected};
use crate::priority::Priority;
use crate::time::{Instant, nanos};

/// Parts of a class. The level counts them, from the lowest class up.
const PARTS: u32 = 8;
/// What a bad interval adds.
const RAISE: u32 = 2;
/// What a good interval takes off.
const LOWER: u32 = 1;
/// One part of the highest class is never shed.
#[allow(clippy::cast_possible_truncation, reason = "four classes")]
const LEVEL_MAX: u32 = Priority::ALL.len() as u32 * PARTS - 1;

#[derive(Debug)]
pub(super) struct Core {
    target: Duration,
    interval: Duration,
    level: u32,
    /// When the running interval began.
    since: Instant,
    /// The smallest delay in it.
    least: Option<Duration>,
    /// That of the last bad interval, to be named by rejections.
    last_bad: Duration,
    /// When nobody was seen waiting for the last time.
    empty_at: Instant,
}

impl Core {
    pub(super) fn new(config: &Shed, now: Instant) -> Self {
        let Shed { target, interval, .. } = *config;
        let (least, last_bad) = (None, Duration::ZERO);
        Self { target, interval, level: 0, since: now, least, last_bad, empty_at: now }
    }

    /// Puts other options into force. The level stays, and the interval that has begun is the first of the new length.
    pub(super) fn reconfigure(&mut self, config: &Shed, now: Instant, waiting: u32) {
        self.turn(now, waiting);
        if config.interval != self.interval {
            self.since = now;
        }
        (self.target, self.interval) = (config.target, config.interval);
    }

    pub(super) const fn level(&self) -> u32 {
        self.level
    }

    /// Decides about a call that comes at `now`, with so many waiting already.
    pub(super) fn admit(
        &mut self,
        priority: Priority,
        draw: f64,
        now: Instant,
        waiting: u32,
    ) -> Result<(), Rejected> {
        self.turn(now, waiting);
        if draw >= self.shedding(priority) {
            return Ok(());
        }
        let reason = Reason::Shed { priority, delay: self.last_bad, target: self.target };
        // So long does a class take to be let in again.
        Err(Rejected::new(NAME, reason).with_retry_after(Some(self.interval * PARTS)))
    }

    /// A call left the queue at `now` after `delay`, with its turn or without, and so many are left.
    pub(super) fn waited(&mut self, delay: Duration, now: Instant, waiting: u32) {
        self.turn(now, waiting);
        self.least = Some(self.least.map_or(delay, |least| least.min(delay)));
    }

    /// The share of a class that is shed.
    pub(super) fn shedding(&self, priority: Priority) -> f64 {
        let below = priority.rank() * PARTS as usize;
        let parts = self.level.saturating_sub(u32::try_from(below).unwrap_or(u32::MAX)).min(PARTS);
        f64::from(parts) / f64::from(PARTS)
    }

    /// Ends the intervals that are over.
    pub(super) fn turn(&mut self, now: Instant, waiting: u32) {
        let elapsed = nanos(now.saturating_duration_since(self.since));
        let intervals = elapsed / nanos(self.interval);
        if intervals > 0 {
            // Whoever waits now and did so at the start of an interval stood there all the time.
            let standing = waiting > 0 && self.empty_at <= self.since;
            match self.least.take() {
                Some(least) if least > self.target => self.raise(1, least),
                Some(_) => self.lower(1),
                None if standing => self.raise(1, self.interval),
                None => self.lower(1),
            }
            // Nothing at all happened in the others.
            if standing {
                self.raise(intervals - 1, self.interval);
            } else {
                self.lower(intervals - 1);
            }
            self.since = self.since + Duration::from_nanos(nanos(self.interval).saturating_mul(intervals));
        }
        if waiting == 0 {
            self.empty_at = self.empty_at.max(now);
        }
    }

    fn raise(&mut self, intervals: u64, delay: Duration) {
        if intervals > 0 {
            let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
            self.level = self.level.saturating_add(intervals.saturating_mul(RAISE)).min(LEVEL_MAX);
            self.last_bad = delay;
        }
    }

    fn lower(&mut self, intervals: u64) {
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
        self.level = self.level.saturating_sub(intervals.saturating_mul(LOWER));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Instant = Instant::from_nanos(100_000_000_000);
    const MS: Duration = Duration::from_millis(1);

    fn core() -> Core {
        Core::new(&Shed::default(), START)
    }

    /// So many bad intervals after another.
    fn after_bad(intervals: u32) -> (Core, Instant) {
        let mut core = core();
        for number in 0..intervals {
            core.waited(20 * MS, START + number * 100 * MS + MS, 1);
        }
        (core, START + intervals * 100 * MS)
    }

    #[derive(Clone, Copy, Debug)]
    struct Seen {
        at: Instant,
        delay: Option<Duration>,
        waiting: u32,
    }

    /// The naive model goes through everything that was seen, one interval after the other, from the start.
    fn model(seen: &[Seen], now: Instant) -> u32 {
        let (mut level, mut begin) = (0_u32, START);
        while begin + 100 * MS <= now {
            let end = begin + 100 * MS;
            let delays = seen.iter().filter(|it| it.at >= begin && it.at < end).filter_map(|it| it.delay);
            // What is known of the queue is what was seen when the interval was found to be over.
            let closing = seen.iter().find(|it| it.at >= end);
            let emptied = seen.iter().filter(|it| it.waiting == 0 && it.at < closing.map_or(now, |it| it.at));
            let stood = emptied.map(|it| it.at).max().unwrap_or(START) <= last_turn(seen, begin);
            let bad = match delays.min() {
                Some(least) => least > 5 * MS,
                None => stood && closing.is_some_and(|it| it.waiting > 0),
            };
            level = if bad { (level + 2).min(31) } else { level.saturating_sub(1) };
            begin = end;
        }
        level
    }

    /// The start of the first of the intervals that were ended together with the one that began at `begin`.
    fn last_turn(seen: &[Seen], begin: Instant) -> Instant {
        let interval = |at: Instant| at.saturating_duration_since(START).as_nanos() / 100_000_000;
        let before =
            seen.iter().filter(|it| interval(it.at) <= interval(begin)).map(|it| interval(it.at)).max();
        START + u32::try_from(before.unwrap_or(0)).unwrap() * 100 * MS
    }

    proptest! {
        #[test]
        fn it_does_what_going_through_all_intervals_says(
            steps in prop::collection::vec((0_u32..120, prop::option::weighted(0.6, 0_u32..15), 0_u32..3), 1..60),
        ) {
            let (mut core, mut now, mut seen) = (core(), START, Vec::new());
            for (pause, delay, waiting) in steps {
                now = now + pause * MS;
                let delay = delay.map(|ms| ms * MS);
                seen.push(Seen { at: now, delay, waiting });
                match delay {
                    Some(delay) => core.waited(delay, now, waiting),
                    None => core.turn(now, waiting),
                }
                prop_assert_eq!(core.level(), model(&seen, now));
            }
        }
    }

    #[test]
    fn the_lowest_class_goes_first_and_a_part_of_the_highest_stays() {
        for (bad, expected) in [
            (0, [0.0, 0.0, 0.0, 0.0]),
            (1, [0.25, 0.0, 0.0, 0.0]),
            (4, [1.0, 0.0, 0.0, 0.0]),
            (6, [1.0, 0.5, 0.0, 0.0]),
            (12, [1.0, 1.0, 1.0, 0.0]),
            (100, [1.0, 1.0, 1.0, 0.875]),
        ] {
            let (mut core, now) = after_bad(bad);
            core.turn(now, 1);
            assert_eq!(Priority::ALL.map(|priority| core.shedding(priority)), expected, "{bad}");
        }
    }

    #[test]
    fn one_call_that_did_not_wait_makes_an_interval_good() {
        let mut core = core();
        for ms in [10, 20, 30] {
            core.waited(500 * MS, START + ms * MS, 5);
        }
        core.waited(5 * MS, START + 40 * MS, 5);
        core.turn(START + 100 * MS, 5);
        assert_eq!(core.level(), 0);
    }

    #[test]
    fn a_queue_in_which_nothing_moves_is_bad_and_an_idle_one_is_good() {
        let mut core = core();
        core.turn(START, 1);
        core.turn(START + 300 * MS, 1);
        assert_eq!(core.level(), 6);
        core.turn(START + 400 * MS, 0);
        assert_eq!(core.level(), 5);
        core.turn(START + Duration::from_secs(3600), 0);
        assert_eq!(core.level(), 0);
    }

    #[test]
    fn a_rejection_names_the_delay_that_decided() {
        let (mut core, now) = after_bad(4);
        assert!(core.admit(Priority::Normal, 0.0, now, 1).is_ok());
        let rejected = core.admit(Priority::Low, 0.99, now, 1).unwrap_err();
        let reason = Reason::Shed { priority: Priority::Low, delay: 20 * MS, target: 5 * MS };
        assert_eq!((rejected.reason, rejected.retry_after), (reason, Some(800 * MS)));
    }

    #[test]
    fn a_shorter_interval_begins_with_the_reload() {
        let (mut core, now) = after_bad(4);
        core.turn(now, 1);
        let level = core.level();
        let late = now + 90 * MS;
        core.reconfigure(&Shed { interval: 10 * MS, ..Shed::default() }, late, 1);
        core.turn(late + 9 * MS, 1);
        assert_eq!(core.level(), level, "ninety milliseconds are not nine intervals of what came later");
        core.turn(late + 10 * MS, 1);
        assert!(core.level() > level);
    }

    #[test]
    fn other_options_are_those_of_the_next_interval() {
        let mut core = core();
        let options = Shed { interval: 10 * MS, target: 50 * MS, ..Shed::default() };
        core.reconfigure(&options, START, 0);
        core.waited(50 * MS, START + MS, 1);
        core.turn(START + 10 * MS, 1);
        assert_eq!(core.level(), 0, "as long as the target and no longer");
        core.waited(60 * MS, START + 11 * MS, 1);
        let rejected = core.admit(Priority::Low, 0.0, START + 20 * MS, 1).unwrap_err();
        let reason = Reason::Shed { priority: Priority::Low, delay: 60 * MS, target: 50 * MS };
        assert_eq!((core.level(), rejected.reason, rejected.retry_after), (2, reason, Some(80 * MS)));
    }
}
