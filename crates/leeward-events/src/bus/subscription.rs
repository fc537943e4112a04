//! A group's view of the bus.

use std::sync::Arc;

use tokio::sync::watch;

use super::error::Error;
use super::hub::{Hub, Member};
use super::message::{Batch, Delivery, Position};
use super::remote::RemoteFeed;
use super::sqlite::{Sqlite, older};
use super::tail::Found;
use crate::pattern::Patterns;

/// A group's events, in the order of the log. Dropping it leaves the group, whose position the bus keeps.
#[derive(Debug)]
pub struct Subscription {
    feed: Feed,
}

#[derive(Debug)]
enum Feed {
    Local(Local),
    Remote(Box<RemoteFeed>),
}

impl Subscription {
    pub(super) fn local(local: Local) -> Self {
        Self { feed: Feed::Local(local) }
    }

    pub(super) fn remote(feed: RemoteFeed) -> Self {
        Self { feed: Feed::Remote(Box::new(feed)) }
    }

    /// Waits for the next events that the group's patterns take: at least one, at most `events_max`.
    ///
    /// On a remote bus it waits through outages of the owner, reconnecting after what it has handed out last.
    ///
    /// # Errors
    /// [`Error::Superseded`] when the group has a newer subscriber, [`Error::Closed`] when the bus is closed: both are final.
    /// [`Error::Store`], [`Error::Unauthorised`] and [`Error::Refused`]: the call may be repeated after a while.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next_batch(&mut self, events_max: usize) -> Result<Batch, Error> {
        let events_max = events_max.max(1);
        match &mut self.feed {
            Feed::Local(local) => local.next_batch(events_max).await,
            Feed::Remote(feed) => feed.next_batch(events_max).await,
        }
    }

    /// Tells the bus that the group is done with everything up to `position`, so that it need not keep it. Positions only
    /// move forward; call it now and then rather than for each event.
    ///
    /// # Errors
    /// [`Error::Superseded`], [`Error::Closed`]; what the bus's file or the way to its owner reports.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the position was taken.
    pub async fn acknowledge(&mut self, position: Position) -> Result<(), Error> {
        match &mut self.feed {
            Feed::Local(local) => local.acknowledge(position).await,
            Feed::Remote(feed) => feed.acknowledge(position).await,
        }
    }

    /// The newest event of the bus, as far as this subscription knows.
    #[must_use]
    pub fn head(&self) -> Position {
        match &self.feed {
            Feed::Local(local) => local.hub.head(),
            Feed::Remote(feed) => feed.head(),
        }
    }

    /// How far this subscription has looked: everything up to here has been handed out or is not for this group. Once what was handed
    /// out is done, this is the position to acknowledge.
    #[must_use]
    pub fn scanned(&self) -> Position {
        match &self.feed {
            Feed::Local(local) => local.after,
            Feed::Remote(feed) => feed.scanned(),
        }
    }

    /// The bus that the positions belong to; none while a remote bus has not been reached yet.
    #[must_use]
    pub fn bus(&self) -> Option<&Arc<str>> {
        match &self.feed {
            Feed::Local(local) => Some(&local.hub.bus_id),
            Feed::Remote(feed) => feed.bus(),
        }
    }

    /// The number of the subscription in its group: a newer one has a higher number.
    pub(super) fn session(&self) -> u64 {
        match &self.feed {
            Feed::Local(local) => local.member.session,
            Feed::Remote(_) => 0,
        }
    }
}

/// A subscription to a bus of this process.
#[derive(Debug)]
pub(super) struct Local {
    hub: Arc<Hub>,
    log: Log,
    member: Member,
    patterns: Patterns,
    after: Position,
    changed: watch::Receiver<()>,
}

/// What holds the events that are no longer in memory.
#[derive(Debug)]
pub(super) enum Log {
    /// Nothing: they are gone.
    None,
    File(Arc<Sqlite>),
}

impl Local {
    pub(super) fn new(hub: &Arc<Hub>, log: Log, member: Member, patterns: Patterns, after: Position) -> Self {
        let changed = hub.watch();
        Self { hub: hub.clone(), log, member, patterns, after, changed }
    }

    async fn next_batch(&mut self, events_max: usize) -> Result<Batch, Error> {
        loop {
            self.changed.mark_unchanged();
            match self.hub.read(&self.member, self.after, &self.patterns, events_max)? {
                Found::Next { deliveries, through, head } => {
                    if let Some(batch) = self.batch(deliveries, through, head) {
                        return Ok(batch);
                    }
                }
                Found::AtHead => {
                    // The hub lives as long as this subscription, so that its sender does.
                    let _ = self.changed.changed().await;
                }
                Found::Older => {
                    if let Some(batch) = self.older(events_max).await? {
                        return Ok(batch);
                    }
                }
            }
        }
    }

    async fn older(&mut self, events_max: usize) -> Result<Option<Batch>, Error> {
        let found = match &self.log {
            Log::None => None,
            Log::File(file) => older(&file.db, self.after, &self.patterns, events_max).await?,
        };
        // Nothing there: it was trimmed, and the tail begins at the oldest event that is left.
        let (deliveries, through) = found.unwrap_or_else(|| (Vec::new(), self.hub.floor().max(self.after)));
        let head = self.hub.head().max(through);
        Ok(self.batch(deliveries, through, head))
    }

    /// Goes on behind `through`; a batch when something matched.
    fn batch(&mut self, deliveries: Vec<Delivery>, through: Position, head: Position) -> Option<Batch> {
        self.after = through;
        (!deliveries.is_empty()).then(|| Batch { bus: self.hub.bus_id.clone(), deliveries, through, head })
    }

    async fn acknowledge(&self, position: Position) -> Result<(), Error> {
        match &self.log {
            Log::None => self.hub.acknowledge(&self.member, position).map(drop),
            Log::File(file) => file.acknowledge(&self.member, position).await,
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.hub.leave(&self.member);
    }
}
