//! The way forward: actions.

use std::sync::Arc;

use super::progress::{Held, Phase, Progress, Tries, Wait};
use super::{Event, Here, backward};
use crate::outcome::{EXHAUSTED, End, Reason};
use crate::plan::Kind;

/// The next progress while the action of `step` is due, under way or waited for; none when the event is impossible.
pub(super) fn step(here: Here<'_>, step: usize, tries: Tries, event: &Event) -> Option<Progress> {
    let action = &here.plan.steps.get(step)?.action;
    let go = |tries| Some(here.progress.with(Phase::Forward { at: step, tries }));
    match (event, tries.wait) {
        (Event::Done, Wait::Ready | Wait::Reply { .. }) => Some(done(here, step)),
        (Event::Rejected { code, detail }, Wait::Ready | Wait::Reply { .. }) => {
            Some(rejected(here, step, tries, code, detail))
        }
        (Event::Transient, Wait::Ready | Wait::Reply { .. }) => Some(transient(here, step, tries)),
        (Event::Unknown, Wait::Ready | Wait::Reply { .. }) => {
            go(tries.backing_off(&action.retry, true, here.at))
        }
        (Event::Sent { within_ms }, Wait::Ready) => go(tries.awaiting(*within_ms, here.at)),
        // No reply is the outcome unknown: the same command goes out again under the same key.
        (Event::TimedOut | Event::Retry, Wait::Reply { .. }) => go(tries.again().doubted()),
        (Event::Due | Event::Retry, Wait::Backoff { .. }) => go(tries.ready()),
        // The journal knows when an attempt ended, not when it began.
        (Event::Recovered, Wait::Ready | Wait::Backoff { .. }) if action.way.is_external() => {
            go(tries.doubted())
        }
        (Event::Recovered, _) => Some(here.progress.clone()),
        (Event::Skip, Wait::Backoff { .. } | Wait::Reply { .. }) => Some(past(here, step)),
        (Event::MarkDone, Wait::Backoff { .. } | Wait::Reply { .. }) => Some(done(here, step)),
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

/// The next progress while a rejected action is held up; none when the event is impossible.
pub(super) fn held(here: Here<'_>, step: usize, tries: Tries, event: &Event) -> Option<Progress> {
    match event {
        // The other side said no for the old key and would repeat it: this is a new business attempt.
        Event::Retry => {
            let tries = Tries::business(tries.business.saturating_add(1), here.at);
            Some(here.progress.with(Phase::Forward { at: step, tries }))
        }
        Event::Skip => Some(past(here, step)),
        Event::MarkDone => Some(done(here, step)),
        Event::Recovered => Some(here.progress.clone()),
        Event::Done
        | Event::Rejected { .. }
        | Event::Transient
        | Event::Unknown
        | Event::Sent { .. }
        | Event::TimedOut
        | Event::Due
        | Event::EndFailed
        | Event::EndDone => None,
    }
}

fn done(here: Here<'_>, step: usize) -> Progress {
    Progress { done: here.progress.done.with(step), ..past(here, step) }
}

/// On to the next step, or to the end.
fn past(here: Here<'_>, step: usize) -> Progress {
    let tries = Tries::first(here.at);
    let phase = match step + 1 {
        next if next < here.plan.steps.len() => Phase::Forward { at: next, tries },
        _ => Phase::Ending { end: End::Completed, tries },
    };
    here.progress.with(phase)
}

fn rejected(here: Here<'_>, step: usize, tries: Tries, code: &Arc<str>, detail: &Arc<str>) -> Progress {
    let this = &here.plan.steps[step];
    match this.kind {
        Kind::Compensatable | Kind::Pivot => {
            let why = Reason { step: this.name.into(), code: code.clone(), detail: detail.clone() };
            backward::begin(here, why)
        }
        Kind::Retriable => {
            let fault = format!("rejected: {code}: {detail}").into();
            here.progress.with(Phase::Stuck(Held::Action { at: step, tries: tries.ready(), fault }))
        }
    }
}

/// An attempt without effect. It cannot clear a doubt: that this one did not reach the other side says nothing about the earlier one.
fn transient(here: Here<'_>, step: usize, tries: Tries) -> Progress {
    let this = &here.plan.steps[step];
    let may_give_up = match this.kind {
        Kind::Compensatable | Kind::Pivot => !tries.in_doubt,
        Kind::Retriable => false,
    };
    if may_give_up && this.action.retry.is_last(tries.attempt) {
        let detail = format!("gave up after {} attempts", tries.attempt).into();
        return backward::begin(here, Reason { step: this.name.into(), code: EXHAUSTED.into(), detail });
    }
    here.progress.with(Phase::Forward {
        at: step,
        tries: tries.backing_off(&this.action.retry, tries.in_doubt, here.at),
    })
}
