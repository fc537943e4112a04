//! Wake-ups: after the commit, coalesced, never lost.

use std::pin::pin;

use leeward_store::{Error, Tx, Watch};

use crate::fixture::{Fixture, hold_writer, insert, poll_once};

/// Whether a wake is pending; it is taken.
fn woken(watch: &mut Watch) -> bool {
    poll_once(pin!(watch.changed())).is_ready()
}

#[tokio::test]
async fn a_commit_wakes_its_topic_and_no_other() {
    let Fixture { db, .. } = &Fixture::new().await;
    let (mut one, mut two, mut other) = (db.watch("outbox"), db.watch("outbox"), db.watch("sagas"));
    assert!(!woken(&mut one), "nothing has happened yet");
    for _ in 0..3 {
        db.write(async |tx: &mut Tx| {
            tx.wake("outbox");
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    }
    assert!(woken(&mut one) && woken(&mut two) && !woken(&mut other));
    assert!(!woken(&mut one), "three commits are one wake");
}

#[tokio::test]
async fn a_waiting_task_is_woken() {
    let Fixture { db, .. } = &Fixture::new().await;
    let mut watch = db.watch("outbox");
    let write = async {
        tokio::task::yield_now().await;
        db.write(async |tx: &mut Tx| {
            insert(tx, "a", 1).await?;
            tx.wake(String::from("outbox"));
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    };
    tokio::join!(watch.changed(), write);
}

#[tokio::test]
async fn a_rolled_back_closure_wakes_nobody_its_neighbour_does() {
    let Fixture { db, .. } = &Fixture::new().await;
    let (mut bad, mut good) = (db.watch("bad"), db.watch("good"));
    let (gate, held) = hold_writer(db).await;
    let mut fails = pin!(db.write(async |tx: &mut Tx| {
        tx.wake("bad");
        Err::<(), _>(Error::NotFound)
    }));
    let mut works = pin!(db.write(async |tx: &mut Tx| {
        tx.wake("good");
        Ok::<_, Error>(())
    }));
    assert!(poll_once(fails.as_mut()).is_pending() && poll_once(works.as_mut()).is_pending());
    assert!(!woken(&mut good), "not before the commit");
    gate.open();
    held.await.unwrap().unwrap();
    assert_eq!(fails.await, Err(Error::NotFound));
    works.await.unwrap();
    assert!(woken(&mut good) && !woken(&mut bad));
}

#[tokio::test]
async fn no_wake_is_lost_between_look_and_wait() {
    let Fixture { db, .. } = &Fixture::new().await;
    let mut watch = db.watch("outbox");
    let writer = async {
        for number in 0..200 {
            db.write(async move |tx: &mut Tx| {
                tx.wake("outbox");
                insert(tx, &number.to_string(), 1).await
            })
            .await
            .unwrap();
        }
    };
    let watcher = async {
        // Ends only if each wake after a look ends the following wait.
        while crate::fixture::stored(db).await.len() < 200 {
            watch.changed().await;
        }
    };
    tokio::join!(writer, watcher);
}
