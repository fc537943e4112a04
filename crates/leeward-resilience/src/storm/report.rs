//! What a storm did.

use std::fmt::Write;

/// One second of a storm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Its number, from 0.
    pub second: u32,
    /// Calls that arrived.
    pub offered: u32,
    /// Attempts that were sent: first ones, retries and hedges.
    pub attempts: u32,
    /// Calls that ended well: the goodput.
    pub good: u32,
    /// Calls that ended badly.
    pub lost: u32,
    /// Attempts that took longer than the attempt timeout, or than the deadline.
    pub timed_out: u32,
    /// Attempts that the upstream refused since its queue was full.
    pub queue_full: u32,
    /// Attempts that the breaker refused.
    pub breaker_refused: u32,
    /// Attempts that the rate limit refused.
    pub rate_refused: u32,
    /// Attempts that the concurrency limit refused, at once or after a wait.
    pub concurrency_refused: u32,
    /// Attempts that were to be sent beside another one, whether or not a policy then refused them.
    pub hedges: u32,
    /// Calls whose first good answer was that of a hedge.
    pub hedges_won: u32,
    /// Retries and hedges that the budget refused.
    pub budget_refused: u32,
    /// Attempts that were worked on after their caller had given up.
    pub wasted: u32,
}

impl Second {
    pub(super) fn new(second: u32) -> Self {
        Self { second, ..Self::default() }
    }

    /// Attempts for each call that arrived.
    #[must_use]
    pub fn amplification(&self) -> f64 {
        f64::from(self.attempts) / f64::from(self.offered.max(1))
    }
}

/// Every second of a storm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In the order of time.
    pub seconds: Vec<Second>,
}

/// Columns of the picture.
const WIDTH: u32 = 60;

impl Report {
    /// One line a second, with a header.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut csv = String::from(
            "second,offered,attempts,good,lost,amplification,timed_out,queue_full,breaker_refused,budget_refused,wasted,rate_refused,concurrency_refused,hedges,hedges_won\n",
        );
        for it in &self.seconds {
            let Second { second, offered, attempts, good, lost, timed_out, queue_full, .. } = it;
            let Second { breaker_refused, budget_refused, wasted, .. } = it;
            let Second { rate_refused, concurrency_refused, hedges, hedges_won, .. } = it;
            let amplification = it.amplification();
            // Writing into a string cannot fail.
            let _ = writeln!(
                csv,
                "{second},{offered},{attempts},{good},{lost},{amplification:.2},{timed_out},{queue_full},{breaker_refused},{budget_refused},{wasted},{rate_refused},{concurrency_refused},{hedges},{hedges_won}",
            );
        }
        csv
    }

    /// One line a second: `#` is a call that ended well, `-` an attempt beyond those, all in one scale.
    #[must_use]
    pub fn picture(&self) -> String {
        let most = self.seconds.iter().map(|it| it.attempts.max(it.good)).max().unwrap_or(0).max(1);
        let columns = |count: u32| {
            let columns = u64::from(count) * u64::from(WIDTH) / u64::from(most);
            usize::try_from(columns).unwrap_or(0)
        };
        let mut picture = format!(
            "  sec offered attempts   good  x    (# good, - attempts beyond; {WIDTH} columns = {most})\n"
        );
        for it in &self.seconds {
            let good = columns(it.good);
            let beyond = columns(it.attempts).saturating_sub(good);
            let _ = writeln!(
                picture,
                "{:>5} {:>7} {:>8} {:>6} {:>4.1} {}{}",
                it.second,
                it.offered,
                it.attempts,
                it.good,
                it.amplification(),
                "#".repeat(good),
                "-".repeat(beyond),
            );
        }
        picture
    }

    /// Calls that ended well in these seconds, for each that arrived in them.
    #[must_use]
    pub fn goodput(&self, from: u32, to: u32) -> f64 {
        let (good, offered) = self.sums(from, to, |it| it.good);
        good / offered
    }

    /// Attempts in these seconds, for each call that arrived in them.
    #[must_use]
    pub fn amplification(&self, from: u32, to: u32) -> f64 {
        let (attempts, offered) = self.sums(from, to, |it| it.attempts);
        attempts / offered
    }

    fn sums(&self, from: u32, to: u32, count: impl Fn(&Second) -> u32) -> (f64, f64) {
        let within = || self.seconds.iter().filter(|it| (from..to).contains(&it.second));
        let offered: f64 = within().map(|it| f64::from(it.offered)).sum();
        (within().map(|it| f64::from(count(it))).sum(), offered.max(1.0))
    }
}
