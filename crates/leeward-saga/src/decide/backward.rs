//! The way back: undos, in the reverse order of the actions.

use super::progress::{FailedUndo, Held, Phase, Progress, Tries, Wait};
use super::{Event, Here};
use crate::outcome::{End, Reason};

/// Turns round: undoes everything that stands.
pub(super) fn begin(here: Here<'_>, why: Reason) -> Progress {
    go_on(here, here.progress.clone(), why)
}

/// The next progress while the undo of `step` is due, under way or waited for; none when the event is impossible.
pub(super) fn step(
    here: Here<'_>,
    step: usize,
    tries: Tries,
    why: &Reason,
    event: &Event,
) -> Option<Progress> {
    let undo = here.plan.steps.get(step)?.undo.as_ref()?;
    let go = |tries| Some(here.progress.with(Phase::Backward { at: step, tries, why: why.clone() }));
    let fail = |next: Tries| {
        if undo.retry.is_last(tries.attempt) {
            let fault = format!("undo gave up after {} attempts", tries.attempt).into();
            let tries = Tries { in_doubt: next.in_doubt, ..tries.ready() };
            return Some(gave_up(here, FailedUndo { at: step, tries, rejected: false, fault }, why));
        }
        go(next)
    };
    match (event, tries.wait) {
        (Event::Done, Wait::Ready | Wait::Reply { .. }) => Some(undone(here, step, why)),
        (Event::Rejected { code, detail }, Wait::Ready | Wait::Reply { .. }) => {
            let fault = format!("undo rejected: {code}: {detail}").into();
            Some(gave_up(here, FailedUndo { at: step, tries: tries.ready(), rejected: true, fault }, why))
        }
        (Event::Transient, Wait::Ready | Wait::Reply { .. }) => {
            fail(tries.backing_off(&undo.retry, tries.in_doubt, here.at))
        }
        (Event::Unknown, Wait::Ready | Wait::Reply { .. }) => {
            fail(tries.backing_off(&undo.retry, true, here.at))
        }
        (Event::TimedOut, Wait::Reply { .. }) => fail(tries.again().doubted()),
        (Event::Sent { within_ms }, Wait::Ready) => go(tries.awaiting(*within_ms, here.at)),
        (Event::Due | Event::Retry, Wait::Backoff { .. }) => go(tries.ready()),
        (Event::Retry, Wait::Reply { .. }) => go(tries.again().doubted()),
        (Event::Recovered, Wait::Ready | Wait::Backoff { .. }) if undo.way.is_external() => {
            go(tries.doubted())
        }
        (Event::Recovered, _) => Some(here.progress.clone()),
        (Event::Skip | Event::MarkDone, Wait::Backoff { .. } | Wait::Reply { .. }) => {
            Some(undone(here, step, why))
        }
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

/// The next progress while an undo that gave up is held; none when the event is impossible.
pub(super) fn held(here: Here<'_>, failed: &FailedUndo, why: &Reason, event: &Event) -> Option<Progress> {
    match event {
        // After a refusal the other side would repeat its "no" for the old key; after anything else the old key must stay, since the
        // effect may have happened under it.
        Event::Retry => {
            let tries = match failed.rejected {
                true => Tries::business(failed.tries.business.saturating_add(1), here.at),
                false => Tries { attempt: 1, ..failed.tries.ready() },
            };
            let mut next = here.progress.with(Phase::Backward { at: failed.at, tries, why: why.clone() });
            next.failed.retain(|other| other.at != failed.at);
            Some(next)
        }
        Event::Skip | Event::MarkDone => Some(undone(here, failed.at, why)),
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

fn undone(here: Here<'_>, step: usize, why: &Reason) -> Progress {
    let mut rest = here.progress.clone();
    rest.done = rest.done.without(step);
    rest.failed.retain(|failed| failed.at != step);
    go_on(here, rest, why.clone())
}

fn gave_up(here: Here<'_>, failed: FailedUndo, why: &Reason) -> Progress {
    let mut rest = here.progress.clone();
    rest.failed.push(failed);
    go_on(here, rest, why.clone())
}

/// The next undo, or the end, or stuck: an undo that gave up holds up those of earlier steps unless they are independent.
fn go_on(here: Here<'_>, rest: Progress, why: Reason) -> Progress {
    let tries = Tries::first(here.at);
    let mut held = None;
    for step in rest.done.iter_back() {
        let Some(undo) = here.plan.steps.get(step).and_then(|step| step.undo.as_ref()) else { continue };
        if let Some(failed) = rest.failed.iter().find(|failed| failed.at == step) {
            held = held.or(Some(failed.clone()));
        } else if held.is_none() || undo.independent {
            return rest.with(Phase::Backward { at: step, tries, why });
        }
    }
    match held {
        None => rest.with(Phase::Ending { end: End::Compensated { reason: why }, tries }),
        Some(failed) => rest.with(Phase::Stuck(Held::Undo { failed, why })),
    }
}
