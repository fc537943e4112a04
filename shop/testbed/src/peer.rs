//! A service beside the one under test.

use leeward_events::{Envelope, Event};
use leeward_service::{Command, Kit, Minter, command};
use leeward_store::{Db, Tx};
use serde::Deserialize;

use crate::bus::Ear;

/// A service beside the one under test: it tells events and asks commands, through an outbox of its own.
#[derive(Clone, Debug)]
pub struct Peer {
    kit: Kit,
    db: Db,
    ear: Ear,
}

/// A reply as it goes over the bus.
#[derive(Deserialize)]
struct Reply<R> {
    key: String,
    reply: R,
}

impl Peer {
    pub(crate) fn new(kit: Kit, db: Db, ear: Ear) -> Self {
        Self { kit, db, ear }
    }

    /// Tells an event.
    pub async fn tell<E: Event>(&self, event: E) {
        let (outbox, cause) = (self.kit.outbox.clone(), self.kit.correlation());
        let append = async move |tx: &mut Tx| outbox.append(tx, &event, &cause).await;
        self.db.write(append).await.unwrap();
    }

    /// Signs as this service.
    pub(crate) fn minter(&self) -> &Minter {
        self.kit.minter()
    }

    /// Asks for something under `key`, and waits for the answer.
    pub async fn ask<C: Command>(&self, command: C, key: &str) -> C::Reply {
        let (skip, kind) = (self.ear.len(), format!("reply.{}", self.kit.name));
        let (outbox, cause, asked) = (self.kit.outbox.clone(), self.kit.correlation(), key.to_owned());
        let send = async move |tx: &mut Tx| command::send(tx, &outbox, &command, &asked, &cause).await;
        self.db.write(send).await.unwrap();
        let find = |envelope: &Envelope| {
            let is_reply = *envelope.kind == *kind;
            let reply: Reply<C::Reply> =
                is_reply.then(|| serde_json::from_str(envelope.data.get()).ok())??;
            (reply.key == key).then_some(reply.reply)
        };
        self.ear.find(skip, "the reply", find).await
    }
}
