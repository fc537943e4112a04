//! What goes wrong on purpose, and when.

use std::sync::Arc;

use leeward_resilience::Rng;
use parking_lot::RwLock;
use shop_contracts::provider::Faults;

/// Most time that one operation may be held up.
const LATENCY_MAX_MS: u64 = 60_000;

/// The faults in force. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Switches {
    faults: Arc<RwLock<Faults>>,
    rng: Arc<dyn Rng>,
}

/// What is to happen to one operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fate {
    pub(crate) latency_ms: u64,
    pub(crate) refused: bool,
    pub(crate) error: bool,
    pub(crate) reply_lost: bool,
    pub(crate) refunds_refused: bool,
}

impl Switches {
    pub(crate) fn new(rng: Arc<dyn Rng>) -> Self {
        Self { faults: Arc::default(), rng }
    }

    pub(crate) fn get(&self) -> Faults {
        *self.faults.read()
    }

    /// Puts `faults` in force.
    ///
    /// # Errors
    /// What is out of its range.
    pub(crate) fn set(&self, faults: Faults) -> Result<(), &'static str> {
        let share = |rate: f64| (0.0..=1.0).contains(&rate);
        if !share(faults.error_rate) || !share(faults.lost_reply_rate) {
            return Err("error_rate and lost_reply_rate are shares from 0 to 1");
        }
        if faults.latency_ms > LATENCY_MAX_MS {
            return Err("latency_ms is 60000 at most");
        }
        *self.faults.write() = faults;
        Ok(())
    }

    /// Rolls the dice for one operation.
    pub(crate) fn roll(&self) -> Fate {
        let faults = self.get();
        let hit = |rate: f64| rate > 0.0 && self.rng.unit_f64() < rate;
        Fate {
            latency_ms: faults.latency_ms,
            refused: faults.refuse_all,
            error: hit(faults.error_rate),
            reply_lost: hit(faults.lost_reply_rate),
            refunds_refused: faults.refuse_refunds,
        }
    }
}

#[cfg(test)]
mod tests {
    use leeward_resilience::FastRng;

    use super::*;

    #[test]
    fn rates_are_shares_and_certain_at_their_ends() {
        let switches = Switches::new(Arc::new(FastRng::seeded(1)));
        for rate in [-0.1, 1.1, f64::NAN] {
            assert!(switches.set(Faults { error_rate: rate, ..Faults::default() }).is_err());
            assert!(switches.set(Faults { lost_reply_rate: rate, ..Faults::default() }).is_err());
        }
        assert!(switches.set(Faults { latency_ms: 60_001, ..Faults::default() }).is_err());
        assert_eq!(switches.get(), Faults::default(), "what is refused is not in force");

        let quiet = switches.roll();
        assert!(!quiet.error && !quiet.reply_lost && !quiet.refused);
        switches.set(Faults { error_rate: 1.0, lost_reply_rate: 0.5, ..Faults::default() }).unwrap();
        let fates: Vec<_> = (0..200).map(|_| switches.roll()).collect();
        assert!(fates.iter().all(|fate| fate.error));
        let lost = fates.iter().filter(|fate| fate.reply_lost).count();
        assert!((60..140).contains(&lost), "{lost} of 200");
    }
}
