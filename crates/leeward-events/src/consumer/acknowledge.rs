//! What a consumer tells bus and database now and then, rather than for each event.

use std::time::Duration;

use leeward_store::Tx;

use super::run::Session;
use super::schema::{Stored, save_position};
use crate::bus::Position;

/// How often the bus hears how far the group is: it keeps what is not acknowledged, and each acknowledgement is a commit of its own.
pub(super) const ACKNOWLEDGE_EVERY: Duration = Duration::from_millis(500);

/// How often the position is stored when none of the group's events came: a restart looks again at what has passed since then.
const STORE_EVERY: Duration = Duration::from_secs(10);

impl Session<'_> {
    /// Until the next look at whether there is something to acknowledge. There may be although no batch came: while the
    /// subscription waits, it goes past events that are not for this group.
    pub(super) fn acknowledge_in(&self) -> Option<Duration> {
        Some(self.acknowledge_due.saturating_duration_since(self.core.clock.now()))
    }

    /// Positions of another bus say nothing about this one.
    fn has_news(&self) -> bool {
        let (bus, scanned) = (self.subscription.bus(), self.subscription.scanned());
        match &self.acknowledged {
            Some(at) if Some(&at.bus) == bus => scanned > at.position,
            _ => bus.is_some() && scanned > Position::START,
        }
    }

    /// Tells the bus how far the group is. Everything handed out is done whenever this runs.
    pub(super) async fn acknowledge(&mut self) {
        let now = self.core.clock.now();
        self.acknowledge_due = now + ACKNOWLEDGE_EVERY;
        if !self.has_news() {
            return;
        }
        let (bus, position) = (self.subscription.bus().cloned(), self.subscription.scanned());
        if now.saturating_duration_since(self.stored_at) >= STORE_EVERY {
            self.store(position).await;
        }
        match self.subscription.acknowledge(position).await {
            Ok(()) => self.acknowledged = bus.map(|bus| Stored { bus, position }),
            Err(cause) => {
                tracing::debug!(group = %self.core.group, %cause, "an acknowledgement was not taken")
            }
        }
        self.core.metrics.lag.set(self.subscription.head().get() - position.get());
    }

    async fn store(&mut self, position: Position) {
        self.stored_at = self.core.clock.now();
        let Some(bus) = self.subscription.bus().cloned() else { return };
        let at = Stored { bus, position };
        if self.stored.as_ref() == Some(&at) {
            return;
        }
        let (group, stored) = (self.core.group.clone(), at.clone());
        if self.core.db.write(async move |tx: &mut Tx| save_position(tx, &group, &stored).await).await.is_ok()
        {
            self.stored = Some(at);
        }
    }

    /// Last words before a stop.
    pub(super) async fn settle(&mut self) {
        if !self.abandoned && self.has_news() {
            self.store(self.subscription.scanned()).await;
            self.acknowledge().await;
        }
    }

    pub(super) async fn clean(&mut self) {
        let dedupe = self.core.dedupe.clone();
        let cleaned = self.core.db.write(async move |tx: &mut Tx| dedupe.clean(tx).await).await;
        if let Err(cause) = cleaned {
            tracing::debug!(group = %self.core.group, %cause, "the inbox was not cleaned this time");
        }
    }
}
