//! Who is being driven, who waits, and what is to be looked for. No I/O: the server reads and drives.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::ahead::Next;
use super::drive::{Input, Parked};
use super::feed::{Ask, Fed};
use crate::journal::saga::{DuePlace, Raw};
use crate::journal::signals::Addressed;
use crate::options::Options;

/// The longest sleep of the engine's task between two looks at its timers.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// What a drive begins with.
#[derive(Debug)]
pub(super) enum Work {
    /// A row just read.
    Row(Box<Raw>),
    /// A saga that is to be read; in doubt when an attempt may have been under way.
    Id { in_doubt: bool },
    /// A saga from memory, and why.
    Parked(Parked, Input),
}

/// What to look for with the next read.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "four independent flags")]
pub(super) struct Wants {
    pub(super) fresh: bool,
    pub(super) signals: bool,
    pub(super) due: bool,
    pub(super) sweep: bool,
}

/// What happened to sagas in this process without the engine. Every entry is a commit whose saga the engine would have in memory
/// otherwise, and the engine empties it at every turn.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    /// Sagas that an operator has decided about, and the version of the row since then: what the engine has of an earlier one in
    /// memory is stale.
    pub(crate) decided: Vec<(Arc<str>, i64)>,
    /// Sagas that were taken ahead, from which version, and how they go on.
    pub(super) ahead: Vec<(Arc<str>, i64, Option<Next>)>,
}

impl Mail {
    pub(super) const fn is_empty(&self) -> bool {
        self.decided.is_empty() && self.ahead.is_empty()
    }
}

/// What happened to a saga while it was driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Meanwhile {
    Nothing,
    /// Something came for it: look whether it waits for that now.
    Came,
    /// Its row was written elsewhere in this process: what is in memory is stale.
    Stale,
}

/// The engine's book. A saga is in at most one of `busy` (waiting for its turn or being driven) and `parked`.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) wants: Wants,
    /// With what happened meanwhile.
    busy: HashMap<Arc<str>, Meanwhile>,
    turns: VecDeque<(Arc<str>, Work)>,
    parked: HashMap<Arc<str>, Parked>,
    timers: BTreeSet<(i64, Arc<str>)>,
    fresh_after: i64,
    signals_after: i64,
    due_after: DuePlace,
    sweep_after: i64,
    waiting_max: usize,
    page: u16,
}

impl Book {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            wants: Wants::default(),
            busy: HashMap::new(),
            turns: VecDeque::new(),
            parked: HashMap::new(),
            timers: BTreeSet::new(),
            fresh_after: 0,
            signals_after: 0,
            due_after: DuePlace::default(),
            sweep_after: 0,
            waiting_max: options.waiting_max,
            page: options.page,
        }
    }

    pub(super) fn look_at_everything(&mut self) {
        self.wants.fresh = true;
        self.wants.signals = true;
        self.wants.due = true;
    }

    /// The next read, if any is wanted and there is room for what it brings: at most a page of turns waits.
    pub(super) fn ask(&mut self, now_ms: i64) -> Option<Ask> {
        let Wants { fresh, signals, due, sweep } = self.wants;
        if !(fresh || signals || due || sweep) || self.turns.len() >= usize::from(self.page) {
            return None;
        }
        self.wants = Wants::default();
        Some(Ask {
            fresh: fresh.then_some(self.fresh_after),
            signals: signals.then_some(self.signals_after),
            due: due.then_some((self.due_after, now_ms)),
            sweep: sweep.then_some(self.sweep_after),
            limit: self.page,
        })
    }

    pub(super) fn take(&mut self, fed: Fed) {
        let is_full = |len: usize| len >= fed.limit;
        if let Some(rows) = fed.fresh {
            self.wants.fresh |= is_full(rows.len());
            rows.into_iter().for_each(|row| self.take_row(row));
        }
        if let Some(signals) = fed.signals {
            self.wants.signals |= is_full(signals.len());
            signals.into_iter().for_each(|signal| self.take_signal(signal));
        }
        if let Some(rows) = fed.due {
            // A round goes through all that are due, once; the next begins at the front.
            let last = rows.last().map(|(place, _)| *place).filter(|_| is_full(rows.len()));
            self.wants.due |= last.is_some();
            self.due_after = last.unwrap_or_default();
            rows.into_iter().for_each(|(_, id)| self.take_due(id, fed.now_ms));
        }
        if let Some(rows) = fed.sweep {
            self.sweep_after = if is_full(rows.len()) { rows.last().map_or(0, |(seq, _)| *seq) } else { 0 };
            for (seq, id) in rows {
                if seq <= self.fresh_after {
                    self.read_unless_here(id, true);
                }
            }
        }
    }

    fn take_row(&mut self, row: Raw) {
        self.fresh_after = self.fresh_after.max(row.seq);
        if !self.is_here(&row.id) {
            self.turn(row.id.clone(), Work::Row(Box::new(row)));
        }
    }

    fn take_signal(&mut self, addressed: Addressed) {
        let Addressed { seq, saga_id, signal } = addressed;
        self.signals_after = self.signals_after.max(seq);
        if let Some(meanwhile) = self.busy.get_mut(&saga_id) {
            *meanwhile = Meanwhile::Came.max(*meanwhile);
        } else if self.parked.get(&saga_id).is_some_and(|parked| parked.awaits.as_ref() == Some(&signal.name))
        {
            self.unpark(saga_id, Input::Signal(signal));
        } else if !self.parked.contains_key(&saga_id) {
            // It waits on disk, or is no more, or is not yet: then nothing is found.
            self.read_unless_here(saga_id, false);
        }
    }

    /// On disk it is due. In memory it may have a timer of its own; if that is set for later, an operator has changed the row, and what
    /// is in memory is stale.
    fn take_due(&mut self, id: Arc<str>, now_ms: i64) {
        if let Some(meanwhile) = self.busy.get_mut(&id) {
            *meanwhile = Meanwhile::Came.max(*meanwhile);
            return;
        }
        if let Some(parked) = self.parked.get(&id) {
            if parked.due_ms <= now_ms {
                return;
            }
            self.drop_parked(&id);
        }
        self.read_unless_here(id, false);
    }

    /// Takes in what happened to sagas elsewhere in this process.
    pub(super) fn open_mail(&mut self, mail: Mail) {
        for (id, version) in mail.decided {
            match self.busy.get_mut(&id) {
                Some(meanwhile) => *meanwhile = Meanwhile::Stale,
                // What was read since then is not stale.
                None if self.parked.get(&id).is_some_and(|parked| parked.version < version) => {
                    self.drop_parked(&id);
                }
                None => {}
            }
            self.wants.due = true;
        }
        for (id, before, next) in mail.ahead {
            self.take_ahead(id, before, next);
        }
    }

    /// What is in memory of a saga that was taken ahead is replaced. What the mail brings goes on only from the very version that
    /// waits here: whether it is still the newest of any other saga, its row knows.
    fn take_ahead(&mut self, id: Arc<str>, before: i64, next: Option<Next>) {
        if let Some(meanwhile) = self.busy.get_mut(&id) {
            *meanwhile = Meanwhile::Stale;
            return;
        }
        let known = self.parked.get(&id).map(|parked| parked.version);
        if known.is_some_and(|version| version > before) {
            return;
        }
        self.drop_parked(&id);
        match next {
            Some(Next { parked, is_ready: true }) if known == Some(before) => {
                self.turn(id, Work::Parked(parked, Input::Look));
            }
            Some(Next { is_ready: true, .. }) => self.turn(id, Work::Id { in_doubt: false }),
            Some(Next { parked, is_ready: false }) => self.keep(id, parked),
            None => {}
        }
    }

    fn drop_parked(&mut self, id: &Arc<str>) {
        if let Some(parked) = self.parked.remove(id) {
            self.timers.remove(&(parked.due_ms, id.clone()));
        }
    }

    fn read_unless_here(&mut self, id: Arc<str>, in_doubt: bool) {
        if !self.is_here(&id) {
            self.turn(id, Work::Id { in_doubt });
        }
    }

    fn is_here(&self, id: &Arc<str>) -> bool {
        self.busy.contains_key(id) || self.parked.contains_key(id)
    }

    fn turn(&mut self, id: Arc<str>, work: Work) {
        self.busy.insert(id.clone(), Meanwhile::Nothing);
        self.turns.push_back((id, work));
    }

    fn unpark(&mut self, id: Arc<str>, input: Input) {
        if let Some(parked) = self.parked.remove(&id) {
            self.timers.remove(&(parked.due_ms, id.clone()));
            self.turn(id, Work::Parked(parked, input));
        }
    }

    pub(super) fn fire_timers(&mut self, now_ms: i64) {
        while let Some((due_ms, id)) = self.timers.first()
            && *due_ms <= now_ms
        {
            let id = id.clone();
            self.unpark(id, Input::Timer);
        }
    }

    pub(super) fn next(&mut self) -> Option<(Arc<str>, Work)> {
        self.turns.pop_front()
    }

    /// A drive has come to a wait.
    pub(super) fn park(&mut self, id: Arc<str>, parked: Parked) {
        match self.busy.remove(&id) {
            Some(Meanwhile::Stale) => self.turn(id, Work::Id { in_doubt: false }),
            Some(Meanwhile::Came) => self.turn(id, Work::Parked(parked, Input::Look)),
            Some(Meanwhile::Nothing) | None => self.keep(id, parked),
        }
    }

    /// Keeps a waiting saga in memory. Beyond the bound it waits on disk, where all of it is.
    fn keep(&mut self, id: Arc<str>, parked: Parked) {
        if self.parked.len() < self.waiting_max {
            self.timers.insert((parked.due_ms, id.clone()));
            self.parked.insert(id, parked);
        }
    }

    /// A drive has come to its end. What was written elsewhere meanwhile may have begun another.
    pub(super) fn gone(&mut self, id: &Arc<str>) {
        if self.busy.remove(id) == Some(Meanwhile::Stale) {
            self.turn(id.clone(), Work::Id { in_doubt: false });
        }
    }

    /// The row was changed by somebody else: read it again. What the drive had done since is in doubt.
    pub(super) fn moved(&mut self, id: &Arc<str>) {
        self.busy.remove(id);
        self.turn(id.clone(), Work::Id { in_doubt: true });
    }

    pub(super) fn waiting(&self) -> usize {
        self.parked.len()
    }

    pub(super) fn next_due_ms(&self) -> Option<i64> {
        self.timers.first().map(|(due_ms, _)| *due_ms)
    }

    pub(super) fn next_timer_in(&self, now_ms: i64) -> Duration {
        let ms = self.next_due_ms().map_or(i64::MAX, |due_ms| due_ms.saturating_sub(now_ms).max(0));
        Duration::from_millis(u64::try_from(ms).unwrap_or(0)).min(SLEEP_MAX)
    }

    pub(super) fn is_idle(&self, now_ms: i64) -> bool {
        let Wants { fresh, signals, due, .. } = self.wants;
        let looks = fresh || signals || due;
        self.turns.is_empty() && !looks && self.next_due_ms().is_none_or(|due_ms| due_ms > now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(version: i64) -> Parked {
        Parked { due_ms: i64::MAX, awaits: None, version, saga: "s", turn: Box::new(()) }
    }

    fn decided(version: i64) -> Mail {
        Mail { decided: vec![("s-1".into(), version)], ahead: Vec::new() }
    }

    #[test]
    fn mail_that_comes_late_drops_nothing_newer_than_itself() {
        let mut book = Book::new(&Options::default());
        book.park("s-1".into(), waiting(5));
        book.open_mail(decided(5));
        assert_eq!(book.waiting(), 1, "what waits was read after the decision");
        book.open_mail(Mail { decided: Vec::new(), ahead: vec![("s-1".into(), 4, None)] });
        assert_eq!(book.waiting(), 1);
        book.open_mail(decided(6));
        assert_eq!(book.waiting(), 0);
        assert!(book.wants.due, "it is found by its row");
    }

    #[test]
    fn a_saga_that_was_written_elsewhere_while_it_was_driven_is_read_again() {
        let mut book = Book::new(&Options::default());
        let id: Arc<str> = "s-1".into();
        for ends in [true, false] {
            book.turn(id.clone(), Work::Id { in_doubt: false });
            assert!(book.next().is_some());
            book.open_mail(decided(6));
            if ends {
                book.gone(&id)
            } else {
                book.park(id.clone(), waiting(5))
            }
            assert!(matches!(book.next(), Some((_, Work::Id { in_doubt: false }))));
            book.gone(&id);
            assert!(book.next().is_none());
        }
    }
}
