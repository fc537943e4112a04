//! Closures that share a commit: all of a good one, nothing of a bad one, whatever its neighbours do.

use std::pin::pin;

use leeward_store::{Db, Error, Kind, Options, Tx, params};
use proptest::prelude::*;

use crate::fixture::{Fixture, TABLES, hold_writer, insert, poll_once, put, stored};

/// What one closure of a group does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Put,
    PutTwo,
    Nothing,
    PutThenFail,
    PutThenPanic,
    PutThenWait,
    PutThenBreakKey,
    BreakKeyAndHideIt,
}

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

impl Deed {
    async fn run(self, tx: &mut Tx, key: &str) -> Result<(), Failure> {
        match self {
            Self::Nothing => return Ok(()),
            Self::BreakKeyAndHideIt => {
                drop(insert(tx, "taken", 0).await);
                return Ok(());
            }
            _ => insert(tx, key, 1).await?,
        }
        match self {
            Self::PutTwo => insert(tx, &format!("{key}-second"), 2).await?,
            Self::PutThenFail => return Err(Failure::Own),
            Self::PutThenPanic => panic!("deliberate"),
            Self::PutThenWait => tokio::task::yield_now().await,
            Self::PutThenBreakKey => insert(tx, "taken", 0).await?,
            _ => {}
        }
        Ok(())
    }

    /// The keys that it leaves behind.
    fn leaves(self, key: &str) -> Vec<String> {
        match self {
            Self::Put => vec![key.to_owned()],
            Self::PutTwo => vec![key.to_owned(), format!("{key}-second")],
            _ => Vec::new(),
        }
    }

    fn check(self, result: &Result<(), Failure>) {
        let fits = match self {
            Self::Put | Self::PutTwo | Self::Nothing => result.is_ok(),
            Self::PutThenFail => *result == Err(Failure::Own),
            Self::PutThenPanic => {
                *result == Err(Failure::Store(Error::Panicked { message: "deliberate".to_owned() }))
            }
            Self::PutThenWait => *result == Err(Failure::Store(Error::ForeignWait)),
            Self::PutThenBreakKey => {
                matches!(result, Err(Failure::Store(error)) if error.is_unique_violation())
            }
            Self::BreakKeyAndHideIt => matches!(result, Err(Failure::Store(Error::Aborted { .. }))),
        };
        assert!(fits, "{self:?} gave {result:?}");
    }
}

/// Runs the deeds in one commit, and checks each result and what is stored.
async fn check(db: &Db, deeds: &[Deed]) {
    put(db, "taken", 0).await.unwrap();
    let before = db.stats().commits;
    let (gate, held) = hold_writer(db).await;
    let mut writes: Vec<_> = (0..)
        .zip(deeds.iter().copied())
        .map(|(number, deed)| {
            let key = format!("key-{number:02}");
            Box::pin(db.write(async move |tx: &mut Tx| deed.run(tx, &key).await))
        })
        .collect();
    for write in &mut writes {
        assert!(poll_once(write.as_mut()).is_pending());
    }
    gate.open();
    held.await.unwrap().unwrap();
    for (deed, write) in deeds.iter().zip(writes) {
        deed.check(&write.await);
    }
    assert_eq!(db.stats().commits - before, 1, "they share one commit");
    let mut expected: Vec<String> =
        (0..).zip(deeds).flat_map(|(number, deed)| deed.leaves(&format!("key-{number:02}"))).collect();
    expected.push("taken".to_owned());
    expected.sort();
    assert_eq!(stored(db).await, expected);
}

#[tokio::test]
async fn a_failing_closure_rolls_back_alone() {
    let fixture = Fixture::new().await;
    let deeds = [Deed::Put, Deed::PutThenFail, Deed::PutTwo, Deed::PutThenBreakKey, Deed::Put];
    check(&fixture.db, &deeds).await;
}

#[tokio::test]
async fn a_panic_and_a_foreign_wait_roll_back_alone() {
    let fixture = Fixture::new().await;
    let deeds = [Deed::PutThenPanic, Deed::Put, Deed::PutThenWait, Deed::PutThenPanic, Deed::PutTwo];
    check(&fixture.db, &deeds).await;
    // The writer lives on, and after a restart the same rows are there.
    let before = stored(&fixture.db).await;
    let fixture = fixture.reopen().await;
    assert_eq!(stored(&fixture.db).await, before);
}

#[tokio::test]
async fn a_lone_closure_is_undone_without_a_savepoint() {
    let Fixture { db, .. } = &Fixture::new().await;
    for deed in [Deed::PutThenFail, Deed::PutThenPanic, Deed::PutThenWait] {
        let result = db.write(async move |tx: &mut Tx| deed.run(tx, "alone").await).await;
        deed.check(&result);
        assert_eq!(stored(db).await, Vec::<String>::new(), "{deed:?}");
    }
    put(db, "alone", 1).await.unwrap();
    assert_eq!(stored(db).await, ["alone"]);
}

#[tokio::test]
async fn a_spoiled_transaction_runs_no_further_statement() {
    let Fixture { db, .. } = &Fixture::new().await;
    put(db, "taken", 0).await.unwrap();
    let result: Result<(), Error> = db
        .write(async |tx: &mut Tx| {
            insert(tx, "first", 1).await?;
            assert!(insert(tx, "taken", 1).await.unwrap_err().is_unique_violation());
            let next = insert(tx, "second", 1).await.unwrap_err();
            assert!(matches!(next, Error::Aborted { .. }), "{next}");
            Ok(())
        })
        .await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Constraint { unique: true });
    assert_eq!(stored(db).await, ["taken"]);
}

#[tokio::test]
async fn a_rollback_by_the_database_is_told_to_all_it_undid() {
    let Fixture { db, .. } = &Fixture::new().await;
    put(db, "taken", 0).await.unwrap();
    let (gate, held) = hold_writer(db).await;
    let mut good = pin!(put(db, "good", 1));
    let mut all = pin!(db.write(async |tx: &mut Tx| {
        // SQLite gives up the whole transaction here, neighbours included; further statements must not commit
        // by themselves.
        let sql = "INSERT OR ROLLBACK INTO entries (key, value) VALUES ('taken', 1)";
        drop(tx.execute(sql, params![]).await);
        drop(insert(tx, "stray", 1).await);
        Ok::<_, Error>(())
    }));
    let mut later = pin!(put(db, "later", 1));
    for write in [poll_once(good.as_mut()), poll_once(later.as_mut())] {
        assert!(write.is_pending());
    }
    assert!(poll_once(all.as_mut()).is_pending());
    let mut last = pin!(put(db, "last", 1));
    assert!(poll_once(last.as_mut()).is_pending());
    gate.open();
    // The gate's own closure was in it too.
    let lost = held.await.unwrap().unwrap_err();
    assert!(matches!(lost, Error::Lost { .. }) && lost.is_temporary(), "{lost:?}");
    assert!(matches!(good.await, Err(Error::Lost { .. })));
    assert!(matches!(later.await, Err(Error::Lost { .. })));
    assert!(all.await.unwrap_err().is_unique_violation());
    last.await.unwrap();
    assert_eq!(stored(db).await, ["last", "taken"]);
}

#[tokio::test]
async fn a_group_is_bounded() {
    let fixture = Fixture::with(Options { batch_max: 4, ..Options::default() }).await;
    let db = &fixture.db;
    let before = db.stats();
    let (gate, held) = hold_writer(db).await;
    let mut writes: Vec<_> = (0..7).map(|number| Box::pin(put(db, number.to_string(), 0))).collect();
    for write in &mut writes {
        assert!(poll_once(write.as_mut()).is_pending());
    }
    gate.open();
    held.await.unwrap().unwrap();
    for write in writes {
        write.await.unwrap();
    }
    let after = db.stats();
    assert_eq!(after.batch_max, 4);
    assert_eq!((after.commits - before.commits, after.transactions - before.transactions), (2, 8));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any group leaves exactly what its good closures wrote.
    #[test]
    fn a_group_is_the_sum_of_its_good_closures(deeds in prop::collection::vec(
        prop::sample::select(vec![
            Deed::Put, Deed::PutTwo, Deed::Nothing, Deed::PutThenFail, Deed::PutThenPanic, Deed::PutThenWait,
            Deed::PutThenBreakKey, Deed::BreakKeyAndHideIt,
        ]),
        1..12,
    )) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let db = Db::open("sqlite::memory:", Options::default()).await.unwrap();
            db.migrate("entries", TABLES).await.unwrap();
            check(&db, &deeds).await;
        });
    }
}
