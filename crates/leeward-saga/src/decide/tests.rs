#![allow(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::journal::stored;
use crate::outcome::EXHAUSTED;
use crate::plan::{HandlerPlan, Kind, StepPlan, Way};
use crate::retry::Retry;

const AT: Moment = Moment { now_ms: 1_000_000, jitter: 0.5 };

fn retry(attempts: u32) -> Retry {
    Retry::attempts(NonZeroU32::new(attempts).unwrap())
        .backoff(Duration::from_millis(100), Duration::from_secs(1))
}

fn handler(way: Way, attempts: u32) -> HandlerPlan {
    HandlerPlan { way, retry: retry(attempts), independent: false }
}

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// `undos` compensatable steps with an undo each, the pivot, `after` retriable steps.
fn plan(undos: usize, after: usize) -> Plan {
    let kinds = std::iter::repeat_n(Kind::Compensatable, undos)
        .chain([Kind::Pivot])
        .chain(std::iter::repeat_n(Kind::Retriable, after));
    let steps = kinds
        .zip(NAMES)
        .map(|(kind, name)| StepPlan {
            name,
            kind,
            action: handler(Way::Call, 3),
            undo: (kind == Kind::Compensatable).then(|| handler(Way::Call, 2)),
        })
        .collect();
    Plan { name: "model", revision: 1, steps }
}

fn rejected() -> Event {
    Event::Rejected { code: "no".into(), detail: "never".into() }
}

/// The progress after a list of events.
fn after(plan: &Plan, events: &[Event]) -> Progress {
    events.iter().fold(Progress::start(AT), |progress, event| decide(plan, &progress, event, AT).unwrap())
}

fn effect(plan: &Plan, events: &[Event]) -> Effect {
    after(plan, events).effect()
}

#[test]
fn a_rejection_before_or_at_the_pivot_undoes_what_stands_last_first() {
    let plan = plan(3, 1);
    let mut events = vec![Event::Done, Event::Done, Event::Done, rejected()];
    for step in [2, 1, 0] {
        assert_eq!(effect(&plan, &events), Effect::Undo(step));
        events.push(Event::Done);
    }
    assert_eq!(effect(&plan, &events), Effect::Finish);
    let ended = after(&plan, &[events, vec![Event::EndDone]].concat());
    let Phase::Ended(End::Compensated { reason }) = &ended.phase else { panic!("{ended:?}") };
    assert_eq!((&*reason.step, &*reason.code), ("d", "no"));
    assert!(ended.done.is_empty());
}

#[test]
fn the_rejected_step_itself_is_not_undone() {
    assert_eq!(effect(&plan(3, 0), &[Event::Done, rejected()]), Effect::Undo(0));
    assert_eq!(effect(&plan(3, 0), &[rejected()]), Effect::Finish);
}

#[test]
fn nothing_is_undone_after_the_pivot() {
    let plan = plan(1, 1);
    let to_retriable = [Event::Done, Event::Done];
    assert_eq!(effect(&plan, &to_retriable), Effect::Act(2));
    let stuck = [&to_retriable[..], &[rejected()]].concat();
    assert_eq!(effect(&plan, &stuck), Effect::Halt);
    // Tried for ever, well past the bound that its policy has here.
    let mut progress = after(&plan, &to_retriable);
    for _ in 0..100 {
        progress = decide(&plan, &progress, &Event::Transient, AT).unwrap();
        progress = decide(&plan, &progress, &Event::Due, AT).unwrap();
        assert_eq!(progress.effect(), Effect::Act(2));
    }
    assert_eq!(progress.tries().unwrap().attempt, 101);
}

#[test]
fn attempts_without_effect_are_bounded_before_the_pivot() {
    let plan = plan(2, 0);
    let again = [Event::Transient, Event::Due];
    let events = [&[Event::Done][..], &again, &again, &[Event::Transient]].concat();
    let progress = after(&plan, &events);
    assert_eq!(progress.effect(), Effect::Undo(0));
    assert_eq!(&*progress.reason().unwrap().code, EXHAUSTED);
}

#[test]
fn an_unknown_outcome_stays_unknown_until_it_is_known() {
    let plan = plan(1, 0);
    let mut progress = after(&plan, &[Event::Unknown, Event::Due]);
    for _ in 0..50 {
        assert!(
            progress.tries().unwrap().in_doubt,
            "a later attempt without effect says nothing about the earlier one"
        );
        assert_eq!(progress.effect(), Effect::Act(0), "neither on nor back");
        progress = decide(&plan, &progress, &Event::Transient, AT).unwrap();
        progress = decide(&plan, &progress, &Event::Due, AT).unwrap();
    }
    assert_eq!(decide(&plan, &progress, &Event::Done, AT).unwrap().effect(), Effect::Act(1));
    assert_eq!(decide(&plan, &progress, &rejected(), AT).unwrap().effect(), Effect::Finish);
}

#[test]
fn recovery_doubts_calls_and_nothing_else() {
    let mut plan = plan(1, 0);
    assert!(after(&plan, &[Event::Recovered]).tries().unwrap().in_doubt);
    assert!(after(&plan, &[Event::Transient, Event::Recovered]).tries().unwrap().in_doubt);
    for way in [Way::Tx, Way::Command, Way::Signal, Way::Sleep] {
        plan.steps[0].action.way = way;
        assert!(!after(&plan, &[Event::Recovered]).tries().unwrap().in_doubt, "{way:?}");
    }
}

#[test]
fn no_reply_in_time_sends_again_and_waits_longer() {
    let mut plan = plan(1, 0);
    plan.steps[0].action.way = Way::Command;
    let mut progress = after(&plan, &[Event::Sent { within_ms: 5_000 }]);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let Effect::Reply { due_ms } = progress.effect() else { panic!("{progress:?}") };
        waits.push(due_ms - AT.now_ms);
        progress = decide(&plan, &progress, &Event::TimedOut, AT).unwrap();
        assert!(progress.tries().unwrap().in_doubt);
        assert_eq!(progress.tries().unwrap().business, 1);
        progress = decide(&plan, &progress, &Event::Sent { within_ms: 5_000 }, AT).unwrap();
    }
    assert_eq!(waits, [5_000, 10_000, 20_000, 40_000, 80_000, 120_000, 120_000, 120_000]);
}

#[test]
fn an_undo_that_keeps_failing_is_stuck_and_holds_up_the_earlier_ones() {
    let plan = plan(3, 0);
    let failing =
        [Event::Done, Event::Done, Event::Done, rejected(), Event::Unknown, Event::Due, Event::Transient];
    let stuck = after(&plan, &failing);
    assert_eq!((stuck.effect(), stuck.step(), stuck.is_undo()), (Effect::Halt, Some(2), true));
    let retried = decide(&plan, &stuck, &Event::Retry, AT).unwrap();
    let tries = *retried.tries().unwrap();
    assert_eq!((retried.effect(), tries.attempt, tries.business), (Effect::Undo(2), 1, 1));
    assert!(tries.in_doubt, "an earlier attempt may have undone it");
    for verb in [Event::Skip, Event::MarkDone] {
        assert_eq!(decide(&plan, &stuck, &verb, AT).unwrap().effect(), Effect::Undo(1));
    }
}

#[test]
fn independent_undos_go_on_while_a_later_one_is_stuck() {
    let mut plan = plan(3, 0);
    plan.steps[0].undo.as_mut().unwrap().independent = true;
    let to_undo = [Event::Done, Event::Done, Event::Done, rejected(), rejected()];
    assert_eq!(effect(&plan, &to_undo), Effect::Undo(0), "the undo of `b` waits for that of `c`");
    let stuck = [&to_undo[..], &[Event::Done]].concat();
    assert_eq!(after(&plan, &stuck).step(), Some(2));
    assert_eq!(effect(&plan, &stuck), Effect::Halt);
    let solved = [&stuck[..], &[Event::MarkDone]].concat();
    assert_eq!(effect(&plan, &solved), Effect::Undo(1));
    assert_eq!(effect(&plan, &[&solved[..], &[Event::Done]].concat()), Effect::Finish);
}

#[test]
fn a_new_business_attempt_comes_only_after_a_refusal() {
    let plan = plan(1, 1);
    let refused_action = after(&plan, &[Event::Done, Event::Done, rejected(), Event::Retry]);
    assert_eq!(refused_action.tries().unwrap().business, 2);
    assert!(!refused_action.tries().unwrap().in_doubt);
    let refused_undo = after(&plan, &[Event::Done, rejected(), rejected(), Event::Retry]);
    assert_eq!((refused_undo.tries().unwrap().business, refused_undo.effect()), (2, Effect::Undo(0)));
}

#[test]
fn a_hook_at_the_end_that_fails_is_tried_again() {
    let plan = plan(0, 0);
    let failed = after(&plan, &[Event::Done, Event::EndFailed]);
    assert!(matches!(failed.effect(), Effect::Backoff { .. }));
    assert_eq!(decide(&plan, &failed, &Event::Due, AT).unwrap().effect(), Effect::Finish);
}

/// Every event, and whether it can happen where this effect is due. A second telling of the rules, for the model below.
fn possible(effect: Effect, progress: &Progress) -> Vec<(Event, bool)> {
    let ready = matches!(effect, Effect::Act(_) | Effect::Undo(_));
    let reply = matches!(effect, Effect::Reply { .. });
    let backoff = matches!(effect, Effect::Backoff { .. });
    let ending = matches!(progress.phase, Phase::Ending { .. });
    let halt = effect == Effect::Halt;
    let waits_with_step = (reply || backoff) && !ending;
    vec![
        (Event::Done, ready || reply),
        (rejected(), ready || reply),
        (Event::Transient, ready || reply),
        (Event::Unknown, ready || reply),
        (Event::Sent { within_ms: 1000 }, ready),
        (Event::TimedOut, reply),
        (Event::Due, backoff),
        (Event::Recovered, effect != Effect::Over),
        (Event::EndFailed, effect == Effect::Finish),
        (Event::EndDone, effect == Effect::Finish),
        (Event::Retry, reply || backoff || halt),
        (Event::Skip, waits_with_step || halt),
        (Event::MarkDone, waits_with_step || halt),
    ]
}

/// A naive model: which effects stand, and which undos gave up.
#[derive(Debug, Default)]
struct Model {
    stand: Vec<usize>,
    gave_up: Vec<usize>,
    skipped: Vec<usize>,
    pivot_done: bool,
}

impl Model {
    fn follow(&mut self, plan: &Plan, before: &Progress, event: &Event) {
        let Some(step) = before.step() else { return };
        let was_undo = before.is_undo();
        match event {
            Event::Done | Event::MarkDone if !was_undo => {
                self.stand.push(step);
                self.pivot_done |= plan.steps[step].kind == Kind::Pivot;
            }
            Event::Skip if !was_undo => {
                self.skipped.push(step);
                // The operator says that there is nothing to do: the saga goes on past it.
                self.pivot_done |= plan.steps[step].kind == Kind::Pivot;
            }
            Event::Done | Event::MarkDone | Event::Skip => {
                self.stand.retain(|other| *other != step);
                self.gave_up.retain(|other| *other != step);
            }
            Event::Retry if was_undo => self.gave_up.retain(|other| *other != step),
            _ => {}
        }
    }

    fn check(&mut self, plan: &Plan, progress: &Progress) -> Result<(), TestCaseError> {
        self.gave_up = progress.failed.iter().map(|failed| failed.at).collect();
        let done: Vec<_> = (0..plan.steps.len()).filter(|&step| progress.done.has(step)).collect();
        self.stand.sort_unstable();
        prop_assert_eq!(&done, &self.stand, "what stands");
        let undoable = |step: &&usize| plan.steps[**step].undo.is_some();
        match progress.effect() {
            Effect::Undo(step) => {
                prop_assert!(!self.pivot_done, "an undo after the pivot");
                prop_assert!(self.stand.contains(&step), "an undo of what does not stand");
                // One that is not independent waits for every later one that gave up; it is no reason to wait for it.
                let waits = |other: usize| {
                    let independent = plan.steps[other].undo.as_ref().is_some_and(|undo| undo.independent);
                    !independent && self.gave_up.iter().any(|&stuck| stuck > other)
                };
                let later = self
                    .stand
                    .iter()
                    .filter(undoable)
                    .any(|&other| other > step && !self.gave_up.contains(&other) && !waits(other));
                prop_assert!(!later, "not the last first");
            }
            Effect::Over => match &progress.phase {
                Phase::Ended(End::Completed) => {
                    for step in 0..plan.steps.len() {
                        prop_assert!(self.stand.contains(&step) || self.skipped.contains(&step));
                    }
                }
                _ => prop_assert!(self.stand.iter().filter(undoable).count() == 0, "something is left"),
            },
            _ => {}
        }
        Ok(())
    }
}

prop_compose! {
    fn any_plan()(undos in prop::collection::vec((0..3_u8, any::<bool>(), 0..3_u8), 0..5), after in 0..3_usize) -> Plan {
        let mut plan = plan(undos.len(), after);
        for (step, (undo, independent, way)) in plan.steps.iter_mut().zip(undos) {
            step.action.way = [Way::Call, Way::Tx, Way::Command][usize::from(way)];
            step.undo = (undo > 0).then(|| HandlerPlan { independent, ..handler(Way::Call, u32::from(undo)) });
        }
        plan
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever happens in whatever order: what is possible is accepted and nothing else, and the saga never does what it must not.
    #[test]
    fn the_decider_agrees_with_the_model(plan in any_plan(), choices in prop::collection::vec(any::<u16>(), 1..120)) {
        let mut progress = Progress::start(AT);
        let mut model = Model::default();
        for choice in choices {
            let effect = progress.effect();
            let mut accepted = Vec::new();
            for (event, possible) in possible(effect, &progress) {
                let next = decide(&plan, &progress, &event, AT);
                prop_assert_eq!(next.is_ok(), possible, "{:?} while {:?}", event, progress);
                accepted.extend(next.map(|next| (event, next)));
            }
            let Some((event, next)) = (!accepted.is_empty()).then(|| accepted.swap_remove(usize::from(choice) % accepted.len()))
            else { break };
            model.follow(&plan, &progress, &event);
            progress = next;
            model.check(&plan, &progress)?;
            let text = stored::encode(&plan, &progress).unwrap();
            prop_assert_eq!(stored::decode(&text, |name| plan.position(name)).unwrap(), progress.clone());
        }
    }

    /// A saga that is answered in the end comes to an end: nothing loops on its own.
    #[test]
    fn every_saga_that_gets_answers_ends(plan in any_plan(), answers in prop::collection::vec(0..5_u8, 0..60)) {
        let mut progress = Progress::start(AT);
        let mut answers = answers.into_iter();
        for _ in 0..400 {
            let event = match progress.effect() {
                Effect::Act(_) | Effect::Undo(_) => match answers.next() {
                    Some(1) => rejected(),
                    Some(2) => Event::Transient,
                    Some(3) => Event::Unknown,
                    Some(4) => Event::Sent { within_ms: 10 },
                    _ => Event::Done,
                },
                Effect::Reply { .. } => Event::TimedOut,
                Effect::Backoff { .. } => Event::Due,
                Effect::Finish => Event::EndDone,
                Effect::Halt => Event::Retry,
                Effect::Over => break,
            };
            progress = decide(&plan, &progress, &event, AT).unwrap();
        }
        prop_assert_eq!(progress.effect(), Effect::Over);
    }
}
