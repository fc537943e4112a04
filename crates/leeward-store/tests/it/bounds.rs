//! Bounds: the queue, the file's size, and the end.

use std::pin::pin;

use leeward_store::{Error, Kind, Options, Tx, params};

use crate::fixture::{Fixture, hold_writer, insert, open, poll_once, put, stored};

#[tokio::test]
async fn a_full_queue_refuses_and_recovers() {
    let fixture = Fixture::with(Options { queue_max: 2, ..Options::default() }).await;
    let db = &fixture.db;
    let (gate, held) = hold_writer(db).await;
    let (mut one, mut two) = (pin!(put(db, "1", 1)), pin!(put(db, "2", 1)));
    assert!(poll_once(one.as_mut()).is_pending() && poll_once(two.as_mut()).is_pending());
    assert_eq!(db.stats().queued, 2);
    let error = put(db, "3", 1).await.unwrap_err();
    assert_eq!(error, Error::QueueFull { name: "ledger".to_owned(), limit: 2 });
    assert!(error.kind() == Kind::Full && error.is_temporary());
    assert_eq!(db.stats().refused, 1);
    gate.open();
    held.await.unwrap().unwrap();
    one.await.unwrap();
    two.await.unwrap();
    put(db, "4", 1).await.unwrap();
    assert_eq!(stored(db).await, ["1", "2", "4"]);
}

#[tokio::test]
async fn a_full_disk_is_typed_and_recoverable() {
    let fixture = Fixture::with(Options { size_max_bytes: Some(256 << 10), ..Options::default() }).await;
    let db = &fixture.db;
    let filler = |number: usize| {
        db.write(async move |tx: &mut Tx| insert(tx, &format!("{number:05}{}", "x".repeat(2_000)), 1).await)
    };
    let mut accepted = 0;
    let error = loop {
        match filler(accepted).await {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 1_000, "the limit never came");
    };
    assert_eq!(error, Error::DiskFull);
    assert!(error.is_temporary());
    assert_eq!(stored(db).await.len(), accepted, "what was accepted is there, what was refused is not");
    // Reading works on, small writes that free room too, and then all is as before.
    db.write(async |tx: &mut Tx| tx.execute("DELETE FROM entries WHERE key > '00010'", params![]).await)
        .await
        .unwrap();
    filler(90_000).await.unwrap();
    assert_eq!(stored(db).await.len(), 11);
}

#[tokio::test]
async fn a_full_disk_commits_nothing_of_the_closure_even_if_it_looks_away() {
    let fixture = Fixture::with(Options { size_max_bytes: Some(128 << 10), ..Options::default() }).await;
    let result: Result<(), Error> = fixture
        .db
        .write(async |tx: &mut Tx| {
            insert(tx, "small", 1).await?;
            drop(insert(tx, &"x".repeat(1 << 20), 1).await);
            drop(insert(tx, "stray", 1).await);
            Ok(())
        })
        .await;
    assert_eq!(result.unwrap_err().kind(), Kind::DiskFull);
    assert!(stored(&fixture.db).await.is_empty());
}

#[tokio::test]
async fn the_log_is_copied_back_and_stays_short() {
    let fixture = Fixture::new().await;
    let text = "x".repeat(3_000);
    // About 24 MiB through the log, some hundred closures at a time.
    for round in 0..20 {
        let mut writes = tokio::task::JoinSet::new();
        for number in 0..400 {
            let (db, key) = (fixture.db.clone(), format!("{round}-{number}-{text}"));
            writes.spawn(async move { put(&db, key, 1).await });
        }
        for result in writes.join_all().await {
            result.unwrap();
        }
    }
    let log = fixture.folder.path().join("ledger.db-wal").metadata().unwrap().len();
    assert!(log < 24 << 20, "the log has {log} bytes");
    assert!(fixture.db.stats().checkpoints > 0);
    assert_eq!(stored(&fixture.db).await.len(), 8_000);
}

#[tokio::test]
async fn a_lock_from_outside_is_busy_for_all_that_wait() {
    let busy_timeout = std::time::Duration::from_millis(20);
    let fixture = Fixture::with(Options { busy_timeout, ..Options::default() }).await;
    let db = &fixture.db;
    let outside = rusqlite::Connection::open(fixture.folder.path().join("ledger.db")).unwrap();
    outside.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (one, two) = tokio::join!(put(db, "1", 1), put(db, "2", 1));
    assert_eq!((one, two), (Err(Error::Busy), Err(Error::Busy)));
    outside.execute_batch("ROLLBACK").unwrap();
    put(db, "3", 1).await.unwrap();
    assert_eq!(stored(db).await, ["3"]);
}

#[tokio::test]
async fn close_drains_and_then_refuses() {
    let fixture = Fixture::new().await;
    let (gate, held) = hold_writer(&fixture.db).await;
    let mut queued = pin!(put(&fixture.db, "queued", 1));
    assert!(poll_once(queued.as_mut()).is_pending());
    let mut closing = pin!(fixture.db.close());
    assert!(poll_once(closing.as_mut()).is_pending(), "the writer still works");
    assert_eq!(put(&fixture.db, "late", 1).await, Err(Error::Closed));
    gate.open();
    closing.await;
    queued.await.unwrap();
    held.await.unwrap().unwrap();
    let db = open(&fixture.url, Options::default()).await;
    assert_eq!(stored(&db).await, ["queued"]);
}

#[tokio::test]
async fn dropping_the_last_handle_drains() {
    let fixture = Fixture::new().await;
    for number in 0..20 {
        let mut write = Box::pin(put(&fixture.db, format!("{number:02}"), 1));
        // Queued, and its caller gone: it runs all the same.
        drop(poll_once(write.as_mut()));
    }
    let Fixture { db, url, folder } = fixture;
    drop(db);
    let db = open(&url, Options::default()).await;
    assert_eq!(stored(&db).await.len(), 20);
    drop(folder);
}

#[tokio::test]
async fn a_closure_may_own_the_last_handle() {
    let Fixture { db, url, folder } = Fixture::new().await;
    let own = db.clone();
    {
        let mut write = Box::pin(db.write(async move |tx: &mut Tx| {
            let name = own.name().to_owned();
            insert(tx, &name, 1).await
        }));
        drop(poll_once(write.as_mut()));
    }
    let closing = db.clone();
    drop(db);
    closing.close().await;
    drop(closing);
    let db = open(&url, Options::default()).await;
    assert_eq!(stored(&db).await, ["ledger"]);
    drop(folder);
}
