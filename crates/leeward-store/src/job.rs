//! A caller's closure on its way through a database thread and back.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use crate::error::Error;
use crate::sqlite::Session;
use crate::tx::{ReadTx, Tx};

/// Whether what a closure did shall be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    Undo,
}

/// A queued closure, with its types erased. `C` is the transaction it runs in.
pub(crate) trait Job<C>: Send {
    /// Runs the closure and holds its result. Called once.
    fn run(&mut self, tx: &mut C) -> Verdict;

    /// Gives the caller its result, or `failure` instead when what the closure rests on was not committed.
    /// The closure may not have run.
    fn finish(self: Box<Self>, failure: Option<&Error>);
}

/// What a job needs of its transaction.
pub(crate) trait OnSession {
    fn session(&mut self) -> &mut Session;
}

impl OnSession for ReadTx {
    fn session(&mut self) -> &mut Session {
        Self::session(self)
    }
}

impl OnSession for Tx {
    fn session(&mut self) -> &mut Session {
        ReadTx::session(self)
    }
}

/// The closure `F`, then its result.
pub(crate) struct Closure<F, T, E> {
    state: State<F, T, E>,
    reply: oneshot::Sender<Result<T, E>>,
}

enum State<F, T, E> {
    Queued(F),
    Ran(Result<T, E>),
    Gone,
}

impl<F, T, E> Closure<F, T, E> {
    pub(crate) fn new(closure: F, reply: oneshot::Sender<Result<T, E>>) -> Self {
        Self { state: State::Queued(closure), reply }
    }
}

impl<C, F, T, E> Job<C> for Closure<F, T, E>
where
    C: OnSession,
    F: AsyncFnOnce(&mut C) -> Result<T, E> + Send,
    T: Send,
    E: From<Error> + Send,
{
    fn run(&mut self, tx: &mut C) -> Verdict {
        let State::Queued(closure) = std::mem::replace(&mut self.state, State::Gone) else {
            return Verdict::Undo;
        };
        let result = run_caught(closure, tx);
        let verdict = if result.is_ok() { Verdict::Keep } else { Verdict::Undo };
        self.state = State::Ran(result);
        verdict
    }

    fn finish(self: Box<Self>, failure: Option<&Error>) {
        let result = match (failure, self.state) {
            (Some(error), _) => Err(E::from(error.clone())),
            (None, State::Ran(result)) => result,
            // Never run: dropping the reply says that the database is closed.
            (None, State::Queued(_) | State::Gone) => return,
        };
        // A caller that went away does not want it.
        drop(self.reply.send(result));
    }
}

/// Runs the closure to its end or its panic. A result is `Ok` only if all its statements succeeded.
fn run_caught<C, F, T, E>(closure: F, tx: &mut C) -> Result<T, E>
where
    C: OnSession,
    F: AsyncFnOnce(&mut C) -> Result<T, E>,
    E: From<Error>,
{
    tx.session().start();
    // Unwind safety: whatever the closure did to the transaction is rolled back, and what it owned is dropped
    // with it.
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let result = poll_once(closure, tx)?;
        tx.session().end();
        match tx.session().spoiled() {
            Some(cause) if result.is_ok() => Err(Error::Aborted { cause: Box::new(cause.clone()) }.into()),
            _ => result.map_err(Failed::Closure),
        }
    }));
    match caught {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Failed::Closure(error))) => Err(error),
        Ok(Err(Failed::Store(error))) => Err(error.into()),
        Err(panic) => Err(Error::Panicked { message: message(panic.as_ref()) }.into()),
    }
}

enum Failed<E> {
    Closure(E),
    Store(Error),
}

impl<E> From<Error> for Failed<E> {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// A statement's future is ready at its first poll, so that a closure's is ready too, unless it waits for
/// something else.
fn poll_once<C, F, R>(closure: F, tx: &mut C) -> Result<R, Error>
where
    F: AsyncFnOnce(&mut C) -> R,
{
    let mut future = pin!(closure(tx));
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Ok(result),
        Poll::Pending => Err(Error::ForeignWait),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// A reading job on the writer: an in-memory database has no second connection.
pub(crate) struct OnWriter(pub(crate) Box<dyn Job<ReadTx>>);

impl Job<Tx> for OnWriter {
    fn run(&mut self, tx: &mut Tx) -> Verdict {
        tx.session().set_writes(false);
        let verdict = self.0.run(tx);
        tx.session().set_writes(true);
        verdict
    }

    fn finish(self: Box<Self>, failure: Option<&Error>) {
        self.0.finish(failure);
    }
}
