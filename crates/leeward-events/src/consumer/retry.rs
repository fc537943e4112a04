//! When a failed event is tried again, and when no more: the decision, without any store or clock.

use std::time::Duration;

use leeward_resilience::Rng;

use super::handler::Fault;
use crate::backoff::Backoff;

/// How often, and after which delays, a failed event is handed to its handler again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redelivery {
    /// Attempts before an event becomes a dead letter, the first included. 1 or more, default 10: with the default delays about a
    /// minute, which outlasts a restart of whatever the handler depends on.
    pub attempts_max: u32,
    /// The upper end of the first delay. Default 100 ms.
    pub first: Duration,
    /// The upper end of every delay. Default 30 s.
    pub longest: Duration,
    /// Events that may be set aside before the consumer takes no more from the bus. Default 10 000: when that much fails it is not
    /// the events, and a growing lag says so better than dead letters do. One transaction may go past it.
    pub parked_max: usize,
}

impl Default for Redelivery {
    fn default() -> Self {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(30));
        Self { attempts_max: 10, first, longest, parked_max: 10_000 }
    }
}

/// What becomes of an event that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is tried again at this time.
    RetryAt { unix_ms: i64 },
    /// It waits for somebody.
    DeadLetter,
}

impl Redelivery {
    /// The same with other attempts.
    #[must_use]
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts.max(1);
        self
    }

    /// The same with other delays.
    #[must_use]
    pub fn delays(mut self, first: Duration, longest: Duration) -> Self {
        (self.first, self.longest) = (first, longest);
        self
    }

    /// The same with another bound on events set aside.
    #[must_use]
    pub fn parked_max(mut self, events: usize) -> Self {
        self.parked_max = events.max(1);
        self
    }

    /// What becomes of an event whose attempt number `attempts`, from 1, has failed.
    pub(crate) fn fate(&self, fault: &Fault, attempts: u32, now_ms: i64, rng: &dyn Rng) -> Fate {
        match fault {
            Fault::Poison(_) => Fate::DeadLetter,
            Fault::Retry(_) if attempts >= self.attempts_max => Fate::DeadLetter,
            Fault::Retry(_) => {
                let delay = Backoff { first: self.first, longest: self.longest }.delay(attempts, rng);
                let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
                Fate::RetryAt { unix_ms: now_ms.saturating_add(delay_ms) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeward_resilience::FastRng;

    #[test]
    fn an_event_is_tried_as_often_as_told_and_poison_never_again() {
        let rng = FastRng::seeded(1);
        let policy = Redelivery::default().attempts_max(3);
        let retry = Fault::Retry("busy".into());
        for (attempts, dead) in [(1, false), (2, false), (3, true), (4, true)] {
            let fate = policy.fate(&retry, attempts, 1000, &rng);
            assert_eq!(fate == Fate::DeadLetter, dead, "{attempts}");
            if let Fate::RetryAt { unix_ms } = fate {
                let whole = 100 << (attempts - 1);
                assert!((1000 + whole / 2..=1000 + whole).contains(&unix_ms), "{unix_ms}");
            }
        }
        assert_eq!(policy.fate(&Fault::Poison("no".into()), 1, 1000, &rng), Fate::DeadLetter);
    }
}
