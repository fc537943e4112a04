//! The two transactions that closures get: [`ReadTx`] and [`Tx`].

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::error::Error;
use crate::param::Param;
use crate::row::Row;
use crate::sqlite::Session;

/// A transaction's reading half: one snapshot for all its statements.
///
/// Statements use `$1 .. $n`. A statement that fails spoils the transaction, as it does in PostgreSQL: each
/// later one fails with [`Error::Aborted`] and nothing can be committed. Where a conflict is expected, say so
/// in the statement (`ON CONFLICT ...`) and look at the count or at `RETURNING`, rather than catching the
/// error.
#[derive(Debug)]
pub struct ReadTx {
    session: Session,
}

impl ReadTx {
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// All rows that the statement returns. The caller bounds their number by a `LIMIT`.
    ///
    /// # Errors
    /// [`Error::Params`], [`Error::Forbidden`] for a mistake in the call; what the database reports;
    /// [`Error::Aborted`] after a failure.
    pub async fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        self.session.query(sql, params, usize::MAX)
    }

    /// The only row that the statement returns, or none.
    ///
    /// # Errors
    /// Those of [`query`](Self::query), and [`Error::ManyRows`].
    pub async fn query_opt(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>, Error> {
        // Two rows suffice to tell that there are too many.
        let mut rows = self.session.query(sql, params, 2)?;
        if rows.len() > 1 { Err(Error::ManyRows) } else { Ok(rows.pop()) }
    }

    /// The only row that the statement returns.
    ///
    /// # Errors
    /// Those of [`query`](Self::query), [`Error::ManyRows`], and [`Error::NotFound`] when there is none.
    pub async fn query_one(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Row, Error> {
        self.query_opt(sql, params).await?.ok_or(Error::NotFound)
    }
}

/// A transaction. What it wrote is durable once [`Db::write`](crate::Db::write) has returned `Ok`, and undone
/// when the closure fails.
///
/// It reads like a [`ReadTx`], to which it dereferences, so that reading helpers take `&mut ReadTx`.
pub struct Tx {
    read: ReadTx,
    after: After,
}

/// What happens once a transaction has committed, and never happens if it does not.
#[derive(Default)]
pub(crate) struct After {
    pub(crate) wakes: Vec<Cow<'static, str>>,
    pub(crate) hooks: Vec<Box<dyn FnOnce() + Send>>,
}

impl Tx {
    pub(crate) fn new(session: Session) -> Self {
        Self { read: ReadTx::new(session), after: After::default() }
    }

    /// Runs a statement that returns no rows; gives the number of rows that it inserted, updated or deleted.
    ///
    /// # Errors
    /// [`Error::Params`], [`Error::Forbidden`] for a mistake in the call; what the database reports;
    /// [`Error::Aborted`] after a failure.
    pub async fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, Error> {
        self.read.session.execute(sql, params)
    }

    /// After the commit, wakes every [`Watch`](crate::Watch) of `topic` in this process. A transaction that
    /// rolls back wakes nobody.
    pub fn wake(&mut self, topic: impl Into<Cow<'static, str>>) {
        let topic = topic.into();
        if !self.after.wakes.contains(&topic) {
            self.after.wakes.push(topic);
        }
    }

    /// After the commit, calls `hook` on the database's thread, before any watch wakes and before
    /// [`Db::write`](crate::Db::write) returns; a transaction that rolls back drops it. It must be short and must not wait: all
    /// writers wait for it. The process may die between the commit and the hook.
    pub fn on_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.after.hooks.push(Box::new(hook));
    }

    /// Runs `work` so that its failure undoes what it did, wakes and hooks included, and nothing else: the transaction goes on.
    /// A statement that failed in it spoils only it. Savepoints nest.
    ///
    /// # Errors
    /// What `work` returns; [`Error::Aborted`] when it hid the failure of a statement; what the database reports.
    pub async fn savepoint<T, E>(&mut self, work: impl AsyncFnOnce(&mut Self) -> Result<T, E>) -> Result<T, E>
    where
        E: From<Error>,
    {
        let (wakes, hooks) = (self.after.wakes.len(), self.after.hooks.len());
        self.read.session.set_savepoint()?;
        let result = work(self).await;
        let failure = match result {
            Ok(value) => match self.read.session.release_savepoint() {
                Ok(()) => return Ok(value),
                Err(error) => error.into(),
            },
            Err(error) => error,
        };
        self.after.wakes.truncate(wakes);
        self.after.hooks.truncate(hooks);
        self.read.session.back_to_savepoint()?;
        Err(failure)
    }

    /// What is to happen after the commit, as far as it is known; it is taken out.
    pub(crate) fn take_after(&mut self, into: &mut After) {
        for topic in self.after.wakes.drain(..) {
            if !into.wakes.contains(&topic) {
                into.wakes.push(topic);
            }
        }
        into.hooks.append(&mut self.after.hooks);
    }

    pub(crate) fn drop_after(&mut self) {
        self.after.clear();
    }
}

impl After {
    pub(crate) fn clear(&mut self) {
        self.wakes.clear();
        self.hooks.clear();
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("read", &self.read).finish_non_exhaustive()
    }
}

impl Deref for Tx {
    type Target = ReadTx;
    fn deref(&self) -> &ReadTx {
        &self.read
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut ReadTx {
        &mut self.read
    }
}
