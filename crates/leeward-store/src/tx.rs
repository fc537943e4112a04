//! The two transactions that closures get: [`ReadTx`] and [`Tx`].

use std::borrow::Cow;
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
#[derive(Debug)]
pub struct Tx {
    read: ReadTx,
    wakes: Vec<Cow<'static, str>>,
}

impl Tx {
    pub(crate) fn new(session: Session) -> Self {
        Self { read: ReadTx::new(session), wakes: Vec::new() }
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
        if !self.wakes.contains(&topic) {
            self.wakes.push(topic);
        }
    }

    /// The wakes called so far in this transaction; they are taken out.
    pub(crate) fn take_wakes(&mut self, into: &mut Vec<Cow<'static, str>>) {
        for topic in self.wakes.drain(..) {
            if !into.contains(&topic) {
                into.push(topic);
            }
        }
    }

    pub(crate) fn drop_wakes(&mut self) {
        self.wakes.clear();
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
