//! `sqlite:PATH`: one file of its own, one task that appends to it, a tail in memory for live subscribers.

mod append;
mod log;

use std::sync::Arc;

use leeward_runtime::{Stage, Tasks};
use leeward_store::{Db, params};
use tokio::sync::{mpsc, oneshot};

use self::append::{Appender, Request};
use super::Options;
use super::error::Error;
use super::hub::{Hub, Member};
use super::message::{Message, Position, Start};

pub(super) use self::log::older;

/// Most publishes waiting for the appender: each is a batch of a caller that waits for its answer, so that a process with a relay a
/// service never has more than some dozens.
const QUEUE_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Sqlite {
    pub(super) hub: Arc<Hub>,
    pub(super) db: Db,
    requests: mpsc::Sender<Request>,
}

impl Sqlite {
    pub(super) async fn open(url: &str, options: &Options, tasks: &Tasks) -> Result<Self, Error> {
        let db = Db::open(url, leeward_store::Options::default()).await?;
        db.migrate("bus", log::MIGRATIONS).await?;
        let opened = log::load(&db, super::new_bus_id(options)).await?;
        let hub = Arc::new(Hub::new(opened.bus_id, &*options.rng, opened.head, opened.groups));
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let appender = Appender {
            hub: hub.clone(),
            db: db.clone(),
            limit_bytes: options.limit_bytes,
            keep_bytes: options.keep_bytes.min(options.limit_bytes),
            tail_bytes: options.tail_bytes,
        };
        tasks.spawn(Stage::Store, "bus.append", |stop| appender.run(queue, stop));
        Ok(Self { hub, db, requests })
    }

    pub(super) async fn publish(&self, messages: Vec<Message>) -> Result<Position, Error> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Publish { messages, reply }).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    pub(super) async fn enter(
        &self,
        group: &str,
        start: &Start,
        takes_on: bool,
    ) -> Result<(Member, Position), Error> {
        let (member, after, acknowledged) = self.hub.enter(group, start, takes_on)?;
        let name = member.group.clone();
        self.db
            .write(async move |tx| {
                tx.execute(
                    "INSERT INTO bus_group (name, acknowledged) VALUES ($1, $2)
                     ON CONFLICT (name) DO UPDATE SET acknowledged = excluded.acknowledged
                     WHERE bus_group.acknowledged < excluded.acknowledged",
                    params![name, acknowledged.get()],
                )
                .await
            })
            .await?;
        Ok((member, after))
    }

    pub(super) async fn acknowledge(&self, member: &Member, position: Position) -> Result<(), Error> {
        let Some(position) = self.hub.acknowledge(member, position)? else { return Ok(()) };
        let name = member.group.clone();
        let sql = "UPDATE bus_group SET acknowledged = $2 WHERE name = $1 AND acknowledged < $2";
        self.db.write(async move |tx| tx.execute(sql, params![name, position.get()]).await).await?;
        Ok(())
    }

    pub(super) async fn remove(&self, group: &str) -> Result<bool, Error> {
        let name = group.to_owned();
        let sql = "DELETE FROM bus_group WHERE name = $1";
        self.db.write(async move |tx| tx.execute(sql, params![name]).await).await?;
        Ok(self.hub.remove(group))
    }

    /// Appends what is queued, closes the file and refuses everything from then on.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Request::Close { reply }).await.is_ok() {
            let _ = answer.await;
        }
        self.db.close().await;
    }
}
