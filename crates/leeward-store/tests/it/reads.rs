//! Readers: a snapshot each, beside the writer.

use leeward_store::{Error, ReadTx, Tx, params};

use crate::fixture::{Fixture, gate, hold_writer, keys, put, stored};

#[tokio::test]
async fn a_reader_sees_one_snapshot() {
    let Fixture { db, .. } = &Fixture::new().await;
    put(db, "before", 1).await.unwrap();
    let (gate, hold) = gate();
    let reading = db.read(async move |tx: &mut ReadTx| {
        let first = keys(tx).await?;
        hold.stand();
        Ok::<_, Error>((first, keys(tx).await?))
    });
    let writing = async {
        tokio::task::yield_now().await;
        gate.wait();
        put(db, "meanwhile", 1).await.unwrap();
        // Another reader sees it while the first one still reads.
        assert_eq!(stored(db).await, ["before", "meanwhile"]);
        gate.open();
    };
    let (read, ()) = tokio::join!(reading, writing);
    let (first, second) = read.unwrap();
    assert_eq!(first, ["before"]);
    assert_eq!(second, first);
}

#[tokio::test]
async fn a_reader_does_not_wait_for_the_writer() {
    let Fixture { db, .. } = &Fixture::new().await;
    put(db, "before", 1).await.unwrap();
    let (gate, held) = hold_writer(db).await;
    assert_eq!(stored(db).await, ["before"]);
    gate.open();
    held.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_read_sees_every_write_that_returned() {
    let Fixture { db, .. } = &Fixture::new().await;
    for number in 0..50 {
        put(db, format!("{number:02}"), 1).await.unwrap();
        assert_eq!(stored(db).await.len(), number + 1);
    }
}

#[tokio::test]
async fn a_reader_writes_nothing() {
    for url in ["file", "sqlite::memory:"] {
        let fixture = Fixture::new().await;
        let memory = crate::fixture::open("sqlite::memory:", leeward_store::Options::default()).await;
        let db = if url == "file" { &fixture.db } else { &memory };
        let sql = "INSERT INTO entries (key, value) VALUES ('x', 1) RETURNING key";
        let error = db.read(async |tx: &mut ReadTx| tx.query(sql, params![]).await).await.unwrap_err();
        assert!(matches!(error, Error::Forbidden { .. }), "{url}: {error}");
        // The same statement is the writer's business.
        db.write(async |tx: &mut Tx| tx.query(sql, params![]).await).await.unwrap();
        assert_eq!(stored(db).await, ["x"], "{url}");
    }
}

#[tokio::test]
async fn a_reader_survives_a_panic_and_a_foreign_wait() {
    let Fixture { db, .. } = &Fixture::new().await;
    put(db, "before", 1).await.unwrap();
    // More often than there are readers, so that each would be gone.
    for _ in 0..4 {
        let panic: Result<(), Error> = db.read(async |_: &mut ReadTx| panic!("deliberate")).await;
        assert!(matches!(panic, Err(Error::Panicked { .. })));
        let wait: Result<(), Error> = db
            .read(async |tx: &mut ReadTx| {
                keys(tx).await?;
                std::future::pending().await
            })
            .await;
        assert_eq!(wait, Err(Error::ForeignWait));
    }
    // The failed ones hold no old snapshot.
    put(db, "after", 1).await.unwrap();
    assert_eq!(stored(db).await, ["after", "before"]);
}
