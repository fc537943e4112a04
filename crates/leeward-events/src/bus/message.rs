//! What goes into a bus and what comes out of it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::envelope::{self, Envelope, Head};

/// A place in a bus's log: 1 is the first event ever published to it. [`Position::START`] is before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(i64);

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// The position with this number; a negative one is [`Position::START`].
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(if number < 0 { 0 } else { number })
    }

    /// The position as a number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    pub(crate) const fn plus(self, count: i64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An event in its serialised form, with what a bus must know of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Message {
    kind: Arc<str>,
    body: Bytes,
}

impl Message {
    /// Serialises an envelope.
    ///
    /// # Errors
    /// As [`Envelope::to_json`].
    pub fn new(envelope: &Envelope) -> Result<Self, envelope::Error> {
        Ok(Self { kind: envelope.kind.clone(), body: envelope.to_json()?.into() })
    }

    /// Takes over an event that came from outside as JSON.
    ///
    /// # Errors
    /// [`envelope::Error`]: it is no event.
    pub fn from_json(body: Bytes) -> Result<Self, envelope::Error> {
        let kind = Head::parse(&body)?.kind.as_ref().into();
        Ok(Self { kind, body })
    }

    /// An event that this crate serialised itself.
    pub(crate) fn trusted(kind: Arc<str>, body: Bytes) -> Self {
        Self { kind, body }
    }

    /// The event's kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The event as CloudEvents JSON.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// One event as a subscription hands it out.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Where in the bus's log it stands.
    pub position: Position,
    /// The event as CloudEvents JSON.
    pub body: Bytes,
}

impl Delivery {
    /// Reads the event.
    ///
    /// # Errors
    /// As [`Envelope::parse`].
    pub fn envelope(&self) -> Result<Envelope, envelope::Error> {
        Envelope::parse(&self.body)
    }
}

/// Events that came together: at least one, in the order of their positions.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Which bus the positions belong to: another id means another log, whose numbers say nothing about this one's.
    pub bus: Arc<str>,
    /// The events.
    pub deliveries: Vec<Delivery>,
    /// Everything up to here has been looked at: acknowledge this, not the last delivery, so that events that no pattern of the
    /// group takes do not hold up the bus's retention.
    pub through: Position,
    /// The newest event of the bus at the time: how far the group is behind.
    pub head: Position,
}

/// Where a subscription starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// After what the group has acknowledged; a group that the bus does not know starts at the beginning.
    #[default]
    Acknowledged,
    /// At the oldest event that the bus still has.
    Beginning,
    /// After the newest event: only what comes from now on.
    Now,
    /// After a position that the subscriber stored itself. If the bus is not the one the position belongs to, it starts at the
    /// beginning.
    Resume {
        /// [`Batch::bus`] that came with the position.
        bus: Arc<str>,
        /// The last position done.
        position: Position,
    },
}

/// How far a group is behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLag {
    /// The group.
    pub group: Arc<str>,
    /// What it has acknowledged.
    pub acknowledged: Position,
    /// The newest event of the bus.
    pub head: Position,
    /// Events between the two: an upper bound, since it counts those that the group's patterns do not take.
    pub behind: u64,
    /// Whether somebody is subscribed right now.
    pub active: bool,
}
