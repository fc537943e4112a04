//! The builder, whose type knows whether the pivot has been passed.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use leeward_store::Tx;

use super::action::{Action, EndFn, Handler, Undo};
use super::{Code, Definition, State, StepCode};
use crate::outcome::{End, Fault};
use crate::plan::{HandlerPlan, Kind, Plan, STEPS_MAX, StepPlan};
use crate::retry::Retry;
use crate::step::EndCx;

/// A builder that takes compensatable steps and then the pivot.
#[derive(Debug)]
pub struct BeforePivot;

/// A builder that takes retriable steps.
#[derive(Debug)]
pub struct AfterPivot;

/// Builds a [`Definition`]. `P` is [`BeforePivot`] or [`AfterPivot`].
pub struct Builder<S, P> {
    plan: Plan,
    code: Code<S>,
    mistakes: Vec<Mistake>,
    phase: PhantomData<P>,
}

/// Everything that is wrong with a definition, at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the saga `{saga}` is not well defined: {}", .mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Error {
    /// The definition's name.
    pub saga: &'static str,
    /// What is wrong, in the order of the steps.
    pub mistakes: Vec<Mistake>,
}

/// One thing that is wrong with a definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// The name cannot be part of a key.
    #[error("`{name}` is no name: 1 to 64 of a-z, 0-9, `-` and `_`")]
    Name {
        /// The name.
        name: &'static str,
    },
    /// Two steps have this name; resuming goes by name.
    #[error("two steps are called `{name}`")]
    Duplicate {
        /// The name.
        name: &'static str,
    },
    /// More than [`STEPS_MAX`] steps.
    #[error("{steps} steps are more than 64")]
    TooManySteps {
        /// How many.
        steps: usize,
    },
    /// After the pivot an action is tried for ever: a bound would have no meaning.
    #[error("`{step}` stands after the pivot, where attempts are not bounded")]
    Bounded {
        /// The step.
        step: &'static str,
    },
    /// A time or policy that cannot be.
    #[error("`{step}`: {detail}")]
    Setting {
        /// The step.
        step: &'static str,
        /// What is wrong.
        detail: &'static str,
    },
}

impl<S: State> Builder<S, BeforePivot> {
    pub(super) fn new(name: &'static str) -> Self {
        let mut builder = Self {
            plan: Plan { name, revision: 1, steps: Vec::new() },
            code: Code { steps: Vec::new(), on_end: None },
            mistakes: Vec::new(),
            phase: PhantomData,
        };
        builder.check_name(name);
        builder
    }

    /// A step that can be undone, and how.
    #[must_use]
    pub fn step(mut self, name: &'static str, action: Action<S>, undo: Undo<S>) -> Self {
        self.add(name, Kind::Compensatable, action, undo);
        self
    }

    /// The point of no return: once it is done, the saga completes; if it is rejected, the saga compensates.
    #[must_use]
    pub fn pivot(mut self, name: &'static str, action: Action<S>) -> Builder<S, AfterPivot> {
        self.add(name, Kind::Pivot, action, Undo::none());
        Builder { plan: self.plan, code: self.code, mistakes: self.mistakes, phase: PhantomData }
    }
}

impl<S: State> Builder<S, AfterPivot> {
    /// A step that must succeed in the end: it is tried for ever.
    #[must_use]
    pub fn retriable(mut self, name: &'static str, action: Action<S>) -> Self {
        self.add(name, Kind::Retriable, action, Undo::none());
        self
    }

    /// Checks it all.
    ///
    /// # Errors
    /// [`Error`] with everything that is wrong.
    pub fn build(mut self) -> Result<Definition<S>, Error> {
        if self.plan.steps.len() > STEPS_MAX {
            self.mistakes.push(Mistake::TooManySteps { steps: self.plan.steps.len() });
        }
        if self.mistakes.is_empty() {
            let fingerprint = self.plan.fingerprint().into();
            return Ok(Definition { plan: Arc::new(self.plan), fingerprint, code: Arc::new(self.code) });
        }
        Err(Error { saga: self.plan.name, mistakes: self.mistakes })
    }
}

impl<S: State, P> Builder<S, P> {
    /// Runs in the transaction that closes the saga, whichever way it ended:
    /// `async |tx: &mut Tx, cx: EndCx, end: End, state: S| -> Result<(), Fault>`. It is tried until it works.
    #[must_use]
    pub fn on_end<F>(mut self, hook: F) -> Self
    where
        F: AsyncFn(&mut Tx, EndCx, End, S) -> Result<(), Fault> + Send + Sync + 'static,
    {
        let hook = Arc::new(hook);
        let hook: EndFn<S> = Arc::new(move |tx, cx, end, state| {
            let hook = Arc::clone(&hook);
            Box::pin(async move { hook(tx, cx, end, state).await })
        });
        self.code.on_end = Some(hook);
        self
    }

    /// Part of the fingerprint, 1 by default. Raise it when the meaning of a step changed without its name, so that sagas under way
    /// are refused visibly instead of going on half one way and half the other.
    #[must_use]
    pub fn revision(mut self, revision: u32) -> Self {
        self.plan.revision = revision;
        self
    }

    fn add(&mut self, name: &'static str, kind: Kind, action: Action<S>, undo: Undo<S>) {
        self.check_name(name);
        if self.plan.steps.iter().any(|step| step.name == name) {
            self.mistakes.push(Mistake::Duplicate { name });
        }
        if kind == Kind::Retriable && action.retry.is_some_and(|retry| retry.bound().is_some()) {
            self.mistakes.push(Mistake::Bounded { step: name });
        }
        let default = if kind == Kind::Retriable { Retry::FOR_EVER } else { Retry::ACTION };
        let (action_plan, action) = self.checked(name, action, default, false);
        let (undo_plan, undo) = match undo.action {
            Some(action) => {
                let (plan, handler) = self.checked(name, action, Retry::UNDO, undo.independent);
                (Some(plan), Some(handler))
            }
            None => (None, None),
        };
        self.plan.steps.push(StepPlan { name, kind, action: action_plan, undo: undo_plan });
        self.code.steps.push(StepCode { action, undo });
    }

    fn checked(
        &mut self,
        step: &'static str,
        action: Action<S>,
        default: Retry,
        independent: bool,
    ) -> (HandlerPlan, Handler<S>) {
        let mut wrong = |detail| self.mistakes.push(Mistake::Setting { step, detail });
        action.misfits.iter().for_each(|misfit| wrong(misfit));
        let retry = action.retry.unwrap_or(default);
        if !retry.is_valid() {
            wrong("the first wait must be more than 0 and at most the longest");
        }
        let time = match &action.handler {
            Handler::Call { timeout: time, .. }
            | Handler::Command { within: time, .. }
            | Handler::Signal { within: time, .. }
            | Handler::Sleep { time } => *time,
            Handler::Tx { .. } => Duration::MAX,
        };
        if time.is_zero() {
            wrong("a time of 0 is over before it begins");
        }
        (HandlerPlan { way: action.handler.way(), retry, independent }, action.handler)
    }

    fn check_name(&mut self, name: &'static str) {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
            self.mistakes.push(Mistake::Name { name });
        }
    }
}

impl<S, P> fmt::Debug for Builder<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("plan", &self.plan).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;

    fn nothing() -> Action<u32> {
        Action::call(|_cx, state: u32| async move { Outcome::Done(state) })
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let error = Definition::builder("Trip")
            .step("car", nothing().reply_within(Duration::from_secs(1)), Undo::none())
            .step("car", nothing().timeout(Duration::ZERO), Undo::none())
            .pivot("pay", nothing())
            .retriable("tell/all", nothing().retry(Retry::ACTION))
            .build()
            .unwrap_err();
        let Error { saga, mistakes } = error;
        assert_eq!(saga, "Trip");
        assert_eq!(
            mistakes,
            [
                Mistake::Name { name: "Trip" },
                Mistake::Setting { step: "car", detail: "`reply_within` is for commands" },
                Mistake::Duplicate { name: "car" },
                Mistake::Setting { step: "car", detail: "a time of 0 is over before it begins" },
                Mistake::Name { name: "tell/all" },
                Mistake::Bounded { step: "tell/all" },
            ]
        );
    }

    #[test]
    fn the_picture_shows_the_steps() {
        let definition = Definition::builder("trip")
            .step("car", nothing(), Undo::call(|_cx, state| async move { Outcome::Done(state) }))
            .pivot("pay", nothing())
            .retriable("tell", nothing())
            .build()
            .unwrap();
        let picture = definition.plan().to_string();
        let lines: Vec<_> = picture.lines().map(str::trim_end).collect();
        assert_eq!(lines.len(), 4);
        assert!(
            lines[1].contains("car") && lines[1].contains("compensatable") && lines[1].ends_with("undo call")
        );
        assert_eq!(
            definition.plan().fingerprint(),
            "r1 car=compensatable:call/call pay=pivot:call/- tell=retriable:call/-"
        );
    }
}
