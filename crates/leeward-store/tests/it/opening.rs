//! Opening: what is checked, and what an operator is told.

use leeward_store::{Db, Error, Kind, Options};

use crate::fixture::{Fixture, open, put, stored};

#[tokio::test]
async fn a_second_handle_is_refused_and_the_next_one_is_not() {
    let fixture = Fixture::new().await;
    let error = Db::open(&fixture.url, Options::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Locked);
    let text = error.to_string();
    assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");
    assert!(text.contains("stop that process"), "{text}");
    let fixture = fixture.reopen().await;
    put(&fixture.db, "a", 1).await.unwrap();
}

#[tokio::test]
async fn two_databases_share_a_folder() {
    let fixture = Fixture::new().await;
    let other = format!("sqlite:{}", fixture.folder.path().join("other.db").display());
    let other = open(&other, Options::default()).await;
    put(&other, "there", 1).await.unwrap();
    assert!(stored(&fixture.db).await.is_empty());
}

#[tokio::test]
async fn the_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/x.db");
    let db = open(&format!("sqlite:{}", path.display()), Options::default()).await;
    assert_eq!(db.name(), "x");
    assert!(path.exists());
}

#[tokio::test]
async fn a_folder_that_cannot_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let url = format!("sqlite:{}", folder.path().join("file/x.db").display());
    let error = Db::open(&url, Options::default()).await.unwrap_err();
    assert!(matches!(error, Error::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("writable"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    let content = "no database, ".repeat(100);
    std::fs::write(&path, &content).unwrap();
    let url = format!("sqlite:{}", path.display());
    let error = Db::open(&url, Options::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    // The failed opening holds no lock.
    std::fs::remove_file(&path).unwrap();
    open(&url, Options::default()).await;
}

#[tokio::test]
async fn postgresql_is_known_and_absent() {
    let error = Db::open("postgres://user:secret@host/db", Options::default()).await.unwrap_err();
    assert!(matches!(error, Error::Backend { .. }));
    let text = error.to_string();
    assert!(text.contains("no PostgreSQL backend") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn handles_and_futures_cross_threads() {
    fn crosses<T: Send + Sync>(_: &T) {}
    fn moves<T: Send>(value: T) -> T {
        value
    }
    let fixture = Fixture::new().await;
    crosses(&fixture.db);
    moves(put(&fixture.db, "a", 1)).await.unwrap();
    moves(stored(&fixture.db)).await;
}
