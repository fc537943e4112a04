//! The history: what happened to a saga, one line a commit, in its row.
//!
//! It is short whatever happens ([`Entry::is_recorded`]), so that the row can carry it, and a commit is one statement.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// One thing that happened to a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// When, in milliseconds since 1970.
    #[serde(skip_serializing_if = "is_unset", default)]
    pub at_ms: i64,
    /// What: `started`, an event of the decider such as `done` or `sent`, or `refused`.
    pub event: Cow<'static, str>,
    /// The step that was current.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub step: Option<Cow<'static, str>>,
    /// Whether it was its undo.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub undo: bool,
    /// The attempt.
    #[serde(skip_serializing_if = "is_first", default = "first")]
    pub attempt: u32,
    /// What else there is to say, such as the error or an operator's reason.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
}

/// In a row the time stands beside the commit's entries.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it a reference")]
fn is_unset(at_ms: &i64) -> bool {
    *at_ms == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it a reference")]
fn is_first(attempt: &u32) -> bool {
    *attempt == 1
}

const fn first() -> u32 {
    1
}

/// Longest detail in bytes; longer text is cut: it is for people, and the history is kept.
const DETAIL_BYTES_MAX: usize = 500;

/// Attempts of one step whose failures are all recorded; of later ones only each power of two, so that the history of a saga that
/// tries for ever stays short.
const ATTEMPTS_RECORDED: u32 = 8;

impl Entry {
    pub(crate) fn new(event: &'static str) -> Self {
        Self { at_ms: 0, event: event.into(), step: None, undo: false, attempt: 1, detail: None }
    }

    /// Whether a failure of this attempt is worth a row.
    pub(crate) const fn is_recorded(attempt: u32) -> bool {
        attempt <= ATTEMPTS_RECORDED || attempt.is_power_of_two()
    }
}

/// `text` without what exceeds the bound.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > DETAIL_BYTES_MAX {
        text.truncate(text.floor_char_boundary(DETAIL_BYTES_MAX));
    }
    text
}

#[derive(Serialize, Deserialize)]
struct Commit<'a> {
    at: i64,
    entries: Cow<'a, [Entry]>,
}

/// A commit's part of the history: a line of JSON, to be appended to what the row has. Empty when there is nothing to say.
pub(crate) fn encode(at_ms: i64, entries: &[Entry]) -> Result<String, serde_json::Error> {
    if entries.is_empty() {
        return Ok(String::new());
    }
    let mut line = serde_json::to_string(&Commit { at: at_ms, entries: Cow::Borrowed(entries) })?;
    line.push('\n');
    Ok(line)
}

/// A saga's history, oldest first.
pub(crate) fn decode(text: &str) -> Result<Vec<Entry>, serde_json::Error> {
    let mut all = Vec::new();
    for line in text.lines() {
        let commit: Commit<'_> = serde_json::from_str(line)?;
        all.extend(commit.entries.into_owned().into_iter().map(|entry| Entry { at_ms: commit.at, ..entry }));
    }
    Ok(all)
}
