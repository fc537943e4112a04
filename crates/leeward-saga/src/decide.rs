//! The decider: the one place that knows how a saga moves.
//!
//! [`decide`] is a total match over (phase, event): it returns the next progress, or a typed [`Illegal`] transition. It is used live
//! and on resume; it has no clock, no I/O and no state of its own. What is to be done follows from the progress alone
//! ([`Progress::effect`]), so that a row read back after a crash says by itself how to go on.

mod backward;
mod forward;
mod progress;

use std::sync::Arc;

use crate::outcome::End;
use crate::plan::Plan;
use crate::retry::Retry;

pub use progress::{Effect, FailedUndo, Held, Phase, Progress, StepSet, Tries, Wait};

/// What happened to a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The current action or undo is done.
    Done,
    /// The current action or undo was refused for good.
    Rejected {
        /// A stable code.
        code: Arc<str>,
        /// A text for people.
        detail: Arc<str>,
    },
    /// The current attempt surely had no effect.
    Transient,
    /// The current attempt may have had its effect.
    Unknown,
    /// The command is in the outbox, or the timer is set: wait for this many milliseconds.
    Sent {
        /// How long to wait for the reply.
        within_ms: i64,
    },
    /// No reply came in time.
    TimedOut,
    /// The wait before the next attempt is over.
    Due,
    /// A new owner took the saga over: an attempt of the old one may have been under way.
    Recovered,
    /// The hook at the end failed and was rolled back.
    EndFailed,
    /// The hook at the end ran in this transaction.
    EndDone,
    /// An operator: try again now.
    Retry,
    /// An operator: go on as if this step had nothing to do.
    Skip,
    /// An operator: go on, it was done by hand.
    MarkDone,
}

impl Event {
    /// The event's name as it stands in the history.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Rejected { .. } => "rejected",
            Self::Transient => "transient",
            Self::Unknown => "unknown",
            Self::Sent { .. } => "sent",
            Self::TimedOut => "timed_out",
            Self::Due => "due",
            Self::Recovered => "recovered",
            Self::EndFailed => "end_failed",
            Self::EndDone => "end_done",
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::MarkDone => "mark_done",
        }
    }
}

/// When a decision is made, and the luck it is made with.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// A random number in `0.0 .. 1.0` for backoff.
    pub jitter: f64,
}

/// An event that cannot happen in this phase. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{event}` is impossible while the saga is {phase}")]
pub struct Illegal {
    /// The phase, in words.
    pub phase: &'static str,
    /// The event's name.
    pub event: &'static str,
}

/// The progress after `event`.
///
/// # Errors
/// [`Illegal`] when the event cannot happen in this phase; the progress stays as it was.
pub fn decide(plan: &Plan, progress: &Progress, event: &Event, at: Moment) -> Result<Progress, Illegal> {
    let here = Here { plan, progress, at };
    let next = match &progress.phase {
        Phase::Forward { at, tries } => forward::step(here, *at, *tries, event),
        Phase::Backward { at, tries, why } => backward::step(here, *at, *tries, why, event),
        Phase::Ending { end, tries } => ending(here, end, *tries, event),
        Phase::Stuck(Held::Action { at, tries, .. }) => forward::held(here, *at, *tries, event),
        Phase::Stuck(Held::Undo { failed, why }) => backward::held(here, failed, why, event),
        Phase::Ended(_) => None,
    };
    next.ok_or_else(|| Illegal { phase: progress.phase.name(), event: event.name() })
}

/// What every part of the decision looks at.
#[derive(Clone, Copy)]
struct Here<'a> {
    plan: &'a Plan,
    progress: &'a Progress,
    at: Moment,
}

/// The hook at the end: it has no way to refuse, so it is tried until it works.
fn ending(here: Here<'_>, end: &End, tries: Tries, event: &Event) -> Option<Progress> {
    let again = |tries: Tries| here.progress.with(Phase::Ending { end: end.clone(), tries });
    match (event, tries.wait) {
        (Event::EndDone, Wait::Ready) => Some(here.progress.with(Phase::Ended(end.clone()))),
        (Event::EndFailed, Wait::Ready) => Some(again(tries.backing_off(&Retry::FOR_EVER, false, here.at))),
        (Event::Due | Event::Retry, Wait::Backoff { .. }) => Some(again(tries.ready())),
        // The hook and the journal share a transaction: there is nothing to doubt.
        (Event::Recovered, _) => Some(here.progress.clone()),
        (
            Event::Done
            | Event::Rejected { .. }
            | Event::Transient
            | Event::Unknown
            | Event::Sent { .. }
            | Event::TimedOut
            | Event::Due
            | Event::EndFailed
            | Event::EndDone
            | Event::Retry
            | Event::Skip
            | Event::MarkDone,
            _,
        ) => None,
    }
}

#[cfg(test)]
mod tests;
