//! Definitions: what a saga does, as a value.

mod action;
mod builder;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::plan::Plan;

pub use action::{Action, Undo};
pub use builder::{AfterPivot, BeforePivot, Builder, Error, Mistake};

pub(crate) use action::{CallFn, EndFn, Handler};

/// What a saga remembers between its steps: a plain struct whose fields are the steps' inputs and outputs.
///
/// It is stored as JSON after every step, so keep it small, and give fields that are added later a serde default. It is implemented
/// for all types that can be one.
pub trait State: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> State for T {}

/// A saga's definition: compensatable steps, one pivot, retriable steps, and a hook at the end. Cloning it is cheap.
pub struct Definition<S> {
    pub(crate) plan: Arc<Plan>,
    /// The plan's, made once.
    pub(crate) fingerprint: Arc<str>,
    pub(crate) code: Arc<Code<S>>,
}

/// The code of a definition, beside its plan.
pub(crate) struct Code<S> {
    pub(crate) steps: Vec<StepCode<S>>,
    pub(crate) on_end: Option<EndFn<S>>,
}

pub(crate) struct StepCode<S> {
    pub(crate) action: Handler<S>,
    pub(crate) undo: Option<Handler<S>>,
}

impl<S: State> Definition<S> {
    /// Begins a definition. The name is stored with every saga: it stays when code is renamed.
    ///
    /// A step that can be undone must come before the pivot; the type of the builder sees to it.
    ///
    /// ```compile_fail,E0599
    /// use leeward_saga::{Action, Definition, Outcome, Undo};
    ///
    /// let nothing = || Action::call(|_cx, state: u32| async move { Outcome::Done(state) });
    /// let _ = Definition::builder("trip")
    ///     .pivot("pay", nothing())
    ///     .step("book a car", nothing(), Undo::none()); // no method `step` after the pivot
    /// ```
    ///
    /// Nor is there a second pivot, nor a definition without one:
    ///
    /// ```compile_fail,E0599
    /// # use leeward_saga::{Action, Definition, Outcome, Undo};
    /// # let nothing = || Action::call(|_cx, state: u32| async move { Outcome::Done(state) });
    /// let _ = Definition::builder("trip").pivot("pay", nothing()).pivot("pay again", nothing());
    /// ```
    ///
    /// ```compile_fail,E0599
    /// # use leeward_saga::{Action, Definition, Outcome, Undo};
    /// # let nothing = || Action::call(|_cx, state: u32| async move { Outcome::Done(state) });
    /// let _ = Definition::builder("trip").step("book-a-car", nothing(), Undo::none()).build();
    /// ```
    #[must_use]
    pub fn builder(name: &'static str) -> Builder<S, BeforePivot> {
        Builder::new(name)
    }

    /// The definition without its code.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

impl<S> Code<S> {
    pub(crate) fn handler(&self, step: usize, undo: bool) -> Option<&Handler<S>> {
        let step = self.steps.get(step)?;
        if undo { step.undo.as_ref() } else { Some(&step.action) }
    }
}

impl<S> Clone for Definition<S> {
    fn clone(&self) -> Self {
        Self { plan: self.plan.clone(), fingerprint: self.fingerprint.clone(), code: self.code.clone() }
    }
}

impl<S> fmt::Debug for Definition<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition").field("plan", &self.plan).finish_non_exhaustive()
    }
}
