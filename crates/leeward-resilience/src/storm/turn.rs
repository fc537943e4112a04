//! What the client does: an attempt of a call with the hedges beside it, through the policies in the pipeline's order.

use std::time::Duration;

use super::limit::Place;
use super::run::{Call, Happens, Run};
use crate::breaker::Permit;
use crate::deadline::Deadline;
use crate::outcome::Class;
use crate::pipeline;
use crate::time::Instant;

/// An attempt and the hedges beside it, as long as the client has no answer.
#[derive(Debug)]
pub(super) struct Turn {
    call: Call,
    started: Instant,
    /// So long after an attempt the next one is sent beside it.
    delay: Duration,
    /// Attempts on their way.
    attempts: Vec<usize>,
    /// Hedges so far.
    hedges: u32,
    may_hedge: bool,
    /// How the first attempt ended, when not well: that is how all of it ends when no hedge is better.
    first: Option<End>,
}

/// How an attempt ended that did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Failed,
    /// By a policy of the client's own.
    Refused,
}

/// An attempt for which the client still waits.
#[derive(Debug)]
pub(super) struct Attempt {
    turn: usize,
    is_first: bool,
    permit: Option<Permit>,
    place: Option<Place>,
}

impl Run<'_> {
    /// Begins a turn of a call.
    pub(super) fn begin(&mut self, call: Call, now: Instant) {
        let number = self.next_turn;
        self.next_turn += 1;
        let delay = self.hedger.as_ref().map_or(Duration::ZERO, |hedger| hedger.delay(now));
        let (attempts, first, may_hedge) = (Vec::new(), None, self.hedger.is_some());
        let turn = Turn { call, started: now, delay, attempts, hedges: 0, may_hedge, first };
        self.turns.insert(number, turn);
        self.send(number, true, now);
        self.plan_hedge(number, now);
    }

    fn plan_hedge(&mut self, number: usize, now: Instant) {
        let Some(turn) = self.turns.get(&number).filter(|turn| turn.may_hedge) else { return };
        let call = pipeline::Call::REPLAYABLE.deadline(Deadline::at(turn.call.deadline));
        let hedge = self.storm.client.hedge.as_ref();
        if let Some(due) = hedge.and_then(|hedge| hedge.due(turn.hedges, call, turn.delay, now)) {
            self.at(due, Happens::HedgeDue { turn: number });
        }
    }

    /// A hedge is due, unless the turn is over or had an answer that was not good.
    pub(super) fn hedge(&mut self, number: usize, now: Instant) {
        let storm = self.storm;
        let Some(hedge) = &storm.client.hedge else { return };
        let Some(turn) = self.turns.get_mut(&number).filter(|turn| turn.may_hedge) else { return };
        let open = self.breaker.as_ref().is_some_and(|breaker| breaker.retry_after(now).is_some());
        turn.may_hedge = hedge.fits(Some(Deadline::at(turn.call.deadline)), now) && !open;
        if !turn.may_hedge {
            return;
        }
        if self.budget.as_ref().is_some_and(|budget| !budget.withdraw(now)) {
            turn.may_hedge = false;
            self.second(now).budget_refused += 1;
            return;
        }
        turn.hedges += 1;
        if !hedge.mode.is_shadow() {
            self.second(now).hedges += 1;
            self.send(number, false, now);
        }
        self.plan_hedge(number, now);
    }

    /// Sends an attempt, unless a policy refuses it.
    fn send(&mut self, turn: usize, is_first: bool, now: Instant) {
        let number = self.attempts.len();
        self.attempts.push(Some(Attempt { turn, is_first, permit: None, place: None }));
        if let Some(turn) = self.turns.get_mut(&turn) {
            turn.attempts.push(number);
        }
        match self.breaker.as_ref().map(|breaker| breaker.acquire(now)) {
            Some(Err(_)) => {
                self.second(now).breaker_refused += 1;
                return self.refuse(number, now);
            }
            Some(Ok(permit)) => self.with(number, |attempt| attempt.permit = Some(permit)),
            None => {}
        }
        if self.rate.as_ref().is_some_and(|rate| !rate.check(now).allowed) {
            self.second(now).rate_refused += 1;
            return self.refuse(number, now);
        }
        let Some(limit) = &mut self.limit else { return self.dispatch(number, now) };
        let (entered, max_wait) = (limit.enter(number, now), limit.max_wait);
        self.with(number, |attempt| attempt.place = entered.place);
        match entered.place {
            Some(Place::Permit) => self.dispatch(number, now),
            Some(Place::Queued { .. }) => {
                self.with(number, |attempt| attempt.start_at(Instant::NEVER));
                let deadline = self.turns.get(&turn).map_or(now, |turn| turn.call.deadline);
                self.at((now + max_wait).min(deadline), Happens::WaitedTooLong { attempt: number });
            }
            None => self.refuse_by_limit(number, now),
        }
        if let Some(displaced) = entered.displaced {
            self.refuse_by_limit(displaced, now);
        }
    }

    fn with(&mut self, attempt: usize, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = &mut self.attempts[attempt] {
            change(attempt);
        }
    }

    /// Sends those whose turn before the concurrency limit has come.
    pub(super) fn let_in(&mut self, now: Instant) {
        while let Some(attempt) = self.limit.as_mut().and_then(|limit| limit.grant(now)) {
            let place = self.attempts[attempt].as_mut().and_then(|it| it.place.replace(Place::Permit));
            if let (Some(limit), Some(place)) = (&mut self.limit, place) {
                limit.leave(place);
            }
            self.with(attempt, |attempt| attempt.start_at(now));
            self.dispatch(attempt, now);
        }
    }

    /// It stands before the limit for as long as anybody may.
    pub(super) fn waited_too_long(&mut self, attempt: usize, now: Instant) {
        let place = self.attempts[attempt].as_ref().and_then(|it| it.place);
        if matches!(place, Some(Place::Queued { .. })) {
            self.refuse_by_limit(attempt, now);
        }
    }

    /// The deadline of an attempt's call, as long as the client waits for it.
    pub(super) fn deadline(&self, attempt: usize) -> Option<Instant> {
        let turn = self.attempts[attempt].as_ref()?.turn;
        self.turns.get(&turn).map(|turn| turn.call.deadline)
    }

    fn refuse_by_limit(&mut self, attempt: usize, now: Instant) {
        self.second(now).concurrency_refused += 1;
        self.refuse(attempt, now);
    }

    /// A policy refuses what no other one is to hear of.
    fn refuse(&mut self, attempt: usize, now: Instant) {
        let Some(mut attempt) = self.take(attempt) else { return };
        if let Some(permit) = attempt.permit.take() {
            permit.ignored(now);
        }
        self.ended(&attempt, End::Refused, now);
    }

    /// An attempt failed, or took too long.
    pub(super) fn failed(&mut self, attempt: usize, now: Instant) {
        let Some(mut attempt) = self.take(attempt) else { return };
        if let Some(permit) = attempt.permit.take() {
            permit.failure(now);
        }
        self.ended(&attempt, End::Failed, now);
    }

    /// The first good answer ends the turn, and drops the other attempts.
    pub(super) fn succeeded(&mut self, attempt: usize, now: Instant) {
        let Some(mut attempt) = self.take(attempt) else { return };
        if let Some(permit) = attempt.permit.take() {
            permit.success(now);
        }
        let Some(turn) = self.turns.remove(&attempt.turn) else { return };
        turn.attempts.iter().for_each(|&other| drop(self.take(other)));
        let (lasted, second) = (now.saturating_duration_since(turn.started), self.second(now));
        second.good += 1;
        second.hedges_won += u32::from(!attempt.is_first);
        // As the hedger does: what lost is known to take longer than so, and what failed says nothing.
        let counts = attempt.is_first || (turn.first.is_none() && lasted > turn.delay);
        if let Some(hedger) = self.hedger.as_ref().filter(|_| counts) {
            hedger.learn(lasted, now);
        }
    }

    /// The client is done with an attempt. What it holds of the limit is free from here on.
    fn take(&mut self, attempt: usize) -> Option<Attempt> {
        let attempt = self.attempts[attempt].take()?;
        if let (Some(limit), Some(place)) = (&mut self.limit, attempt.place) {
            limit.leave(place);
        }
        Some(attempt)
    }

    /// An answer that is not good ends the hedging, and the turn when no other attempt is on its way.
    fn ended(&mut self, attempt: &Attempt, end: End, now: Instant) {
        let Some(turn) = self.turns.get_mut(&attempt.turn) else { return };
        turn.may_hedge = false;
        if attempt.is_first {
            turn.first = Some(end);
        }
        if turn.attempts.iter().any(|&other| self.attempts[other].is_some()) {
            return;
        }
        let Some(Turn { call, first, .. }) = self.turns.remove(&attempt.turn) else { return };
        match first {
            Some(End::Failed) => self.retry(call, now),
            Some(End::Refused) | None => self.second(now).lost += 1,
        }
    }

    /// A failed turn is followed by another one, or its call is lost.
    fn retry(&mut self, call: Call, now: Instant) {
        let deadline = Deadline::at(call.deadline);
        let retry = self.storm.client.retry.as_ref();
        let wait =
            retry.and_then(|retry| retry.next(Class::RETRYABLE, call.retries, now, deadline, &*self.rng));
        let open =
            |delay| self.breaker.as_ref().is_some_and(|breaker| breaker.retry_after(now + delay).is_some());
        // As the pipeline does: a retry that an open breaker would refuse must not draw on the budget.
        let Some(wait) = wait.filter(|wait| !open(wait.delay)) else {
            self.second(now).lost += 1;
            return;
        };
        if self.budget.as_ref().is_none_or(|budget| budget.withdraw(now)) {
            self.at(now + wait.delay, Happens::Again { call: Call { retries: wait.done, ..call } });
        } else {
            let second = self.second(now);
            second.budget_refused += 1;
            second.lost += 1;
        }
    }
}

impl Attempt {
    const fn start_at(&mut self, at: Instant) {
        if let Some(permit) = &mut self.permit {
            permit.start_at(at);
        }
    }
}
