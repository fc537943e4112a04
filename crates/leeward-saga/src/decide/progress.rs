//! Where a saga stands.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Moment;
use crate::outcome::{End, Reason};
use crate::retry::Retry;

/// Where a saga stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Steps whose effect stands: done by their action or by hand, and not undone.
    pub done: StepSet,
    /// Undos that gave up, in the order in which they did. Their steps are still in `done`.
    pub failed: Vec<FailedUndo>,
}

/// An undo that gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedUndo {
    /// The step's position.
    pub at: usize,
    /// Its attempts so far.
    pub tries: Tries,
    /// Whether the other side refused it: then trying again needs a new key.
    pub rejected: bool,
    /// What went wrong, for operators.
    pub fault: Arc<str>,
}

/// What a saga is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Carrying out the action of step `at`.
    Forward {
        /// The step's position.
        at: usize,
        /// Its attempts.
        tries: Tries,
    },
    /// Carrying out the undo of step `at`.
    Backward {
        /// The step's position.
        at: usize,
        /// The undo's attempts.
        tries: Tries,
        /// Why the saga compensates.
        why: Reason,
    },
    /// All steps are through; the hook at the end is due.
    Ending {
        /// Which end.
        end: End,
        /// The hook's attempts.
        tries: Tries,
    },
    /// Only an operator can help.
    Stuck(Held),
    /// Over.
    Ended(End),
}

/// What an operator has to decide about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// An action after the pivot that was rejected.
    Action {
        /// The step's position.
        at: usize,
        /// Its attempts.
        tries: Tries,
        /// What went wrong, for operators.
        fault: Arc<str>,
    },
    /// An undo that gave up, and with it those of earlier steps. The last step comes first.
    Undo {
        /// Which.
        failed: FailedUndo,
        /// Why the saga compensates.
        why: Reason,
    },
}

/// The attempts of the current action, undo or hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// The business attempt, from 1. It is part of the idempotency key, and goes up only after a rejection that an operator wants tried
    /// again: the other side would repeat its "no" for the old key.
    pub business: u32,
    /// The attempt that is due or under way, from 1.
    pub attempt: u32,
    /// An earlier attempt may have had its effect: reconcile.
    pub in_doubt: bool,
    /// When this business attempt became due, in milliseconds since 1970: no effect under its key is older.
    pub since_ms: i64,
    /// What it waits for.
    pub wait: Wait,
}

/// What the current attempt waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Nothing: it is to be made, or under way.
    Ready,
    /// The time of the next attempt.
    Backoff {
        /// Milliseconds since 1970.
        due_ms: i64,
    },
    /// A reply, a signal, or the end of a sleep.
    Reply {
        /// Until then; milliseconds since 1970.
        due_ms: i64,
    },
}

/// What is to be done next. Follows from the progress alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Carry out the current action.
    Act(usize),
    /// Carry out the current undo.
    Undo(usize),
    /// Run the hook at the end and close the saga in the same transaction.
    Finish,
    /// Wait for the time of the next attempt.
    Backoff {
        /// Milliseconds since 1970.
        due_ms: i64,
    },
    /// Wait for the reply to the current action or undo.
    Reply {
        /// Until then; milliseconds since 1970.
        due_ms: i64,
    },
    /// Nothing, until an operator decides.
    Halt,
    /// Nothing any more.
    Over,
}

impl Tries {
    pub(crate) const fn first(at: Moment) -> Self {
        Self::business(1, at)
    }

    pub(crate) const fn business(business: u32, at: Moment) -> Self {
        Self { business, attempt: 1, in_doubt: false, since_ms: at.now_ms, wait: Wait::Ready }
    }

    pub(crate) const fn ready(self) -> Self {
        Self { wait: Wait::Ready, ..self }
    }

    pub(crate) const fn doubted(self) -> Self {
        Self { in_doubt: true, ..self }
    }

    /// The next attempt, at once.
    pub(crate) const fn again(self) -> Self {
        Self { attempt: self.attempt.saturating_add(1), wait: Wait::Ready, ..self }
    }

    /// The next attempt, after the policy's wait.
    pub(crate) fn backing_off(self, retry: &Retry, in_doubt: bool, at: Moment) -> Self {
        let due_ms = at.now_ms.saturating_add(retry.wait_ms(self.attempt, at.jitter));
        Self { in_doubt, wait: Wait::Backoff { due_ms }, ..self.again() }
    }

    /// Waiting for a reply. Each time none comes the wait doubles, up to [`REPLY_WAIT_MAX_MS`], so that a long outage of the other
    /// side does not fill the outbox.
    pub(crate) fn awaiting(self, within_ms: i64, at: Moment) -> Self {
        let doublings = self.attempt.saturating_sub(1).min(20);
        let wait_ms = within_ms.saturating_mul(1 << doublings).min(within_ms.max(REPLY_WAIT_MAX_MS));
        Self { wait: Wait::Reply { due_ms: at.now_ms.saturating_add(wait_ms) }, ..self }
    }
}

/// The longest wait for a reply to a command that is sent again, unless its own is longer: two minutes.
const REPLY_WAIT_MAX_MS: i64 = 120_000;

impl Phase {
    /// The phase in words.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Forward { tries, .. } => match tries.wait {
                Wait::Ready => "acting",
                Wait::Backoff { .. } => "backing off",
                Wait::Reply { .. } => "waiting for a reply",
            },
            Self::Backward { tries, .. } => match tries.wait {
                Wait::Ready => "undoing",
                Wait::Backoff { .. } => "backing off from an undo",
                Wait::Reply { .. } => "waiting for an undo's reply",
            },
            Self::Ending { .. } => "ending",
            Self::Stuck(_) => "stuck",
            Self::Ended(_) => "over",
        }
    }
}

impl Progress {
    /// A saga that was just started.
    #[must_use]
    pub fn start(at: Moment) -> Self {
        let phase = Phase::Forward { at: 0, tries: Tries::first(at) };
        Self { phase, done: StepSet::EMPTY, failed: Vec::new() }
    }

    /// What is to be done next.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        let (tries, ready) = match &self.phase {
            Phase::Forward { at, tries } => (tries, Effect::Act(*at)),
            Phase::Backward { at, tries, .. } => (tries, Effect::Undo(*at)),
            Phase::Ending { tries, .. } => (tries, Effect::Finish),
            Phase::Stuck(_) => return Effect::Halt,
            Phase::Ended(_) => return Effect::Over,
        };
        match tries.wait {
            Wait::Ready => ready,
            Wait::Backoff { due_ms } => Effect::Backoff { due_ms },
            Wait::Reply { due_ms } => Effect::Reply { due_ms },
        }
    }

    /// The position of the step that is acted on or held up.
    #[must_use]
    pub const fn step(&self) -> Option<usize> {
        match &self.phase {
            Phase::Forward { at, .. } | Phase::Backward { at, .. } => Some(*at),
            Phase::Stuck(Held::Action { at, .. } | Held::Undo { failed: FailedUndo { at, .. }, .. }) => {
                Some(*at)
            }
            Phase::Ending { .. } | Phase::Ended(_) => None,
        }
    }

    /// The current attempts.
    #[must_use]
    pub const fn tries(&self) -> Option<&Tries> {
        match &self.phase {
            Phase::Forward { tries, .. } | Phase::Backward { tries, .. } | Phase::Ending { tries, .. } => {
                Some(tries)
            }
            Phase::Stuck(
                Held::Action { tries, .. } | Held::Undo { failed: FailedUndo { tries, .. }, .. },
            ) => Some(tries),
            Phase::Ended(_) => None,
        }
    }

    /// Whether an undo is carried out or held up.
    #[must_use]
    pub const fn is_undo(&self) -> bool {
        matches!(self.phase, Phase::Backward { .. } | Phase::Stuck(Held::Undo { .. }))
    }

    /// The furthest step that was done, may have been done, or is next.
    pub(crate) fn reach(&self) -> Option<usize> {
        self.step().max(self.done.highest())
    }

    pub(crate) fn with(&self, phase: Phase) -> Self {
        Self { phase, done: self.done, failed: self.failed.clone() }
    }

    /// What went wrong, when an operator has to decide.
    #[must_use]
    pub const fn fault(&self) -> Option<&Arc<str>> {
        match &self.phase {
            Phase::Stuck(
                Held::Action { fault, .. } | Held::Undo { failed: FailedUndo { fault, .. }, .. },
            ) => Some(fault),
            Phase::Forward { .. } | Phase::Backward { .. } | Phase::Ending { .. } | Phase::Ended(_) => None,
        }
    }

    /// Why the saga compensates or has compensated.
    #[must_use]
    pub const fn reason(&self) -> Option<&Reason> {
        match &self.phase {
            Phase::Backward { why, .. } | Phase::Stuck(Held::Undo { why, .. }) => Some(why),
            Phase::Ending { end: End::Compensated { reason }, .. }
            | Phase::Ended(End::Compensated { reason }) => Some(reason),
            Phase::Forward { .. }
            | Phase::Ending { .. }
            | Phase::Stuck(Held::Action { .. })
            | Phase::Ended(_) => None,
        }
    }
}

/// A set of steps by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StepSet(u64);

impl StepSet {
    /// No step.
    pub const EMPTY: Self = Self(0);

    /// This set and `step`.
    ///
    /// # Panics
    /// When the step's position is [`STEPS_MAX`](crate::plan::STEPS_MAX) or more, which no definition has.
    #[must_use]
    pub const fn with(self, step: usize) -> Self {
        assert!(step < crate::plan::STEPS_MAX, "a definition has at most 64 steps");
        Self(self.0 | 1 << step)
    }

    /// This set without `step`.
    #[must_use]
    pub const fn without(self, step: usize) -> Self {
        if step < crate::plan::STEPS_MAX { Self(self.0 & !(1 << step)) } else { self }
    }

    /// Whether `step` is in it.
    #[must_use]
    pub const fn has(self, step: usize) -> bool {
        step < crate::plan::STEPS_MAX && self.0 & (1 << step) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The last step in it.
    #[must_use]
    pub fn highest(self) -> Option<usize> {
        usize::try_from(self.0.checked_ilog2()?).ok()
    }

    /// The steps, last first.
    pub fn iter_back(self) -> impl Iterator<Item = usize> {
        (0..crate::plan::STEPS_MAX).rev().filter(move |&step| self.has(step))
    }
}
