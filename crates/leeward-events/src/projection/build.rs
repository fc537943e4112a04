//! Defining a projection.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use leeward_store::{Db, Tx};
use tokio::sync::Mutex;

use super::{Core, Definition, Projection, Table, default_rng};
use crate::consumer::{Gate, HandlerError, HandlerFuture, Received};
use crate::event::Event;
use crate::pattern;

/// Longest name of a table.
const TABLE_BYTES_MAX: usize = 48;

/// A projection in the making.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    group: Arc<str>,
    db: Db,
    definition: Definition,
}

/// What is wrong with a projection's definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The group's name is not taken.
    #[error("`{0}` is no group name: use dot-separated segments of letters, digits, `_` and `-`")]
    Group(String),
    /// The table's name is not taken.
    #[error("`{0}` is no table name: use up to 48 lower-case letters, digits and `_`")]
    Table(&'static str),
    /// A part is missing.
    #[error("a projection needs {0}")]
    Missing(&'static str),
    /// Two handlers for one kind of event.
    #[error("two handlers for `{0}`")]
    Twice(&'static str),
}

/// A handler with the kind of event it takes.
pub(super) struct Applier {
    pub(super) kind: &'static str,
    handler: Box<dyn Apply>,
}

trait Apply: Send + Sync {
    fn apply<'a>(&'a self, tx: &'a mut Tx, table: &'a Table, received: Received<()>) -> HandlerFuture<'a>;
}

struct Typed<E, F> {
    handle: F,
    event: PhantomData<fn() -> E>,
}

impl<E, F> Apply for Typed<E, F>
where
    E: Event,
    F: AsyncFn(&mut Tx, &Table, Received<E>) -> Result<(), HandlerError> + Send + Sync + 'static,
{
    fn apply<'a>(&'a self, tx: &'a mut Tx, table: &'a Table, received: Received<()>) -> HandlerFuture<'a> {
        Box::pin(async move {
            let event = received.envelope.decode::<E>()?;
            (self.handle)(tx, table, received.map(|()| event)).await
        })
    }
}

impl Applier {
    pub(super) async fn apply(
        &self,
        tx: &mut Tx,
        table: &Table,
        received: Received<()>,
    ) -> Result<(), HandlerError> {
        self.handler.apply(tx, table, received).await
    }
}

impl fmt::Debug for Applier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)
    }
}

impl Builder {
    pub(super) fn new(group: &str, db: Db, table: &'static str) -> Self {
        let definition = Definition { table, schema: &[], digest: "", appliers: Vec::new() };
        Self { group: group.into(), db, definition }
    }

    /// The statements that make the table, with `{table}` for its name, in indexes' names too.
    pub fn schema(mut self, statements: &'static [&'static str]) -> Self {
        self.definition.schema = statements;
        self
    }

    /// A query for checksums, by pages: the rows after key `$1` in the order of their key, at most `$2`; first column the key as text,
    /// second whatever of the row shall be compared, as text. The empty text comes before every key.
    pub fn digest(mut self, query: &'static str) -> Self {
        self.definition.digest = query;
        self
    }

    /// What an event of type `E` does to the table. It may depend on the table and the event alone: a rebuild runs it again.
    pub fn on<E: Event>(
        mut self,
        handler: impl AsyncFn(&mut Tx, &Table, Received<E>) -> Result<(), HandlerError> + Send + Sync + 'static,
    ) -> Self {
        let typed: Typed<E, _> = Typed { handle: handler, event: PhantomData };
        self.definition.appliers.push(Applier { kind: E::TYPE, handler: Box::new(typed) });
        self
    }

    /// The projection.
    ///
    /// # Errors
    /// The first mistake in the definition.
    pub fn build(self) -> Result<Projection, Error> {
        let definition = self.definition;
        if !pattern::is_kind(&self.group) {
            return Err(Error::Group(self.group.to_string()));
        }
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let bytes = definition.table.as_bytes();
        let starts_well = bytes.first().is_some_and(u8::is_ascii_lowercase);
        if !starts_well || bytes.len() > TABLE_BYTES_MAX || !bytes.iter().copied().all(is_name) {
            return Err(Error::Table(definition.table));
        }
        for (missing, what) in [
            (definition.schema.is_empty(), "the statements of its schema"),
            (definition.digest.is_empty(), "a digest query"),
            (definition.appliers.is_empty(), "a handler"),
        ] {
            if missing {
                return Err(Error::Missing(what));
            }
        }
        for (index, applier) in definition.appliers.iter().enumerate() {
            if definition.appliers[..index].iter().any(|earlier| earlier.kind == applier.kind) {
                return Err(Error::Twice(applier.kind));
            }
        }
        let live = Arc::new(Table::new(definition.table));
        let core = Core {
            group: self.group,
            db: self.db,
            definition,
            live,
            gate: Gate::default(),
            rebuilding: Mutex::new(()),
            rng: default_rng(),
        };
        Ok(Projection { core: Arc::new(core) })
    }
}
