//! Migrations: in order, once, and never behind a newer binary's back.

use leeward_store::{Db, Error, Kind, Migration, Options, ReadTx, params};

use crate::fixture::Fixture;

const fn step(version: u32, sqlite: &'static str) -> Migration {
    Migration { version, name: "step", sqlite, postgres: "" }
}

const ONE: Migration =
    step(1, "CREATE TABLE one (id INTEGER PRIMARY KEY); CREATE TABLE more (id INTEGER PRIMARY KEY);");
const TWO: Migration = step(2, "ALTER TABLE one ADD COLUMN name TEXT;");

async fn has(db: &Db, table: &'static str) -> bool {
    let sql = "SELECT 1 FROM sqlite_schema WHERE name = $1";
    db.read(async move |tx: &mut ReadTx| tx.query_opt(sql, params![table]).await).await.unwrap().is_some()
}

#[tokio::test]
async fn each_is_applied_once_over_restarts() {
    let fixture = Fixture::new().await;
    fixture.db.migrate("a", &[ONE]).await.unwrap();
    let fixture = fixture.reopen().await;
    fixture.db.migrate("a", &[ONE, TWO]).await.unwrap();
    fixture.db.migrate("a", &[ONE, TWO]).await.unwrap();
    let sql = "SELECT id, name FROM one";
    fixture.db.read(async |tx: &mut ReadTx| tx.query(sql, params![]).await).await.unwrap();
}

#[tokio::test]
async fn components_number_their_own() {
    let Fixture { db, .. } = &Fixture::new().await;
    db.migrate("a", &[ONE]).await.unwrap();
    db.migrate("b", &[step(1, "CREATE TABLE b (id INTEGER PRIMARY KEY);")]).await.unwrap();
    assert!(has(db, "one").await && has(db, "b").await);
}

#[tokio::test]
async fn an_older_binary_refuses_a_newer_database() {
    let fixture = Fixture::new().await;
    fixture.db.migrate("a", &[ONE, TWO]).await.unwrap();
    let fixture = fixture.reopen().await;
    let error = fixture.db.migrate("a", &[ONE]).await.unwrap_err();
    assert_eq!(error, Error::NewerSchema { component: "a".to_owned(), found: 2, known: 1 });
    assert_eq!(error.kind(), Kind::NewerSchema);
}

#[tokio::test]
async fn an_edited_one_is_found_and_a_reindented_one_is_not() {
    let Fixture { db, .. } = &Fixture::new().await;
    db.migrate("a", &[TWO_TABLES]).await.unwrap();
    db.migrate("a", &[step(1, "CREATE TABLE x\n  (id INTEGER PRIMARY KEY);")]).await.unwrap();
    let edited = step(1, "CREATE TABLE x (id INTEGER PRIMARY KEY, name TEXT);");
    let error = db.migrate("a", &[edited]).await.unwrap_err();
    assert!(matches!(error, Error::MigrationList { version: 1, .. }), "{error}");
}

const TWO_TABLES: Migration = step(1, "CREATE TABLE x (id INTEGER PRIMARY KEY);");

#[tokio::test]
async fn a_failing_one_leaves_nothing_of_the_call() {
    let Fixture { db, .. } = &Fixture::new().await;
    let broken = step(2, "CREATE TABLE two (id INTEGER PRIMARY KEY); CREATE TABLE two (id INTEGER);");
    let error = db.migrate("a", &[ONE, broken]).await.unwrap_err();
    assert!(matches!(error, Error::Migration { version: 2, .. }), "{error}");
    assert!(!has(db, "one").await && !has(db, "two").await);
    db.migrate("a", &[ONE]).await.unwrap();
}

#[tokio::test]
async fn a_gap_and_a_deferred_constraint_are_refused() {
    let db = Db::open("sqlite::memory:", Options::default()).await.unwrap();
    let deferred = step(
        1,
        "CREATE TABLE d (id INTEGER PRIMARY KEY, o INTEGER REFERENCES d (id) DEFERRABLE initially deferred);",
    );
    for list in [&[TWO][..], &[ONE, ONE], &[deferred]] {
        let error = db.migrate("a", list).await.unwrap_err();
        assert!(matches!(error, Error::MigrationList { .. }), "{error}");
    }
}
