//! The scenarios that a plan gives.

use std::fmt;

use crate::executor::{Moment, Point};
use crate::plan::{Kind, Plan, Way};
use crate::status::Status;

/// What goes wrong in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scenario {
    pub(super) trouble: Trouble,
    /// The pivot is rejected, so that everything is undone.
    pub(super) compensates: bool,
    pub(super) expected: Status,
    words: String,
}

/// Where trouble comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    Crash(Point),
    Outcome { step: usize, undo: bool, injected: Injected },
}

/// What a step comes to, once, instead of what it would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Injected {
    /// The other side says no; there is no effect.
    Rejected,
    /// There is no effect.
    Transient,
    /// There is no effect, but nobody knows.
    UnknownBefore,
    /// There is the effect, but nobody knows.
    UnknownAfter,
}

const MOMENTS: [Moment; 3] = [Moment::BeforeEffect, Moment::AfterEffect, Moment::AfterCommit];
const INJECTED: [Injected; 4] =
    [Injected::Rejected, Injected::Transient, Injected::UnknownBefore, Injected::UnknownAfter];

/// All scenarios of a plan.
pub(super) fn all(plan: &Plan) -> Vec<Scenario> {
    let mut all = Vec::new();
    for compensates in [false, true] {
        let natural = if compensates { Status::Compensated } else { Status::Completed };
        all.push(Scenario::new(plan, Trouble::None, compensates, natural));
        for moment in MOMENTS {
            let point = Point { step: None, undo: false, moment };
            all.push(Scenario::new(plan, Trouble::Crash(point), compensates, natural));
        }
        for step in 0..plan.steps.len() {
            of_handler(plan, step, compensates, natural, &mut all);
        }
    }
    all
}

/// What can go wrong with a step's action on the way forward, or with its undo on the way back.
fn of_handler(plan: &Plan, step: usize, undo: bool, natural: Status, all: &mut Vec<Scenario>) {
    let this = &plan.steps[step];
    let way = if undo { this.undo_way() } else { Some(this.way()) };
    let Some(way) = way else { return };
    for moment in MOMENTS {
        if way == Way::Signal || way == Way::Sleep {
            // They have no effect to die before or after; their commit is like any other.
            continue;
        }
        all.push(Scenario::new(
            plan,
            Trouble::Crash(Point { step: Some(step), undo, moment }),
            undo,
            natural,
        ));
    }
    for injected in INJECTED {
        let fits = match way {
            Way::Call | Way::Command => true,
            // The effect and its record are one: what is not recorded did not happen.
            Way::Tx => injected != Injected::UnknownAfter,
            Way::Signal | Way::Sleep => false,
        };
        let turns_round = !undo && injected == Injected::Rejected && this.kind != Kind::Retriable;
        let expected = if turns_round { Status::Compensated } else { natural };
        if fits {
            all.push(Scenario::new(plan, Trouble::Outcome { step, undo, injected }, undo, expected));
        }
    }
}

impl Scenario {
    fn new(plan: &Plan, trouble: Trouble, compensates: bool, expected: Status) -> Self {
        let name = |step: usize, undo: bool| {
            let name = plan.steps[step].name;
            if undo { format!("the undo of `{name}`") } else { format!("`{name}`") }
        };
        let trouble_words = match trouble {
            Trouble::None => "no trouble".to_owned(),
            Trouble::Crash(Point { step, undo, moment }) => {
                let place = step.map_or_else(|| "the end".to_owned(), |step| name(step, undo));
                format!("the process dies {} {place}", words(moment))
            }
            Trouble::Outcome { step, undo, injected } => format!("{} {}", name(step, undo), injected.words()),
        };
        let words = if compensates { format!("compensating, {trouble_words}") } else { trouble_words };
        Self { trouble, compensates, expected, words }
    }

    pub(super) const fn is_crash(&self) -> bool {
        matches!(self.trouble, Trouble::Crash(_))
    }

    /// Whether this action or undo is the one that the other side refuses.
    pub(super) fn is_refusal_of(&self, at: usize, in_undo: bool) -> bool {
        self.trouble == Trouble::Outcome { step: at, undo: in_undo, injected: Injected::Rejected }
    }

    pub(super) const fn is_outcome(&self) -> bool {
        matches!(self.trouble, Trouble::Outcome { .. })
    }
}

impl Injected {
    const fn words(self) -> &'static str {
        match self {
            Self::Rejected => "is rejected",
            Self::Transient => "fails in passing",
            Self::UnknownBefore => "does not happen, and its outcome is unknown",
            Self::UnknownAfter => "happens, and its outcome is unknown",
        }
    }
}

const fn words(moment: Moment) -> &'static str {
    match moment {
        Moment::BeforeEffect => "before the effect of",
        Moment::AfterEffect => "after the effect of",
        Moment::AfterCommit => "after the commit of",
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}
