//! One event on its way through a transaction.

use std::sync::Arc;

use bytes::Bytes;

use super::handler::Fault;
use crate::bus::{Delivery, Position};
use crate::envelope::{self, Envelope};

#[derive(Debug)]
pub(super) struct Work {
    pub(super) origin: Origin,
    pub(super) body: Bytes,
    /// What could not be read as an event is poison.
    pub(super) event: Result<Arc<Envelope>, String>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    Bus { position: Position },
    Parked { seq: i64, attempts: u32 },
}

/// The names under which an event is parked.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) key: Arc<str>,
    pub(super) source: Arc<str>,
    pub(super) id: Arc<str>,
    pub(super) kind: Arc<str>,
}

impl Work {
    pub(super) fn of(delivery: Delivery) -> Self {
        let event = read(&delivery.body);
        Self { origin: Origin::Bus { position: delivery.position }, body: delivery.body, event }
    }

    pub(super) fn parked(seq: i64, attempts: u32, body: &[u8]) -> Self {
        let body = Bytes::copy_from_slice(body);
        Self { origin: Origin::Parked { seq, attempts }, event: read(&body), body }
    }

    /// How many attempts there have been once this one has failed.
    pub(super) fn attempts(&self) -> u32 {
        match self.origin {
            Origin::Bus { .. } => 1,
            Origin::Parked { attempts, .. } => attempts.saturating_add(1),
        }
    }

    /// The fault that is known without asking a handler.
    pub(super) fn unreadable(&self) -> Option<Fault> {
        self.event.as_ref().err().map(|reason| Fault::Poison(reason.clone()))
    }

    pub(super) fn key(&self) -> Option<&Arc<str>> {
        self.event.as_ref().ok().map(|event| &event.subject)
    }

    /// An event that cannot be read is parked alone, under its position.
    pub(super) fn names(&self) -> Names {
        match (&self.event, self.origin) {
            (Ok(event), _) => Names {
                key: event.subject.clone(),
                source: event.source.clone(),
                id: event.id.clone(),
                kind: event.kind.clone(),
            },
            (Err(_), origin) => {
                let number = match origin {
                    Origin::Bus { position } => position.get(),
                    Origin::Parked { seq, .. } => seq,
                };
                let id: Arc<str> = format!("unreadable-{number}").into();
                Names { key: id.clone(), source: "".into(), id, kind: "".into() }
            }
        }
    }
}

fn read(body: &[u8]) -> Result<Arc<Envelope>, String> {
    Envelope::parse(body).map(Arc::new).map_err(|cause: envelope::Error| cause.to_string())
}
