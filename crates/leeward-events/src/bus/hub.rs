//! What the two local backends share: the tail, the groups, and who waits for what.

use std::collections::BTreeMap;
use std::sync::Arc;

use leeward_resilience::Rng;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::error::Error;
use super::message::{GroupLag, Message, Position, Start};
use super::tail::{Found, Tail};
use crate::pattern::{self, Patterns};

/// Most groups of a bus: each is looked at when the log is trimmed, and each can hold up its retention.
pub(super) const GROUPS_MAX: usize = 256;

/// One lock over tail and groups, held for microseconds, never while waiting.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) bus_id: Arc<str>,
    state: Mutex<State>,
    /// Sent whenever a waiting subscriber has reason to look again.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    tail: Tail,
    groups: BTreeMap<Arc<str>, Group>,
    /// Counts on from a random number, so that a session of an earlier run of the owner is not taken for one of this.
    last_session: u64,
    closed: bool,
}

#[derive(Debug)]
struct Group {
    acknowledged: Position,
    /// The newest subscription, which alone may read and acknowledge.
    session: u64,
    active: bool,
}

/// Sessions stay numbers that every JSON reader holds exactly.
const SESSION_BITS: u32 = 52;

/// A subscription's place in its group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) group: Arc<str>,
    pub(super) session: u64,
}

impl Hub {
    /// `groups` with what each has acknowledged; `head` is the newest event in the log.
    pub(super) fn new(
        bus_id: Arc<str>,
        rng: &dyn Rng,
        head: Position,
        groups: Vec<(Arc<str>, Position)>,
    ) -> Self {
        let groups = groups
            .into_iter()
            .map(|(name, acknowledged)| (name, Group { acknowledged, session: 0, active: false }))
            .collect();
        let last_session = rng.next_u64() >> (u64::BITS - SESSION_BITS);
        let state = State { tail: Tail::behind(head), groups, last_session, closed: false };
        Self { bus_id, state: Mutex::new(state), changed: watch::Sender::new(()) }
    }

    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Adds messages that are in the log now; positions follow on the head.
    pub(super) fn append(&self, messages: impl IntoIterator<Item = Message>, bytes_max: usize) {
        let mut state = self.state.lock();
        for message in messages {
            state.tail.push(message);
        }
        state.tail.shrink(bytes_max);
        drop(state);
        self.changed.send_replace(());
    }

    /// Adds messages that have no other log than the tail, if they fit under `limit` once what everybody has acknowledged, and is
    /// not among the newest `keep` bytes, is forgotten.
    pub(super) fn append_only(
        &self,
        messages: Vec<Message>,
        limit: usize,
        keep: usize,
    ) -> Result<Position, Error> {
        let added: usize = messages.iter().map(super::tail::cost).sum();
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        let done = state.acknowledged_by_all();
        while state.tail.bytes() + added > keep && state.tail.forget_through(done) {}
        let held = state.tail.bytes();
        if held + added > limit {
            let number = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
            return Err(Error::Full { held_bytes: number(held), limit_bytes: number(limit) });
        }
        for message in messages {
            state.tail.push(message);
        }
        let head = state.tail.head();
        drop(state);
        self.changed.send_replace(());
        Ok(head)
    }

    /// Enters a group as its only member; gives where to read on and what the group has acknowledged now. `takes_on`: it only goes on
    /// reading where a subscription of the same run was cut off, and has not said that it is done with what came before.
    pub(super) fn enter(
        &self,
        group: &str,
        start: &Start,
        takes_on: bool,
    ) -> Result<(Member, Position, Position), Error> {
        if !pattern::is_kind(group) {
            return Err(Error::Group { group: group.chars().take(pattern::KIND_BYTES_MAX).collect() });
        }
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        let head = state.tail.head();
        let known = state.groups.get(group).map(|group| group.acknowledged);
        if known.is_none() && state.groups.len() >= GROUPS_MAX {
            return Err(Error::Groups { limit: GROUPS_MAX });
        }
        let after = self.first_read(start, known, head);
        // A group acknowledges by starting later, and never takes back what it has acknowledged.
        let acknowledged = match known {
            Some(known) if takes_on => known,
            Some(known) => known.max(after),
            None if takes_on => Position::START,
            None => after,
        };
        let name: Arc<str> = group.into();
        state.last_session += 1;
        let session = state.last_session;
        state.groups.insert(name.clone(), Group { acknowledged, session, active: true });
        let member = Member { group: name, session };
        drop(state);
        // The member before this one is to notice.
        self.changed.send_replace(());
        Ok((member, after, acknowledged))
    }

    fn first_read(&self, start: &Start, known: Option<Position>, head: Position) -> Position {
        match start {
            Start::Acknowledged => known.unwrap_or(Position::START),
            Start::Beginning => Position::START,
            Start::Now => head,
            // A position past the head belongs to a log that has lost its end, so that its numbers come again.
            Start::Resume { bus, position } if *bus == self.bus_id && *position <= head => *position,
            Start::Resume { .. } => Position::START,
        }
    }

    pub(super) fn read(
        &self,
        member: &Member,
        after: Position,
        patterns: &Patterns,
        events_max: usize,
    ) -> Result<Found, Error> {
        let state = self.state.lock();
        state.check(member)?;
        Ok(state.tail.read(after, patterns, events_max))
    }

    /// The newest event.
    pub(super) fn head(&self) -> Position {
        self.state.lock().tail.head()
    }

    /// The position before the oldest event in memory.
    pub(super) fn floor(&self) -> Position {
        self.state.lock().tail.floor()
    }

    /// Notes that the group is done up to `position`, or up to the head, whatever the caller believes; how far that is, if it is news.
    pub(super) fn acknowledge(&self, member: &Member, position: Position) -> Result<Option<Position>, Error> {
        let mut state = self.state.lock();
        state.check(member)?;
        let position = position.min(state.tail.head());
        let Some(group) = state.groups.get_mut(&member.group) else { return Ok(None) };
        if position <= group.acknowledged {
            return Ok(None);
        }
        group.acknowledged = position;
        Ok(Some(position))
    }

    pub(super) fn leave(&self, member: &Member) {
        if let Some(group) = self.state.lock().groups.get_mut(&member.group)
            && group.session == member.session
        {
            group.active = false;
        }
    }

    /// Forgets a group; whether there was one. Its subscriber, if any, is superseded.
    pub(super) fn remove(&self, group: &str) -> bool {
        let removed = self.state.lock().groups.remove(group).is_some();
        self.changed.send_replace(());
        removed
    }

    /// The position that every group has acknowledged. Without any group it is the newest: nobody waits for anything.
    pub(super) fn acknowledged_by_all(&self) -> Position {
        self.state.lock().acknowledged_by_all()
    }

    pub(super) fn lag(&self) -> Vec<GroupLag> {
        let state = self.state.lock();
        let head = state.tail.head();
        let lag = |(name, group): (&Arc<str>, &Group)| GroupLag {
            group: name.clone(),
            acknowledged: group.acknowledged,
            head,
            behind: u64::try_from(head.get() - group.acknowledged.get()).unwrap_or(0),
            active: group.active,
        };
        state.groups.iter().map(lag).collect()
    }

    /// Every later call fails with [`Error::Closed`].
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.send_replace(());
    }
}

impl State {
    fn check(&self, member: &Member) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        match self.groups.get(&member.group) {
            Some(group) if group.session == member.session => Ok(()),
            _ => Err(Error::Superseded { group: member.group.to_string() }),
        }
    }

    fn acknowledged_by_all(&self) -> Position {
        let oldest = self.groups.values().map(|group| group.acknowledged).min();
        oldest.unwrap_or_else(|| self.tail.head())
    }
}
