//! Which of several services answers a request of one route.
//!
//! **Rule.** Each service of a split has a share of the requests: its weight over the sum of all weights. Requests are dealt out
//! by chance, each for itself, or in turns: then of as many requests in a row as the weights sum up to, each service gets
//! exactly its weight, spread over all of them. A weight of 0 gets none.

mod shares;

use std::fmt;
use std::sync::Arc;

use leeward_resilience::config::units::show_percentage;

pub(crate) use self::shares::Shares;

/// Most services of a split: they are looked at one after the other.
pub const ARMS_MAX: usize = 16;
/// The weight of 100 %: shares are told apart by a hundredth of a percent.
pub const WHOLE: u32 = 10_000;
/// The largest weight in parts.
pub const PARTS_MAX: u32 = 1_000_000;

/// Services that share a route's requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Split {
    /// Each once, in the order of the file.
    pub arms: Vec<Arm>,
    /// How the weights are written.
    pub unit: Unit,
    /// How requests are dealt out.
    pub deal: Deal,
}

/// One service of a split.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arm {
    /// Its name.
    pub service: Arc<str>,
    /// Its weight, in parts or hundredths of a percent.
    pub weight: u32,
}

/// How weights are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// `90%`: all of them are 100 %.
    Percent,
    /// `9`: of as many as all of them are.
    Parts,
}

/// How requests are dealt out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Deal {
    /// Each for itself. The default: it needs nothing that cores share.
    #[default]
    Random,
    /// One after the other, over all cores.
    Turns,
}

impl Deal {
    /// How they are written.
    pub const ALL: [(&str, Self); 2] = [("random", Self::Random), ("turns", Self::Turns)];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Turns => "turns",
        }
    }
}

impl Split {
    /// The share of an arm, as a person reads it.
    #[must_use]
    pub fn share(&self, arm: &Arm) -> String {
        let all: u32 = self.arms.iter().map(|arm| arm.weight).sum();
        show_percentage(
            (f64::from(arm.weight) * f64::from(WHOLE) / f64::from(all.max(1))).round() / f64::from(WHOLE),
        )
    }

    /// A weight, as it is written.
    #[must_use]
    pub fn written(&self, arm: &Arm) -> String {
        match self.unit {
            Unit::Percent => show_percentage(f64::from(arm.weight) / f64::from(WHOLE)),
            Unit::Parts => arm.weight.to_string(),
        }
    }

    pub(crate) fn shares(&self) -> Shares {
        Shares::new(self.arms.iter().map(|arm| arm.weight))
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, arm) in self.arms.iter().enumerate() {
            let between = if at == 0 { "" } else { ", " };
            write!(f, "{between}{} {}", arm.service, self.share(arm))?;
        }
        Ok(())
    }
}
