//! What a step is told, and the signals it receives.

use std::fmt;
use std::sync::Arc;

use leeward_resilience::Deadline;
use leeward_telemetry::Correlation;
use serde::de::DeserializeOwned;

/// What an action or an undo is told about its attempt.
#[derive(Clone, Debug)]
pub struct StepCx {
    pub(crate) saga_id: Arc<str>,
    pub(crate) saga: &'static str,
    pub(crate) step: &'static str,
    pub(crate) key: Arc<str>,
    pub(crate) action_key: Arc<str>,
    pub(crate) attempt: u32,
    pub(crate) reconcile: bool,
    pub(crate) since_ms: i64,
    pub(crate) epoch: i64,
    pub(crate) deadline: Deadline,
    pub(crate) correlation: Correlation,
}

impl StepCx {
    /// The saga's id.
    #[must_use]
    pub fn saga_id(&self) -> &Arc<str> {
        &self.saga_id
    }

    /// The definition's name.
    #[must_use]
    pub const fn saga(&self) -> &'static str {
        self.saga
    }

    /// The step's name.
    #[must_use]
    pub const fn step(&self) -> &'static str {
        self.step
    }

    /// The idempotency key, made of saga, step and business attempt: the same for all attempts that must have one effect together.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// The key under which the action was carried out: for an undo, what is to be undone; for an action, its own key.
    #[must_use]
    pub fn action_key(&self) -> &Arc<str> {
        &self.action_key
    }

    /// The attempt, from 1. After a crash the count goes on from the last attempt whose end was recorded.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// An earlier attempt under this key may have had its effect. Ask first what became of it; if it never happened, do it now.
    ///
    /// An other side that keeps keys may simply be called again, while it keeps them: see [`since_ms`](Self::since_ms).
    #[must_use]
    pub const fn reconcile(&self) -> bool {
        self.reconcile
    }

    /// When the first attempt under this key became due, in milliseconds since 1970. It was stored before any call: no effect under
    /// the key is older, and past the other side's window for keys a new call is no longer safe.
    #[must_use]
    pub const fn since_ms(&self) -> i64 {
        self.since_ms
    }

    /// The epoch of the lease under which the engine works: a fencing token for participants that check one.
    #[must_use]
    pub const fn epoch(&self) -> i64 {
        self.epoch
    }

    /// When this attempt is given up.
    #[must_use]
    pub const fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// The piece of work that started the saga, at this step's place in its trace.
    #[must_use]
    pub const fn correlation(&self) -> &Correlation {
        &self.correlation
    }
}

/// What the hook at the end is told.
#[derive(Clone, Debug)]
pub struct EndCx {
    pub(crate) saga_id: Arc<str>,
    pub(crate) saga: &'static str,
    pub(crate) correlation: Correlation,
}

impl EndCx {
    /// The saga's id.
    #[must_use]
    pub fn saga_id(&self) -> &Arc<str> {
        &self.saga_id
    }

    /// The definition's name.
    #[must_use]
    pub const fn saga(&self) -> &'static str {
        self.saga
    }

    /// The piece of work that started the saga.
    #[must_use]
    pub const fn correlation(&self) -> &Correlation {
        &self.correlation
    }
}

/// Something a saga was told from outside: the reply to its command, or a signal it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    pub(crate) id: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) received_ms: i64,
}

impl Signal {
    /// The id that makes it this signal and no other, such as the reply event's.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// What it is a signal of.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its payload as it came.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// When it was stored, in milliseconds since 1970.
    #[must_use]
    pub const fn received_ms(&self) -> i64 {
        self.received_ms
    }

    /// Its payload, read as JSON.
    ///
    /// # Errors
    /// When it is not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.payload)
    }
}

/// Longest saga id in bytes: a uuid has 36; four of them fit.
pub const ID_BYTES_MAX: usize = 150;

/// The idempotency key of an action (`undo` 0) or of an undo's business attempt.
///
/// `SAGA/STEP/ATTEMPT`, and `/undo/ATTEMPT` behind it for an undo: readable in the other side's log, and split at the first `/` to find
/// the saga again.
pub(crate) fn key(saga_id: &str, step: &str, business: u32, undo: bool) -> Arc<str> {
    if undo { format!("{saga_id}/{step}/1/undo/{business}") } else { format!("{saga_id}/{step}/{business}") }
        .into()
}

/// A key split into saga id and the name under which its reply is stored.
pub(crate) fn split_key(key: &str) -> Option<(&str, &str)> {
    key.split_once('/').filter(|(id, name)| !id.is_empty() && !name.is_empty())
}

/// A saga id that may stand in keys, logs and headers.
pub(crate) fn is_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:@+".contains(&byte);
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(is_plain)
}

impl fmt::Display for StepCx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} attempt {}", self.saga, self.key, self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_can_be_taken_apart_again() {
        let action = key("o-17", "reserve", 2, false);
        let undo = key("o-17", "reserve", 1, true);
        assert_eq!(split_key(&action), Some(("o-17", "reserve/2")));
        assert_eq!(split_key(&undo), Some(("o-17", "reserve/1/undo/1")));
        assert_eq!(split_key("o-17"), None);
        assert_eq!(split_key("/x"), None);
    }

    #[test]
    fn an_id_cannot_break_a_key() {
        assert!(is_id("0198c2f0-7d1e-7cc0-8000-2f8f7c1c5a10"));
        for bad in ["", "a/b", "a b", "a\n", &"x".repeat(ID_BYTES_MAX + 1)] {
            assert!(!is_id(bad), "{bad:?}");
        }
    }
}
