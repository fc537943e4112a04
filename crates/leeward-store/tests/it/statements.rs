//! Parameters, columns, and what a closure may not say.

use std::sync::Arc;

use leeward_store::{Db, Error, Options, ReadTx, Row, Tx, params};

use crate::fixture::{Fixture, insert};

async fn memory() -> Db {
    Db::open("sqlite::memory:", Options::default()).await.unwrap()
}

async fn select(sql: &'static str) -> Result<Row, Error> {
    memory().await.read(async move |tx: &mut ReadTx| tx.query_one(sql, params![]).await).await
}

#[tokio::test]
async fn parameters_are_numbered_wherever_they_stand() {
    let row = memory()
        .await
        .read(async |tx: &mut ReadTx| tx.query_one("SELECT $2, $1, $2", params!["one", "two"]).await)
        .await
        .unwrap();
    let got: Vec<&str> = (0..3).map(|index| row.get(index).unwrap()).collect();
    assert_eq!(got, ["two", "one", "two"]);
}

#[tokio::test]
async fn every_type_comes_back_as_it_went_in() {
    let (text, bytes) = (Arc::<str>::from("gr\u{fc}n"), vec![0_u8, 255, 7]);
    let (want_text, want_bytes) = (text.clone(), bytes.clone());
    let row = memory()
        .await
        .read(async move |tx: &mut ReadTx| {
            let values = params![text, bytes, i64::MIN, true, None::<i64>, Some("x"), ""];
            tx.query_one("SELECT $1, $2, $3, $4, $5, $6, $7", values).await
        })
        .await
        .unwrap();
    assert_eq!(row.get::<Arc<str>>(0).unwrap(), want_text);
    assert_eq!(row.get::<&str>(0).unwrap(), &*want_text);
    assert_eq!(row.get::<Vec<u8>>(1).unwrap(), want_bytes);
    assert_eq!(row.get::<i64>(2).unwrap(), i64::MIN);
    assert!(row.get::<bool>(3).unwrap());
    assert_eq!(row.get::<Option<i64>>(4).unwrap(), None);
    assert_eq!(row.get::<Option<String>>(5).unwrap().as_deref(), Some("x"));
    assert_eq!(row.get::<String>(6).unwrap(), "");
}

#[tokio::test]
async fn a_column_is_read_as_what_it_is_or_not_at_all() {
    let row = select("SELECT NULL, 1.5, 'text', -1, 2").await.unwrap();
    for (index, found) in [(0, "NULL"), (1, "a fraction"), (2, "text"), (9, "missing")] {
        let error = row.get::<i64>(index).unwrap_err();
        assert_eq!(error, Error::Column { index, expected: "i64", found });
    }
    assert!(row.get::<u32>(3).is_err(), "a negative number is no u32");
    assert!(row.get::<bool>(4).is_err(), "2 is no bool");
    assert!(row.get::<Option<i64>>(9).is_err(), "a missing column is not NULL");
}

#[tokio::test]
async fn one_row_means_one() {
    assert_eq!(select("SELECT 1 WHERE 0").await, Err(Error::NotFound));
    assert_eq!(select("SELECT 1 UNION SELECT 2").await, Err(Error::ManyRows));
}

#[tokio::test]
async fn a_wrong_number_of_parameters_is_refused() {
    for (sql, expected) in [("SELECT $1, $2", 2), ("SELECT 1", 0), ("SELECT ?", 1), ("SELECT $2", 1)] {
        let error = memory()
            .await
            .read(async move |tx: &mut ReadTx| tx.query(sql, params!["only"]).await)
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Params { expected: found, .. } if found == expected),
            "{sql}: {error}"
        );
    }
}

#[tokio::test]
async fn a_closure_does_not_control_the_commit_it_shares() {
    let Fixture { db, .. } = &Fixture::new().await;
    for sql in ["COMMIT", "ROLLBACK", "SAVEPOINT x", "PRAGMA synchronous = OFF", "VACUUM", "ATTACH 'x' AS y"]
    {
        let result: Result<(), Error> = db
            .write(async move |tx: &mut Tx| {
                insert(tx, "x", 1).await?;
                tx.execute(sql, params![]).await?;
                Ok(())
            })
            .await;
        assert!(matches!(result, Err(Error::Forbidden { .. })), "{sql}: {result:?}");
    }
    assert!(crate::fixture::stored(db).await.is_empty());
    let settings = db.settings().await.unwrap();
    assert_eq!((settings.journal_mode.as_str(), settings.synchronous.as_str()), ("wal", "2"));
}

#[tokio::test]
async fn counts_are_of_this_statement() {
    let Fixture { db, .. } = &Fixture::new().await;
    let counts = db
        .write(async |tx: &mut Tx| {
            let sql = "INSERT INTO entries (key, value) VALUES ($1, 1), ($2, 1) ON CONFLICT (key) DO NOTHING";
            let first = tx.execute(sql, params!["a", "b"]).await?;
            let second = tx.execute(sql, params!["b", "c"]).await?;
            let none = tx.execute(sql, params!["b", "c"]).await?;
            Ok::<_, Error>([first, second, none])
        })
        .await
        .unwrap();
    assert_eq!(counts, [2, 1, 0]);
}
