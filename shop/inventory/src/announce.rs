//! Tells the others of new levels: at once when it is quiet, and at most once a second however fast a product sells.

use std::time::Duration;

use leeward_runtime::Stop;
use leeward_service::{Kit, Problem};
use leeward_store::{Db, Tx};

use crate::stock;

/// What a change of a level wakes.
pub(crate) const TOPIC: &str = "inventory.levels";

/// Changes within this time of an announcement wait for the next: a level is a snapshot that the catalog shows to people,
/// and a busy shop changes each of its best sellers a hundred times a second.
const GATHER: Duration = Duration::from_secs(1);

/// Announces levels until it is asked to stop.
pub(crate) async fn run(kit: Kit, db: Db, stop: Stop) {
    let mut changed = db.watch(TOPIC);
    loop {
        let done = match announce(&kit, &db).await {
            Ok(announced) => announced < stock::ANNOUNCE_MAX,
            Err(problem) => {
                tracing::warn!(%problem, "levels were not announced, trying again");
                false
            }
        };
        if stop.or(tokio::time::sleep(GATHER)).await.is_none()
            || done && stop.or(changed.changed()).await.is_none()
        {
            return;
        }
    }
}

/// Announces the levels that changed; says how many.
async fn announce(kit: &Kit, db: &Db) -> Result<usize, Problem> {
    let (outbox, cause) = (kit.outbox.clone(), kit.correlation());
    let announce = async move |tx: &mut Tx| {
        let changes = stock::take_unannounced(tx).await?;
        for change in &changes {
            outbox.append(tx, change, &cause).await?;
        }
        Ok(changes.len())
    };
    db.write(announce).await
}
