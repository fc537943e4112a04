//! The one writer of the bus's log: whatever is queued goes into one commit, in the order it came.

use std::sync::Arc;

use leeward_runtime::Stop;
use leeward_store::{Db, Tx, params};
use tokio::sync::{mpsc, oneshot};

use crate::bus::error::Error;
use crate::bus::hub::Hub;
use crate::bus::message::{Message, Position};

/// Most events in one commit: at 5 us a row the last publisher waits 10 ms.
const COMMIT_EVENTS_MAX: usize = 2048;

/// Rows trimmed with a publish beside twice its own number: the log shrinks while it is written, without a task of its own.
const TRIM_EVENTS_MIN: i64 = 64;

/// Rows trimmed by a publish that would not fit otherwise.
const TRIM_EVENTS_FULL: i64 = 4096;

#[derive(Debug)]
pub(super) enum Request {
    Publish { messages: Vec<Message>, reply: oneshot::Sender<Result<Position, Error>> },
    Close { reply: oneshot::Sender<()> },
}

#[derive(Debug)]
pub(super) struct Appender {
    pub(super) hub: Arc<Hub>,
    pub(super) db: Db,
    pub(super) limit_bytes: u64,
    pub(super) keep_bytes: u64,
    pub(super) tail_bytes: usize,
}

type Replies = Vec<oneshot::Sender<Result<Position, Error>>>;

/// What became of one publish: its last position, or how many bytes the bus held when it was refused.
type Verdict = Result<Position, u64>;

impl Appender {
    /// Serves publishes until it is stopped, asked to close, or nobody can ask any more; then what is queued is still appended.
    pub(super) async fn run(self, mut queue: mpsc::Receiver<Request>, stop: Stop) {
        let mut closing = None;
        while closing.is_none() {
            let Some(first) = stop.or(queue.recv()).await.flatten() else { break };
            closing = self.serve(first, &mut queue).await;
        }
        queue.close();
        while let Some(request) = queue.recv().await {
            self.serve(request, &mut queue).await;
        }
        self.hub.close();
        if let Some(reply) = closing {
            let _ = reply.send(());
        }
    }

    /// Appends the first publish and all that wait behind it; gives back a request to close, if one came.
    async fn serve(
        &self,
        first: Request,
        queue: &mut mpsc::Receiver<Request>,
    ) -> Option<oneshot::Sender<()>> {
        let mut batches = Vec::new();
        let mut replies = Vec::new();
        let mut events = 0;
        let mut next = Some(first);
        let mut closing = None;
        while let Some(request) = next.take() {
            match request {
                Request::Publish { messages, reply } => {
                    events += messages.len();
                    batches.push(messages);
                    replies.push(reply);
                }
                Request::Close { reply } => closing = Some(reply),
            }
            if closing.is_none() && events < COMMIT_EVENTS_MAX {
                next = queue.try_recv().ok();
            }
        }
        if !batches.is_empty() {
            self.commit(batches, replies).await;
        }
        closing
    }

    async fn commit(&self, batches: Vec<Vec<Message>>, replies: Replies) {
        let trimmable = self.hub.acknowledged_by_all();
        let (limit, keep) = (self.limit_bytes, self.keep_bytes);
        let written = self
            .db
            .write(async move |tx: &mut Tx| {
                let mut log = Log::open(tx).await?;
                let mut verdicts = Vec::with_capacity(batches.len());
                for batch in &batches {
                    verdicts.push(log.publish(tx, batch, trimmable, limit, keep).await?);
                }
                log.save(tx).await?;
                Ok::<_, leeward_store::Error>((batches, verdicts))
            })
            .await;
        match written {
            Err(cause) => {
                for reply in replies {
                    let _ = reply.send(Err(cause.clone().into()));
                }
            }
            Ok((batches, verdicts)) => {
                let taken = batches.into_iter().zip(&verdicts).filter(|(_, verdict)| verdict.is_ok());
                self.hub.append(taken.flat_map(|(batch, _)| batch), self.tail_bytes);
                for (reply, verdict) in replies.into_iter().zip(verdicts) {
                    let full = |held_bytes| Error::Full { held_bytes, limit_bytes: limit };
                    let _ = reply.send(verdict.map_err(full));
                }
            }
        }
    }
}

/// The log's head, floor and size, in a transaction.
struct Log {
    head: i64,
    /// The position before the oldest row.
    floor: i64,
    bytes: u64,
}

impl Log {
    async fn open(tx: &mut Tx) -> Result<Self, leeward_store::Error> {
        let row = tx.query_one("SELECT head, floor, bytes FROM bus_state", params![]).await?;
        Ok(Self { head: row.get(0)?, floor: row.get(1)?, bytes: row.get(2)? })
    }

    /// Inserts a batch, or refuses it as a whole; rows trimmed to make room stay trimmed either way.
    async fn publish(
        &mut self,
        tx: &mut Tx,
        batch: &[Message],
        trimmable: Position,
        limit: u64,
        keep: u64,
    ) -> Result<Verdict, leeward_store::Error> {
        let added: u64 = batch.iter().map(|message| size(message.body().len())).sum();
        if self.bytes + added > keep {
            let own = i64::try_from(batch.len()).unwrap_or(i64::MAX);
            self.trim(tx, trimmable, own.saturating_mul(2).max(TRIM_EVENTS_MIN)).await?;
        }
        if self.bytes + added > limit {
            self.trim(tx, trimmable, TRIM_EVENTS_FULL).await?;
        }
        if self.bytes + added > limit {
            return Ok(Err(self.bytes));
        }
        for message in batch {
            self.head += 1;
            tx.execute(
                "INSERT INTO bus_log (position, kind, body) VALUES ($1, $2, $3)",
                params![self.head, message.kind(), &message.body()[..]],
            )
            .await?;
        }
        self.bytes += added;
        Ok(Ok(Position::new(self.head)))
    }

    /// Deletes up to `rows_max` of the oldest rows that every group has acknowledged.
    async fn trim(
        &mut self,
        tx: &mut Tx,
        trimmable: Position,
        rows_max: i64,
    ) -> Result<(), leeward_store::Error> {
        let last = trimmable.get().min(self.floor.saturating_add(rows_max)).min(self.head);
        if last <= self.floor {
            return Ok(());
        }
        let sql = "DELETE FROM bus_log WHERE position <= $1 RETURNING length(body)";
        for row in tx.query(sql, params![last]).await? {
            self.bytes = self.bytes.saturating_sub(row.get(0)?);
        }
        self.floor = last;
        Ok(())
    }

    async fn save(&self, tx: &mut Tx) -> Result<(), leeward_store::Error> {
        let bytes = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        let sql = "UPDATE bus_state SET head = $1, floor = $2, bytes = $3";
        tx.execute(sql, params![self.head, self.floor, bytes]).await?;
        Ok(())
    }
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
