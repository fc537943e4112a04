//! One case: what happens, and what is seen of it.

use std::future::Future;
use std::pin::Pin;

/// A fault.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// What happens.
    pub(super) fault: &'static str,
    /// How long a client waits for the answer at most, and what bounds it.
    pub(super) bound: &'static str,
    pub(super) expected: Expected,
    pub(super) observe: fn() -> Pin<Box<dyn Future<Output = Observed>>>,
}

/// What is seen.
pub(super) struct Expected {
    pub(super) get: Seen,
    /// Of a request that may not be repeated.
    pub(super) post: Seen,
    /// What operators see after the GET: lines of metrics, or parts of the gateway's health.
    pub(super) shown: &'static [&'static str],
}

/// What a client sees of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) status: u16,
    /// Of the gateway's own answers.
    pub(super) code: &'static str,
    /// How often the service got the request.
    pub(super) asked: usize,
    /// Whether the connection ended before the answer did.
    pub(super) is_cut: bool,
    /// A part of the hint that trusted clients get.
    pub(super) hint: &'static str,
}

/// What one request brought.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) asked: usize,
    pub(super) is_cut: bool,
    pub(super) hint: String,
    /// Whether it says when to come back.
    pub(super) has_retry_after: bool,
}

/// What was seen in a run.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) get: Answer,
    pub(super) post: Answer,
    pub(super) shown: String,
}

impl Expected {
    /// What is not as it should be, in words.
    pub(super) fn differs(&self, name: &str, observed: &Observed) -> Vec<String> {
        let mut wrong = Vec::new();
        for (method, expected, answer) in
            [("GET", &self.get, &observed.get), ("POST", &self.post, &observed.post)]
        {
            let Answer { status, ref code, asked, is_cut, ref hint, has_retry_after } = *answer;
            let Seen { status: status_expected, code: code_expected, asked: asked_expected, .. } = *expected;
            let same = (status, code.as_str(), asked, is_cut)
                == (status_expected, code_expected, asked_expected, expected.is_cut);
            if !same || !hint.contains(expected.hint) {
                wrong.push(format!("{name}: {method}: {answer:?} in place of {expected:?}"));
            }
            // Whoever is told by the gateway to go away is told when to come back.
            if status == 503 && !code.is_empty() && !has_retry_after {
                wrong.push(format!("{name}: {method}: 503 without Retry-After"));
            }
        }
        let missing = self.shown.iter().filter(|line| !observed.shown.contains(**line));
        wrong.extend(missing.map(|line| format!("{name}: not shown: {line}\n{}", observed.shown)));
        wrong
    }
}
