//! A failure that is undone alone, and what happens after a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use leeward_store::{Error, Tx};

use crate::fixture::{Fixture, insert, keys, poll_once, put};

#[derive(Debug, PartialEq)]
enum Failure {
    Own,
    Store(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

async fn all(fixture: &Fixture) -> Vec<String> {
    fixture.db.read(async move |tx| keys(tx).await).await.unwrap()
}

#[tokio::test]
async fn a_failure_undoes_its_own_part_only() {
    let fixture = Fixture::new().await;
    put(&fixture.db, "taken", 0).await.unwrap();
    let write = fixture.db.write(async move |tx: &mut Tx| {
        insert(tx, "before", 1).await?;
        let own = tx
            .savepoint(async |tx: &mut Tx| {
                insert(tx, "undone", 1).await?;
                Err::<(), _>(Failure::Own)
            })
            .await;
        assert_eq!(own, Err(Failure::Own));
        let broken = tx.savepoint(async |tx: &mut Tx| insert(tx, "taken", 1).await).await;
        assert!(broken.unwrap_err().is_unique_violation());
        // A failed statement that nobody looks at is one all the same.
        let hidden = tx
            .savepoint(async |tx: &mut Tx| {
                insert(tx, "undone, too", 1).await?;
                drop(insert(tx, "taken", 1).await);
                Ok::<_, Error>(())
            })
            .await;
        assert!(matches!(hidden, Err(Error::Aborted { .. })), "{hidden:?}");
        insert(tx, "after", 1).await
    });
    write.await.unwrap();
    assert_eq!(all(&fixture).await, ["after", "before", "taken"]);
}

#[tokio::test]
async fn savepoints_nest_and_a_failure_around_undoes_all_inside() {
    let fixture = Fixture::new().await;
    let write = fixture.db.write(async move |tx: &mut Tx| {
        let outer = tx
            .savepoint(async |tx: &mut Tx| {
                tx.savepoint(async |tx: &mut Tx| insert(tx, "kept for a while", 1).await).await?;
                let inner = tx
                    .savepoint(async |tx: &mut Tx| {
                        insert(tx, "undone", 1).await?;
                        Err::<(), _>(Failure::Own)
                    })
                    .await;
                assert_eq!(inner, Err(Failure::Own));
                insert(tx, "also for a while", 1).await?;
                inner
            })
            .await;
        assert_eq!(outer, Err(Failure::Own));
        tx.savepoint(async |tx: &mut Tx| insert(tx, "kept", 1).await).await
    });
    write.await.unwrap();
    assert_eq!(all(&fixture).await, ["kept"]);
}

#[tokio::test]
async fn a_transaction_that_fails_after_a_savepoint_keeps_nothing() {
    let fixture = Fixture::new().await;
    let write = fixture.db.write(async move |tx: &mut Tx| {
        tx.savepoint(async |tx: &mut Tx| insert(tx, "released", 1).await).await?;
        Err::<(), _>(Failure::Own)
    });
    assert_eq!(write.await, Err(Failure::Own));
    assert_eq!(all(&fixture).await, [""; 0]);
}

#[tokio::test]
async fn hooks_run_once_after_the_commit_and_never_without_one() {
    let fixture = Fixture::new().await;
    let count = Arc::new(AtomicU32::new(0));
    let add = |number: u32| {
        let count = count.clone();
        move || {
            count.fetch_add(number, Ordering::SeqCst);
        }
    };
    let (first, undone, failed, panics) = (add(1), add(10), add(100), add(1_000));
    let write = fixture.db.write(async move |tx: &mut Tx| {
        insert(tx, "one", 1).await?;
        tx.on_commit(first);
        let inner = tx
            .savepoint(async |tx: &mut Tx| {
                tx.on_commit(undone);
                Err::<(), _>(Failure::Own)
            })
            .await;
        assert_eq!(inner, Err(Failure::Own));
        Ok::<_, Failure>(())
    });
    write.await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let write = fixture.db.write(async move |tx: &mut Tx| {
        tx.on_commit(failed);
        Err::<(), _>(Failure::Own)
    });
    assert_eq!(write.await, Err(Failure::Own));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    // A hook that panics takes nobody along.
    let write = fixture.db.write(async move |tx: &mut Tx| {
        tx.on_commit(|| panic!("deliberate"));
        tx.on_commit(panics);
        insert(tx, "two", 2).await
    });
    write.await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1_001);
    put(&fixture.db, "three", 3).await.unwrap();
    assert_eq!(all(&fixture).await, ["one", "three", "two"]);
}

#[tokio::test]
async fn a_closure_that_leaves_a_savepoint_in_the_middle_commits_nothing() {
    let fixture = Fixture::new().await;
    let write = fixture.db.write(async move |tx: &mut Tx| {
        insert(tx, "before", 1).await?;
        {
            // Somebody gives up on it, and goes on.
            let mut half = std::pin::pin!(tx.savepoint(async |tx: &mut Tx| {
                insert(tx, "half", 1).await?;
                std::future::pending::<Result<(), Error>>().await
            }));
            assert!(poll_once(half.as_mut()).is_pending());
        }
        insert(tx, "after", 1).await
    });
    assert!(matches!(write.await, Err(Error::Aborted { .. })));
    assert_eq!(all(&fixture).await, [""; 0]);
}
