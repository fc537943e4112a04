//! A commit that fails as a whole, which no public call can bring about.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use crate::{Db, Error, Kind, Migration, Options, ReadTx, Tx, params};

const TABLES: &[Migration] = &[Migration {
    version: 1,
    name: "tree",
    sqlite: "CREATE TABLE tree (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES tree (id)) STRICT;",
    postgres: "",
}];

fn queued<F: Future>(future: Pin<&mut F>) -> bool {
    matches!(future.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}

/// Leaves a broken reference that only the commit finds.
async fn orphan(tx: &mut Tx) -> Result<(), Error> {
    ReadTx::session(tx).script("PRAGMA defer_foreign_keys = ON")?;
    tx.execute("INSERT INTO tree (id, parent) VALUES (2, 99)", params![]).await.map(|_| ())
}

async fn root(tx: &mut Tx) -> Result<(), Error> {
    tx.wake("tree");
    tx.execute("INSERT INTO tree (id) VALUES (1)", params![]).await.map(|_| ())
}

async fn rows(db: &Db) -> i64 {
    let sql = "SELECT count(*) FROM tree";
    db.read(async |tx: &mut ReadTx| tx.query_one(sql, params![]).await?.get(0)).await.unwrap_or(-1)
}

#[tokio::test]
async fn a_failed_commit_is_told_to_all_and_wakes_nobody() -> Result<(), Error> {
    let db = Db::open("sqlite::memory:", Options::default()).await?;
    db.migrate("tree", TABLES).await?;
    let mut watch = db.watch("tree");
    let (entered, open) = (std::sync::mpsc::sync_channel(1), std::sync::mpsc::sync_channel::<()>(1));
    let (enter, opened) = (entered.0, open.1);
    let mut gate = pin!(db.write(async move |_: &mut Tx| {
        enter.send(()).unwrap();
        opened.recv().unwrap();
        Ok::<_, Error>(())
    }));
    assert!(queued(gate.as_mut()));
    entered.1.recv().unwrap();
    let (mut good, mut bad) = (pin!(db.write(root)), pin!(db.write(orphan)));
    let mut own = pin!(db.write(async |_: &mut Tx| Err::<(), _>(Error::NotFound)));
    assert!(queued(good.as_mut()) && queued(bad.as_mut()) && queued(own.as_mut()));
    open.0.send(()).unwrap();
    for result in [gate.await, good.await, bad.await, own.await] {
        let Err(Error::Lost { cause }) = result else { panic!("{result:?}") };
        assert_eq!(cause.kind(), Kind::Constraint { unique: false });
    }
    assert!(queued(pin!(watch.changed())), "what was not committed wakes nobody");
    assert_eq!(rows(&db).await, 0);
    // Alone it has nobody else to blame, and the writer goes on.
    assert_eq!(db.write(orphan).await.unwrap_err().kind(), Kind::Constraint { unique: false });
    db.write(root).await?;
    assert_eq!(rows(&db).await, 1);
    Ok(())
}
