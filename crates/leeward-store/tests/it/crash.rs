//! A process killed at any moment: what it was told is durable is there, and nothing by halves.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use leeward_store::{Db, Error, Kind, Options, ReadTx, Tx, params};

use crate::fixture::{insert, open};

/// Tells the re-executed test binary where its database is.
const CHILD_URL: &str = "LEEWARD_STORE_TEST_CHILD_URL";

/// Concurrent callers of the child, so that closures share commits when it is killed.
const CALLERS: usize = 8;

/// The process to be killed; does nothing in an ordinary run.
#[tokio::test]
async fn child() {
    #[allow(clippy::disallowed_methods, reason = "the way a test reaches its re-executed self")]
    let Ok(url) = std::env::var(CHILD_URL) else { return };
    let db = open(&url, Options::default()).await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let db = db.clone();
        callers.spawn(async move {
            for number in 0_u64.. {
                let key = format!("{caller}-{number}");
                let stored = key.clone();
                db.write(async move |tx: &mut Tx| {
                    insert(tx, &stored, 1).await?;
                    insert(tx, &format!("{stored}-twin"), 1).await
                })
                .await
                .unwrap();
                // Straight to the pipe: the test harness holds back what `println!` prints.
                std::io::stdout().lock().write_all(format!("ACK {key}\n").as_bytes()).unwrap();
            }
        });
    }
    callers.join_all().await;
}

fn spawn(url: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(CHILD_URL, url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the child after `acknowledged` writes; gives all that it had reported by then.
fn kill_after(mut child: Child, acknowledged: usize) -> Vec<String> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut keys: Vec<String> = Vec::new();
    let mut alive = true;
    while let Some(Ok(line)) = lines.next() {
        // The harness prints on the same line as the first report.
        keys.extend(line.split_once("ACK ").map(|(_, key)| key.to_owned()));
        if alive && keys.len() >= acknowledged {
            child.kill().unwrap();
            alive = false;
        }
    }
    child.wait().unwrap();
    keys
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    for (round, acknowledged) in [1, 37, 400].into_iter().enumerate() {
        let url = format!("sqlite:{}", folder.path().join(format!("round-{round}.db")).display());
        let keys = kill_after(spawn(&url), acknowledged);
        assert!(keys.len() >= acknowledged, "the child ended by itself after {}", keys.len());
        let db = open(&url, Options::default()).await;
        let (stored, halves) = db.read(count).await.unwrap();
        assert_eq!(halves, 0, "a transaction is there by half");
        assert!(stored >= keys.len());
        for key in keys {
            let sql = "SELECT 1 FROM entries WHERE key = $1";
            let name = key.clone();
            let found = db.read(async move |tx: &mut ReadTx| tx.query_opt(sql, params![name]).await).await;
            assert!(found.unwrap().is_some(), "{key} was acknowledged and is lost");
        }
    }
}

/// The transactions stored, and those of which only one row is there.
async fn count(tx: &mut ReadTx) -> Result<(usize, usize), Error> {
    let whole = "SELECT count(*) FROM entries a JOIN entries b ON b.key = a.key || '-twin'";
    let whole: usize = tx.query_one(whole, params![]).await?.get(0)?;
    let rows: usize = tx.query_one("SELECT count(*) FROM entries", params![]).await?.get(0)?;
    Ok((whole, rows - 2 * whole))
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("x.db").display());
    let mut child = spawn(&url);
    let mut reports = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(reports.any(|line| line.unwrap().contains("ACK ")), "the child has the database open");
    let error = Db::open(&url, Options::default()).await.unwrap_err();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(error.kind(), Kind::Locked);
    assert!(matches!(error, Error::Locked { owner: Some(pid), .. } if pid == child.id()), "{error}");
    // The system freed the lock with the process: nothing is left to clean up.
    open(&url, Options::default()).await;
}
