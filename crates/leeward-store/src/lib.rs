//! One database a service, and one way to change it: an async closure that is a transaction.
//!
//! ```
//! use leeward_store::{params, Db, Error, Migration, Options, Tx};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! const TABLES: &[Migration] = &[Migration {
//!     version: 1,
//!     name: "accounts",
//!     sqlite: "CREATE TABLE accounts (id TEXT PRIMARY KEY, amount_minor INTEGER NOT NULL) STRICT;",
//!     postgres: "CREATE TABLE accounts (id TEXT PRIMARY KEY, amount_minor BIGINT NOT NULL);",
//! }];
//!
//! let db = Db::open("sqlite::memory:", Options::default()).await?;
//! db.migrate("accounts", TABLES).await?;
//! let id = String::from("a-1");
//! let amount: i64 = db
//!     .write(async move |tx: &mut Tx| {
//!         tx.execute("INSERT INTO accounts (id, amount_minor) VALUES ($1, $2)", params![id, 500_i64]).await?;
//!         tx.wake("accounts");
//!         tx.query_one("SELECT amount_minor FROM accounts WHERE id = $1", params![id]).await?.get(0)
//!     })
//!     .await?;
//! assert_eq!(amount, 500);
//! # Ok(())
//! # }
//! ```
//!
//! # What it is
//! On SQLite each file has one writer thread. Closures that wait share one commit, and so one sync of the
//! disk: a lone caller does not wait for company, and many callers cost little each. Readers have threads and
//! snapshots of their own and never wait for the writer. Beside it: [migrations](Db::migrate) per component,
//! [wake-ups](Tx::wake) and [hooks](Tx::on_commit) after a commit, and [leases](lease) with epochs.
//!
//! # What it is not
//! No ORM, no query builder, no cache of rows, no replication, and no connection that leaves its thread.
//!
//! # Invariants
//! - `Db::write` returned `Ok`: the transaction is on the disk. It is WAL with `synchronous=FULL`, read back
//!   at open.
//! - A closure that fails, panics or waits for something else is rolled back alone; its neighbours in the
//!   commit are not.
//! - A transaction whose statement failed in the database commits nothing, even when the closure drops the error: as
//!   PostgreSQL has it. What may fail without taking the rest along runs in a [savepoint](Tx::savepoint).
//! - A commit that fails (disk full, input or output) is reported to every closure in it, and none of their
//!   wakes goes out. The database goes on, and commits again once it can.
//! - One process at a time has a database open; a binary refuses a database that a newer one has migrated.
//! - Every queue is bounded: the caller is refused, never kept waiting in memory without end.
//!
//! # PostgreSQL
//! A URL `postgres://...` is known and answered by [`Error::Backend`]: this build has no PostgreSQL backend.
//! The interface is made for both. Statements are the common subset (`$1`, `ON CONFLICT`, `RETURNING`; `i64`,
//! text and bytes), each [`Migration`] has both dialects, closures are async, and what only one of the two
//! can do (catching a failed statement, deferred constraints, transaction control) is refused. There a
//! closure is a pooled transaction; its statements then really wait, on a thread that runs it alone.

mod db;
mod error;
mod job;
pub mod lease;
mod lock;
mod migrate;
mod options;
mod param;
mod queue;
mod reader;
mod row;
mod sqlite;
mod stats;
mod threads;
mod tx;
mod url;
mod wake;
mod writer;

pub use db::{Db, Settings};
pub use error::{Error, Kind};
pub use migrate::Migration;
pub use options::Options;
pub use param::{Param, ToParam};
pub use row::{FromColumn, Row, Value};
pub use stats::Stats;
pub use tx::{ReadTx, Tx};
pub use wake::Watch;
