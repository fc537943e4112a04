//! A definition without its code: the named steps, what kind each is, and how patient.

use std::fmt;
use std::ops::RangeInclusive;

use crate::retry::Retry;

/// Steps of a definition, at most: a set of them is one word.
pub const STEPS_MAX: usize = 64;

/// The graph of a saga: known before it runs, so that a picture, a fingerprint and the exhaustive tests come from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(crate) name: &'static str,
    pub(crate) revision: u32,
    pub(crate) steps: Vec<StepPlan>,
}

/// One step of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepPlan {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) action: HandlerPlan,
    pub(crate) undo: Option<HandlerPlan>,
}

/// What may happen after a step failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Before the pivot: can be undone.
    Compensatable,
    /// The point of no return: done or rejected, it decides which way the saga goes.
    Pivot,
    /// After the pivot: must succeed in the end.
    Retriable,
}

/// How an action or an undo is carried out, without its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandlerPlan {
    pub(crate) way: Way,
    pub(crate) retry: Retry,
    /// An undo that may go on while a later step's undo is stuck.
    pub(crate) independent: bool,
}

/// The way an action or an undo is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// An outside call.
    Call,
    /// A change in the saga's own database, in the journal's transaction.
    Tx,
    /// A command sent in the journal's transaction, then its reply.
    Command,
    /// A named signal from outside.
    Signal,
    /// A length of time.
    Sleep,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Tx => "tx",
            Self::Command => "command",
            Self::Signal => "signal",
            Self::Sleep => "sleep",
        }
    }

    /// Whether an effect may exist that the journal does not know of after a crash.
    pub(crate) const fn is_external(self) -> bool {
        matches!(self, Self::Call)
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Compensatable => "compensatable",
            Self::Pivot => "pivot",
            Self::Retriable => "retriable",
        }
    }
}

impl Plan {
    /// The definition's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The steps in their order.
    #[must_use]
    pub fn steps(&self) -> &[StepPlan] {
        &self.steps
    }

    /// The position of the step called `name`.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.name == name)
    }

    /// What is pinned in a saga's row when it starts: revision, steps, kinds and ways, as text that an operator can read.
    ///
    /// Policies are not part of it: more patience does not change what a saga means.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        use fmt::Write as _;
        let mut text = format!("r{}", self.revision);
        for step in &self.steps {
            let undo = step.undo.map_or("-", |undo| undo.way.name());
            // Writing to a String cannot fail.
            let _ = write!(text, " {}={}:{}/{undo}", step.name, step.kind.name(), step.action.way.name());
        }
        text
    }
}

impl StepPlan {
    /// The step's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What may happen after it failed.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// How its action is carried out.
    #[must_use]
    pub const fn way(&self) -> Way {
        self.action.way
    }

    /// How its undo is carried out; none when there is nothing to undo.
    #[must_use]
    pub fn undo_way(&self) -> Option<Way> {
        self.undo.map(|undo| undo.way)
    }
}

/// The picture: one step a line.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (revision {})", self.name, self.revision)?;
        for step in &self.steps {
            write!(f, "\n  {:<24} {:<14} {}", step.name, step.kind.name(), step.action.way.name())?;
            if let Some(undo) = &step.undo {
                write!(f, ", undo {}", undo.way.name())?;
            }
        }
        Ok(())
    }
}

/// Whether a saga pinned to the fingerprint `pinned` can go on under `plan`, having come as far as its step number `reach`; none when
/// no step of its own matters any more.
///
/// It can when the revisions agree and the steps up to and with `reach` are the same: what lies ahead may change, what was done or
/// may have been done may not.
pub(crate) fn can_resume(pinned: &str, plan: &Plan, reach: Option<usize>) -> bool {
    let current = plan.fingerprint();
    let (mut was, mut is) = (pinned.split(' '), current.split(' '));
    if was.next() != is.next() {
        return false;
    }
    let Some(reach) = reach else { return true };
    let range: RangeInclusive<usize> = 0..=reach;
    range.into_iter().all(|_| match (was.next(), is.next()) {
        (Some(was), Some(is)) => was == is,
        _ => false,
    })
}

/// The steps of a fingerprint, in their order.
pub(crate) fn pinned_steps(fingerprint: &str) -> impl Iterator<Item = &str> {
    fingerprint.split(' ').skip(1).map(|step| step.split('=').next().unwrap_or(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(steps: &[(&'static str, Kind, Way)]) -> Plan {
        let steps = steps
            .iter()
            .map(|&(name, kind, way)| StepPlan {
                name,
                kind,
                action: HandlerPlan { way, retry: Retry::ACTION, independent: false },
                undo: None,
            })
            .collect();
        Plan { name: "trip", revision: 1, steps }
    }

    #[test]
    fn what_lies_ahead_may_change() {
        let old = plan(&[("car", Kind::Compensatable, Way::Call), ("pay", Kind::Pivot, Way::Call)]);
        let new = plan(&[
            ("car", Kind::Compensatable, Way::Call),
            ("hotel", Kind::Compensatable, Way::Call),
            ("pay", Kind::Pivot, Way::Call),
        ]);
        assert!(can_resume(&old.fingerprint(), &new, Some(0)));
        assert!(
            !can_resume(&old.fingerprint(), &new, Some(1)),
            "`pay` may have been tried; `hotel` was not booked"
        );
    }

    #[test]
    fn another_way_kind_or_revision_is_refused() {
        let old = plan(&[("car", Kind::Compensatable, Way::Call), ("pay", Kind::Pivot, Way::Call)]);
        let way = plan(&[("car", Kind::Compensatable, Way::Tx), ("pay", Kind::Pivot, Way::Call)]);
        let kind = plan(&[("car", Kind::Pivot, Way::Call), ("pay", Kind::Retriable, Way::Call)]);
        let revision = Plan { revision: 2, ..old.clone() };
        for new in [way, kind, revision] {
            assert!(!can_resume(&old.fingerprint(), &new, Some(0)));
        }
        assert!(can_resume(&old.fingerprint(), &old, Some(1)));
    }

    #[test]
    fn pinned_steps_are_readable() {
        let old = plan(&[("car", Kind::Compensatable, Way::Call), ("pay", Kind::Pivot, Way::Call)]);
        assert_eq!(pinned_steps(&old.fingerprint()).collect::<Vec<_>>(), ["car", "pay"]);
    }
}
