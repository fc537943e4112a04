//! Leases: one owner, and a late one cannot write.

use std::time::Duration;

use leeward_store::lease::{self, Epoch};
use leeward_store::{Db, Error, Kind, Tx};

use crate::fixture::{Fixture, insert, stored};

const TTL: Duration = Duration::from_secs(10);

async fn acquire(db: &Db, owner: &'static str, now: i64) -> Option<Epoch> {
    db.write(async move |tx: &mut Tx| lease::acquire(tx, "relay", owner, now, TTL).await).await.unwrap()
}

async fn renew(db: &Db, owner: &'static str, epoch: Epoch, now: i64) -> bool {
    db.write(async move |tx: &mut Tx| lease::renew(tx, "relay", owner, epoch, now, TTL).await).await.unwrap()
}

#[tokio::test]
async fn one_owner_until_it_runs_out() {
    let Fixture { db, .. } = &Fixture::new().await;
    let first = acquire(db, "a", 0).await.unwrap();
    assert_eq!(acquire(db, "b", 9_999).await, None);
    assert!(renew(db, "a", first, 9_999).await);
    assert_eq!(acquire(db, "b", 10_000).await, None, "it was extended");
    let second = acquire(db, "b", 19_999).await.unwrap();
    assert!(second > first);
    assert!(!renew(db, "a", first, 20_000).await);
}

#[tokio::test]
async fn a_late_owner_is_fenced() {
    let Fixture { db, .. } = &Fixture::new().await;
    let old = acquire(db, "a", 0).await.unwrap();
    let new = acquire(db, "b", 20_000).await.unwrap();
    let write = async |epoch: Epoch, key: &'static str| {
        db.write(async move |tx: &mut Tx| {
            insert(tx, key, 1).await?;
            lease::check(tx, "relay", epoch).await
        })
        .await
    };
    let error = write(old, "late").await.unwrap_err();
    assert!(matches!(error, Error::Fenced { held: 1, current: Some(2), .. }), "{error}");
    assert_eq!(error.kind(), Kind::Fenced);
    write(new, "in time").await.unwrap();
    assert_eq!(stored(db).await, ["in time"]);
}

#[tokio::test]
async fn a_released_lease_is_free_and_keeps_its_epoch() {
    let Fixture { db, .. } = &Fixture::new().await;
    let first = acquire(db, "a", 0).await.unwrap();
    assert!(db.write(async move |tx: &mut Tx| lease::release(tx, "relay", "a", first).await).await.unwrap());
    assert!(!renew(db, "a", first, 1).await, "what was given up is not extended");
    let second = acquire(db, "b", 1).await.unwrap();
    assert!(second > first);
    assert!(!db.write(async move |tx: &mut Tx| lease::release(tx, "relay", "a", first).await).await.unwrap());
}
