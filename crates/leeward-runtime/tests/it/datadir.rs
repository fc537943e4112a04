use std::fs;

use leeward_runtime::DataDir;
use leeward_runtime::datadir::Error;

#[test]
fn a_missing_folder_is_made_with_its_parents_and_left_clean() {
    let base = tempfile::tempdir().unwrap();
    let dir = DataDir::open(base.path().join("a/b")).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let inner = dir.folder("orders").unwrap();
    assert_eq!(inner.file("orders.db"), base.path().join("a/b/orders/orders.db"));
}

#[test]
fn a_file_in_its_place_is_refused_with_advice() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("data");
    fs::write(&path, "x").unwrap();
    let error = DataDir::open(&path).unwrap_err();
    assert!(matches!(error, Error::NotAFolder { .. }));
    assert!(error.to_string().contains("--data") && !error.to_string().contains('\n'));
    assert!(matches!(DataDir::open(path.join("below")), Err(Error::Create { .. })));
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_with_advice() {
    // Permissions do not bind root; /proc takes no files from anyone.
    let error = DataDir::open("/proc/self").unwrap_err();
    assert!(matches!(error, Error::Unwritable { .. }), "{error}");
    assert!(error.to_string().contains("--data") && !error.to_string().contains('\n'));
}

#[test]
fn a_lock_is_held_once_and_given_back_on_drop() {
    let base = tempfile::tempdir().unwrap();
    let dir = DataDir::open(base.path()).unwrap();
    let lock = dir.lock("demo").unwrap();
    let error = dir.lock("demo").unwrap_err();
    assert!(matches!(error, Error::InUse { .. }));
    assert!(error.to_string().contains("in use by another process"));
    dir.lock("bus").unwrap();
    drop(lock);
    dir.lock("demo").unwrap();
}
