//! Progress and correlation as they are stored: steps by name, so that resuming goes by name.

use std::borrow::Cow;
use std::sync::Arc;

use leeward_telemetry::{Correlation, TraceContext};
use serde::{Deserialize, Serialize};

use crate::decide::{FailedUndo, Held, Phase, Progress, StepSet, Tries};
use crate::outcome::{End, Reason};
use crate::plan::Plan;

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    phase: StoredPhase<'a>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    done: Vec<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    failed: Vec<StoredUndo<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredPhase<'a> {
    Forward {
        #[serde(borrow)]
        step: Cow<'a, str>,
        tries: Tries,
    },
    Backward {
        #[serde(borrow)]
        step: Cow<'a, str>,
        tries: Tries,
        why: Reason,
    },
    Ending {
        end: End,
        tries: Tries,
    },
    StuckAction {
        #[serde(borrow)]
        step: Cow<'a, str>,
        tries: Tries,
        fault: Arc<str>,
    },
    StuckUndo {
        #[serde(borrow)]
        failed: StoredUndo<'a>,
        why: Reason,
    },
    Ended(End),
}

#[derive(Serialize, Deserialize)]
struct StoredUndo<'a> {
    #[serde(borrow)]
    step: Cow<'a, str>,
    tries: Tries,
    rejected: bool,
    fault: Arc<str>,
}

/// A stored progress that does not make sense under a definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misread {
    #[error("the stored progress is not readable: {0}")]
    Json(String),
    #[error("there is no step `{0}`")]
    Step(String),
}

/// The progress as JSON, with the plan's names.
pub(crate) fn encode(plan: &Plan, progress: &Progress) -> Result<String, serde_json::Error> {
    let name = |step: usize| Cow::Borrowed(plan.steps.get(step).map_or("", |step| step.name));
    let undo = |failed: &FailedUndo| StoredUndo {
        step: name(failed.at),
        tries: failed.tries,
        rejected: failed.rejected,
        fault: failed.fault.clone(),
    };
    let phase = match &progress.phase {
        Phase::Forward { at, tries } => StoredPhase::Forward { step: name(*at), tries: *tries },
        Phase::Backward { at, tries, why } => {
            StoredPhase::Backward { step: name(*at), tries: *tries, why: why.clone() }
        }
        Phase::Ending { end, tries } => StoredPhase::Ending { end: end.clone(), tries: *tries },
        Phase::Stuck(Held::Action { at, tries, fault }) => {
            StoredPhase::StuckAction { step: name(*at), tries: *tries, fault: fault.clone() }
        }
        Phase::Stuck(Held::Undo { failed, why }) => {
            StoredPhase::StuckUndo { failed: undo(failed), why: why.clone() }
        }
        Phase::Ended(end) => StoredPhase::Ended(end.clone()),
    };
    let done = (0..plan.steps.len()).filter(|&step| progress.done.has(step)).map(name).collect();
    serde_json::to_string(&Stored { phase, done, failed: progress.failed.iter().map(undo).collect() })
}

/// The progress with names resolved by `position`.
pub(crate) fn decode(text: &str, position: impl Fn(&str) -> Option<usize>) -> Result<Progress, Misread> {
    let stored: Stored<'_> = serde_json::from_str(text).map_err(|error| Misread::Json(error.to_string()))?;
    let at = |step: &str| position(step).ok_or_else(|| Misread::Step(step.to_owned()));
    let undo = |failed: &StoredUndo<'_>| -> Result<FailedUndo, Misread> {
        Ok(FailedUndo {
            at: at(&failed.step)?,
            tries: failed.tries,
            rejected: failed.rejected,
            fault: failed.fault.clone(),
        })
    };
    let phase = match stored.phase {
        StoredPhase::Forward { step, tries } => Phase::Forward { at: at(&step)?, tries },
        StoredPhase::Backward { step, tries, why } => Phase::Backward { at: at(&step)?, tries, why },
        StoredPhase::Ending { end, tries } => Phase::Ending { end, tries },
        StoredPhase::StuckAction { step, tries, fault } => {
            Phase::Stuck(Held::Action { at: at(&step)?, tries, fault })
        }
        StoredPhase::StuckUndo { failed, why } => Phase::Stuck(Held::Undo { failed: undo(&failed)?, why }),
        StoredPhase::Ended(end) => Phase::Ended(end),
    };
    let done = stored.done.iter().try_fold(StepSet::EMPTY, |done, step| Ok(done.with(at(step)?)))?;
    let failed = stored.failed.iter().map(undo).collect::<Result<_, _>>()?;
    Ok(Progress { phase, done, failed })
}

#[derive(Serialize, Deserialize)]
struct StoredCorrelation<'a> {
    id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    cause: Option<Cow<'a, str>>,
    trace: Cow<'a, str>,
}

pub(crate) fn encode_correlation(correlation: &Correlation) -> Result<String, serde_json::Error> {
    serde_json::to_string(&StoredCorrelation {
        id: Cow::Borrowed(&correlation.correlation_id),
        cause: correlation.causation_id.as_deref().map(Cow::Borrowed),
        trace: Cow::Owned(correlation.trace.header_value()),
    })
}

pub(crate) fn decode_correlation(text: &str) -> Result<Correlation, Misread> {
    let stored: StoredCorrelation<'_> =
        serde_json::from_str(text).map_err(|error| Misread::Json(error.to_string()))?;
    let trace = TraceContext::parse(&stored.trace).map_err(|error| Misread::Json(error.to_string()))?;
    Ok(Correlation {
        correlation_id: (&*stored.id).into(),
        causation_id: stored.cause.map(|id| (&*id).into()),
        trace,
    })
}
