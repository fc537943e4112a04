//! The pure rule: what probes have waited, to whether the core is behind; a priority, to how long a request may wait.

use std::time::Duration;

use leeward_resilience::{Instant, Priority};

use crate::config::Shed;

/// What was seen of one core.
#[derive(Default, Debug)]
pub(super) struct Rule {
    is_behind: bool,
    /// Since when every probe was on the same side of the target, and on which.
    since: Option<(Instant, bool)>,
    /// When the last one came through.
    seen_at: Option<Instant>,
}

impl Rule {
    /// A probe came through at `now` that had waited for `delay`. Whether the core is behind.
    pub(super) fn seen(&mut self, options: &Shed, delay: Duration, now: Instant) -> bool {
        let Shed { target, interval, .. } = *options;
        let set_out = now.saturating_sub(delay);
        // Where nobody looked for an interval, nothing is known of what was between.
        let is_gap = self.seen_at.is_none_or(|at| set_out.saturating_duration_since(at) > interval);
        if is_gap {
            (self.since, self.is_behind) = (None, false);
        }
        self.seen_at = Some(now);
        let is_late = delay > target;
        let since = match self.since {
            Some((since, side)) if side == is_late => since,
            _ => now,
        };
        self.since = Some((since, is_late));
        if now.saturating_duration_since(since) >= interval {
            self.is_behind = is_late;
        }
        self.is_behind
    }
}

/// How long a request of this priority may wait on a core that is behind.
pub(crate) fn allowed(target: Duration, priority: Priority) -> Duration {
    target
        * match priority {
            Priority::Low => 1,
            Priority::Normal => 2,
            Priority::High => 4,
            Priority::Critical => 8,
        }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const START: Instant = Instant::from_nanos(1_000_000_000);

    /// The naive model looks back over everything that was seen.
    fn model(seen: &[(Instant, Duration)]) -> bool {
        let mut is_behind = false;
        for (at, &(now, delay)) in seen.iter().enumerate() {
            let is_gap = |at: usize| {
                let (now, delay) = seen[at];
                at == 0 || now.saturating_sub(delay).saturating_duration_since(seen[at - 1].0) > 100 * MS
            };
            if is_gap(at) {
                is_behind = false;
            }
            let is_late = delay > 20 * MS;
            let run = (0..=at).rev().take_while(|&it| (seen[it].1 > 20 * MS) == is_late);
            let from_gap = (0..=at).rev().find(|&it| is_gap(it)).unwrap_or(0);
            let first = run.last().unwrap_or(at).max(from_gap);
            if now.saturating_duration_since(seen[first].0) >= 100 * MS {
                is_behind = is_late;
            }
        }
        is_behind
    }

    proptest! {
        #[test]
        fn it_does_what_looking_back_over_all_says(
            steps in prop::collection::vec((0_u32..160, 0_u32..60), 1..80),
        ) {
            let (mut rule, mut now, mut all) = (Rule::default(), START, Vec::new());
            for (pause, delay) in steps {
                // Most probes follow at once.
                let pause = if pause > 110 { pause } else { pause % 8 };
                now = now + (pause + delay) * MS;
                all.push((now, delay * MS));
                prop_assert_eq!(rule.seen(&Shed::default(), delay * MS, now), model(&all));
            }
        }
    }

    /// One probe each millisecond beyond its own wait.
    fn after(rule: &mut Rule, delays: &[u32], from: Instant) -> (bool, Instant) {
        let mut now = from;
        let mut is_behind = false;
        for &delay in delays {
            now = now + (delay + 1) * MS;
            is_behind = rule.seen(&Shed::default(), delay * MS, now);
        }
        (is_behind, now)
    }

    #[test]
    fn a_queue_that_stands_is_behind_and_one_that_drains_is_not() {
        assert!(after(&mut Rule::default(), &[21; 6], START).0);
        assert!(!after(&mut Rule::default(), &[21, 21, 21, 21, 20, 21, 21, 21, 21], START).0, "it drained");
        assert!(!after(&mut Rule::default(), &[5_000], START).0, "one stall, however long");
        assert!(!after(&mut Rule::default(), &[20; 100], START).0, "as long as the target and no longer");
    }

    #[test]
    fn it_goes_by_what_is_configured() {
        let behind_after = |target: u32, interval: u32, delay: u32| {
            let options = Shed { target: target * MS, interval: interval * MS, ..Shed::default() };
            let mut rule = Rule::default();
            (1..=100).find(|number| rule.seen(&options, delay * MS, START + *number * delay * MS))
        };
        // The interval begins when the first one has come through.
        assert_eq!(behind_after(5, 40, 6), Some(8));
        assert_eq!(behind_after(6, 40, 6), None);
        assert_eq!(behind_after(5, 400, 10), Some(41));
        assert_eq!(behind_after(50, 400, 40), None);
    }

    #[test]
    fn it_is_over_after_an_interval_of_keeping_up() {
        let mut rule = Rule::default();
        let (_, now) = after(&mut rule, &[50; 6], START);
        let (still, now) = after(&mut rule, &[9; 10], now);
        assert!(still);
        assert!(!after(&mut rule, &[9; 2], now).0);
    }

    #[test]
    fn nothing_is_known_of_a_time_without_probes() {
        let mut rule = Rule::default();
        let (behind, now) = after(&mut rule, &[50; 6], START);
        assert!(behind);
        assert!(!rule.seen(&Shed::default(), 50 * MS, now + 151 * MS));
        let (_, now) = after(&mut Rule::default(), &[21; 4], START);
        assert!(!after(&mut rule, &[21], now + 500 * MS).0, "nor does it go on where it was");
    }

    #[test]
    fn each_class_may_wait_twice_as_long_as_the_one_below() {
        let times = Priority::ALL.map(|priority| allowed(MS, priority));
        assert_eq!(times, [MS, 2 * MS, 4 * MS, 8 * MS]);
    }
}
