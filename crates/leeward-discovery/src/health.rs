//! Active health: what the answers to regular questions say about an endpoint. The pure part.

use std::num::NonZeroU32;
use std::time::Duration;

use leeward_resilience::ConfigErrors;

use crate::outlier::mistake;

/// Options of active health checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked for with GET; any 2xx is healthy. Default `/health/ready`.
    pub path: String,
    /// The time between two questions, to which comes up to a tenth as jitter. Default 2 s.
    pub interval: Duration,
    /// An answer must come within. Default 1 s.
    pub timeout: Duration,
    /// Bad answers in a row that make an endpoint unhealthy. Default 2: one may be chance.
    pub fall: NonZeroU32,
    /// Good answers in a row that make it healthy again. Default 1: ready is ready.
    pub rise: NonZeroU32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: "/health/ready".to_owned(),
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            fall: const { NonZeroU32::new(2).expect("the default is not zero") },
            rise: NonZeroU32::MIN,
        }
    }
}

impl Health {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        if !self.path.starts_with('/') || self.path.parse::<http::uri::PathAndQuery>().is_err() {
            errors.mistakes.push(mistake("health.path", &self.path, "a path that starts with /"));
        }
        if self.interval < Duration::from_millis(100) {
            errors.mistakes.push(mistake("health.interval", &self.interval, "at least 100ms"));
        }
        if self.timeout.is_zero() || self.timeout > self.interval {
            errors.mistakes.push(mistake(
                "health.timeout",
                &self.timeout,
                "more than 0, at most the interval",
            ));
        }
        if errors.mistakes.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// What is known about an endpoint's health. Nothing yet counts as healthy, so that the first call need not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pulse {
    healthy: bool,
    /// Answers in a row that say the opposite.
    against: u32,
}

impl Pulse {
    pub(crate) const fn new() -> Self {
        Self { healthy: true, against: 0 }
    }

    /// Takes an answer in, and says the new state when it changed.
    pub(crate) fn record(&mut self, good: bool, options: &Health) -> Option<bool> {
        if good == self.healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if self.healthy { options.fall } else { options.rise };
        if self.against < needed.get() {
            return None;
        }
        *self = Self { healthy: good, against: 0 };
        Some(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_changes_after_answers_in_a_row() {
        let options = Health { rise: NonZeroU32::new(3).unwrap(), ..Health::default() };
        let mut pulse = Pulse::new();
        let answers = [true, false, true, false, false, false, true, true, false, true, true, true, true];
        let changes: Vec<_> = answers.map(|good| pulse.record(good, &options)).into_iter().collect();
        let mut expected = [None; 13];
        expected[4] = Some(false);
        expected[11] = Some(true);
        assert_eq!(changes, expected);
    }

    #[test]
    fn mistakes_are_reported_together() {
        let wrong = Health { path: "ready".into(), timeout: Duration::from_secs(9), ..Health::default() };
        let errors = wrong.validate().unwrap_err();
        assert_eq!(errors.paths(), ["health.path", "health.timeout"]);
        assert_eq!(Health::default().validate(), Ok(()));
    }
}
