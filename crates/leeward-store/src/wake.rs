//! Wake-ups inside the process: who waits for new rows need not poll for them.

use std::borrow::Cow;
use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::watch;

/// The topics somebody watches. A topic without watchers takes no memory, so that their number is bounded by
/// the watchers'.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    topics: Mutex<HashMap<String, watch::Sender<u64>>>,
}

impl Hub {
    pub(crate) fn watch(&self, topic: &str) -> Watch {
        let mut topics = self.topics.lock();
        topics.retain(|_, sender| !sender.is_closed());
        let sender = topics.entry(topic.to_owned()).or_insert_with(|| watch::Sender::new(0));
        Watch { receiver: sender.subscribe() }
    }

    pub(crate) fn wake(&self, wakes: &[Cow<'static, str>]) {
        if wakes.is_empty() {
            return;
        }
        let topics = self.topics.lock();
        for topic in wakes {
            if let Some(sender) = topics.get(topic.as_ref()) {
                sender.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
    }
}

/// Waits for commits that called [`Tx::wake`](crate::Tx::wake) with one topic. Made by
/// [`Db::watch`](crate::Db::watch).
///
/// Wakes coalesce: many commits may end one wait. None is lost: a wake between two calls of
/// [`changed`](Self::changed) ends the second at once. Make the watch before the first look at the rows, then
/// look, then wait, in a loop. Wakes stay inside the process; with several processes on one database a slow
/// poll beside it is the safety net.
#[derive(Debug)]
pub struct Watch {
    receiver: watch::Receiver<u64>,
}

impl Watch {
    /// Waits until a wake came since the last call. When the database is closed it waits for ever: tasks end
    /// by their own stop signal.
    ///
    /// # Cancel safety
    /// Dropping the future loses no wake.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
