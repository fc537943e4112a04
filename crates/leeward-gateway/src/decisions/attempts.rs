//! The attempts of one request, as they went.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

/// Attempts of one request that are remembered: more than the most retries and hedges that make sense. Of more, the first ones are.
const ATTEMPTS_MAX: usize = 8;

/// What became of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// An answer that says nothing bad of the service.
    Answered(u16),
    /// An answer that is the service's own failure.
    Failed(u16),
    /// No connection.
    NotConnected,
    /// The connection ended before an answer.
    BrokenOff,
    /// What came back is no HTTP.
    NoHttp,
    /// The client's body came to no end.
    BodyCut,
    /// Nobody waits for it any more: its time was over, another attempt was faster, or the client left.
    GivenUp,
}

impl Outcome {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Failed(_) => "failed",
            Self::NotConnected => "not_connected",
            Self::BrokenOff => "broken_off",
            Self::NoHttp => "no_http",
            Self::BodyCut => "body_cut",
            Self::GivenUp => "given_up",
        }
    }

    pub(crate) const fn status(self) -> Option<u16> {
        match self {
            Self::Answered(status) | Self::Failed(status) => Some(status),
            _ => None,
        }
    }

    const fn is_good(self) -> bool {
        matches!(self, Self::Answered(_))
    }
}

/// One attempt.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub(super) endpoint: Arc<str>,
    pub(super) outcome: Outcome,
    pub(super) took_us: u32,
}

/// The attempts of one request. Where nothing is kept it remembers nothing.
#[derive(Clone, Default, Debug)]
pub(crate) struct Attempts {
    is_on: bool,
    /// Most requests have one attempt, which needs no memory of its own.
    first: RefCell<Option<Tried>>,
    more: RefCell<Vec<Tried>>,
}

impl Attempts {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on, ..Self::default() }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    pub(crate) fn add(&self, endpoint: Arc<str>, outcome: Outcome, took: Duration) {
        if !self.is_on {
            return;
        }
        let took_us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let tried = Tried { endpoint, outcome, took_us };
        let (mut first, mut more) = (self.first.borrow_mut(), self.more.borrow_mut());
        if first.is_none() {
            *first = Some(tried);
        } else if more.len() + 1 < ATTEMPTS_MAX {
            more.push(tried);
        }
    }

    /// Whether more was needed than one good answer.
    pub(crate) fn is_noteworthy(&self) -> bool {
        let is_bad = |one: &Tried| !one.outcome.is_good();
        !self.more.borrow().is_empty() || self.first.borrow().as_ref().is_some_and(is_bad)
    }

    pub(super) fn list(&self) -> Vec<Tried> {
        self.first.borrow().iter().chain(&*self.more.borrow()).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(attempts: &Attempts, outcome: Outcome) {
        attempts.add("a:1".into(), outcome, Duration::from_micros(7));
    }

    #[test]
    fn one_good_answer_is_nothing_to_note_and_anything_else_is() {
        let attempts = Attempts::new(true);
        assert!(!attempts.is_noteworthy());
        add(&attempts, Outcome::Answered(404));
        assert!(!attempts.is_noteworthy());
        add(&attempts, Outcome::Answered(200));
        assert!(attempts.is_noteworthy(), "a hedge");
        let attempts = Attempts::new(true);
        add(&attempts, Outcome::Failed(503));
        assert!(attempts.is_noteworthy());
    }

    #[test]
    fn they_are_bounded_and_may_be_off() {
        let (on, off) = (Attempts::new(true), Attempts::new(false));
        for _ in 0..100 {
            add(&on, Outcome::GivenUp);
            add(&off, Outcome::GivenUp);
        }
        assert_eq!((on.list().len(), off.list().len()), (ATTEMPTS_MAX, 0));
    }
}
