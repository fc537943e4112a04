//! From a stored row to a saga that can go on, or the reason why it cannot.

use leeward_telemetry::Correlation;

use crate::decide::Progress;
use crate::journal::saga::Raw;
use crate::journal::stored::{self, Misread};
use crate::plan::{self, Plan};

/// A row understood under the present definition. The state is still JSON.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) progress: Progress,
    pub(crate) correlation: Correlation,
}

/// Why a saga is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no saga `{0}` is defined here")]
    Undefined(String),
    #[error("its definition changed incompatibly: it was started as `{pinned}`, and now is `{current}`")]
    Fingerprint { pinned: String, current: String },
    #[error("{0}")]
    Misread(#[from] Misread),
    #[error("its state is not readable: {0}")]
    State(String),
    #[error("its state is not writable: {0}")]
    Encode(String),
    #[error("a defect of the engine: {0}")]
    Defect(String),
}

/// Understands a row under `plan`, whose fingerprint is `fingerprint`. Resuming goes by step name.
pub(crate) fn load(raw: &Raw, plan: &Plan, fingerprint: &str) -> Result<Loaded, Refusal> {
    let progress = if raw.fingerprint == fingerprint {
        stored::decode(&raw.progress, |name| plan.position(name))?
    } else {
        carried_over(raw, plan, fingerprint)?
    };
    Ok(Loaded { progress, correlation: stored::decode_correlation(&raw.correlation)? })
}

/// The progress of a saga that was started under another definition, if what it has done is still part of the present one.
fn carried_over(raw: &Raw, plan: &Plan, fingerprint: &str) -> Result<Progress, Refusal> {
    let position = |name: &str| plan::pinned_steps(&raw.fingerprint).position(|step| step == name);
    let progress = stored::decode(&raw.progress, position)?;
    if plan::can_resume(&raw.fingerprint, plan, progress.reach()) {
        // The steps up to its reach are the same, so that their positions are, too.
        return Ok(progress);
    }
    Err(Refusal::Fingerprint { pinned: raw.fingerprint.clone(), current: fingerprint.to_owned() })
}
