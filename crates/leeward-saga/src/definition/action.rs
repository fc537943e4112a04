//! Actions and undos: a closure, the way it is carried out, and its patience.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use leeward_store::Tx;

use crate::outcome::{End, Fault, Outcome};
use crate::plan::Way;
use crate::retry::Retry;
use crate::step::{EndCx, Signal, StepCx};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;
pub(crate) type CallFn<S> =
    Arc<dyn Fn(StepCx, S) -> Pin<Box<dyn Future<Output = Outcome<S>> + Send>> + Send + Sync>;
pub(crate) type TxFn<S> =
    Arc<dyn for<'a> Fn(&'a mut Tx, StepCx, S) -> Boxed<'a, Result<Outcome<S>, Fault>> + Send + Sync>;
pub(crate) type SendFn<S> =
    Arc<dyn for<'a> Fn(&'a mut Tx, StepCx, S) -> Boxed<'a, Result<(), Fault>> + Send + Sync>;
pub(crate) type ReplyFn<S> = Arc<dyn Fn(S, &Signal) -> Outcome<S> + Send + Sync>;
pub(crate) type TimeoutFn<S> = Arc<dyn Fn(S) -> Outcome<S> + Send + Sync>;
pub(crate) type EndFn<S> =
    Arc<dyn for<'a> Fn(&'a mut Tx, EndCx, End, S) -> Boxed<'a, Result<(), Fault>> + Send + Sync>;

/// How long one outside call may take before its outcome counts as unknown, unless it says otherwise: longer than any sane deadline
/// of the call itself, so that this is the net under it.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait for a reply before the command is sent again, unless it says otherwise. Both ways are durable, so that a second
/// command helps only against what should not happen; under overload it is one more for everybody to work through.
const REPLY_WITHIN: Duration = Duration::from_secs(30);

/// How a step's action or undo is carried out.
pub(crate) enum Handler<S> {
    Call { run: CallFn<S>, timeout: Duration },
    Tx { run: TxFn<S> },
    Command { send: SendFn<S>, on_reply: ReplyFn<S>, within: Duration },
    Signal { name: &'static str, on_signal: ReplyFn<S>, within: Duration, on_timeout: TimeoutFn<S> },
    Sleep { time: Duration },
}

impl<S> Handler<S> {
    pub(crate) const fn way(&self) -> Way {
        match self {
            Self::Call { .. } => Way::Call,
            Self::Tx { .. } => Way::Tx,
            Self::Command { .. } => Way::Command,
            Self::Signal { .. } => Way::Signal,
            Self::Sleep { .. } => Way::Sleep,
        }
    }
}

/// What a step does. An action may be called more than once with the same [key](StepCx::key) and must then have one effect.
pub struct Action<S> {
    pub(crate) handler: Handler<S>,
    pub(crate) retry: Option<Retry>,
    pub(crate) misfits: Vec<&'static str>,
}

/// What takes a step's effect back. It is called with [`StepCx::action_key`], must accept that there is nothing to undo, and should
/// leave a mark there, so that an action that comes later is refused.
pub struct Undo<S> {
    pub(crate) action: Option<Action<S>>,
    pub(crate) independent: bool,
}

impl<S: Clone + Send + Sync + 'static> Action<S> {
    /// An outside call, such as HTTP, which runs on the executor: `async |cx: StepCx, state: S| -> Outcome<S>`.
    ///
    /// The closure runs as often as it takes, so it hands clones of what it captured to the future it makes; [`call_with`](Self::call_with)
    /// does so by itself. A future that is not done within [`timeout`](Self::timeout), or panics, is dropped, and the outcome is
    /// unknown. After a crash of the process the outcome of the call under way is unknown too.
    pub fn call<F, Fut>(run: F) -> Self
    where
        F: Fn(StepCx, S) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome<S>> + Send + 'static,
    {
        let run: CallFn<S> = Arc::new(move |cx, state| Box::pin(run(cx, state)));
        Self::of(Handler::Call { run, timeout: CALL_TIMEOUT })
    }

    /// [`call`](Self::call) with something to call with, such as a client, of which each attempt gets a clone:
    /// `async |client: Client, cx: StepCx, state: S| -> Outcome<S>`.
    pub fn call_with<D, F, Fut>(with: D, run: F) -> Self
    where
        D: Clone + Send + Sync + 'static,
        F: Fn(D, StepCx, S) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome<S>> + Send + 'static,
    {
        Self::call(move |cx, state| run(with.clone(), cx, state))
    }

    /// A change in the saga's own database, in the transaction that records the step: it happens exactly once.
    ///
    /// `async |tx: &mut Tx, cx: StepCx, state: S| -> Result<Outcome<S>, Fault>`. Any outcome but `Done` rolls the change back.
    pub fn tx<F>(run: F) -> Self
    where
        F: AsyncFn(&mut Tx, StepCx, S) -> Result<Outcome<S>, Fault> + Send + Sync + 'static,
    {
        let run = Arc::new(run);
        let run: TxFn<S> = Arc::new(move |tx, cx, state| {
            let run = Arc::clone(&run);
            Box::pin(async move { run(tx, cx, state).await })
        });
        Self::of(Handler::Tx { run })
    }

    /// A command that goes out with the journal's transaction, and the reply to it.
    ///
    /// `send` (`async |tx: &mut Tx, cx: StepCx, state: S| -> Result<(), Fault>`) appends it to the outbox under [`StepCx::key`]; the
    /// reply comes back through [`Sagas::reply`](crate::Sagas::reply) with that key. If none comes in time
    /// ([`reply_within`](Self::reply_within)), the outcome is unknown and the command goes out again under the same key.
    pub fn command<F, R>(send: F, on_reply: R) -> Self
    where
        F: AsyncFn(&mut Tx, StepCx, S) -> Result<(), Fault> + Send + Sync + 'static,
        R: Fn(S, &Signal) -> Outcome<S> + Send + Sync + 'static,
    {
        let send = Arc::new(send);
        let send: SendFn<S> = Arc::new(move |tx, cx, state| {
            let send = Arc::clone(&send);
            Box::pin(async move { send(tx, cx, state).await })
        });
        Self::of(Handler::Command { send, on_reply: Arc::new(on_reply), within: REPLY_WITHIN })
    }

    /// Waits for the signal `name` from [`Sagas::signal`](crate::Sagas::signal), such as an approval; one that came early counts.
    /// When none comes `within` the time, `on_timeout` says what that means.
    pub fn signal<R, T>(name: &'static str, within: Duration, on_signal: R, on_timeout: T) -> Self
    where
        R: Fn(S, &Signal) -> Outcome<S> + Send + Sync + 'static,
        T: Fn(S) -> Outcome<S> + Send + Sync + 'static,
    {
        let (on_signal, on_timeout) = (Arc::new(on_signal), Arc::new(on_timeout));
        Self::of(Handler::Signal { name, on_signal, within, on_timeout })
    }

    /// Waits. The time at which it is over is stored, so that it passes while the process is down, too.
    #[must_use]
    pub fn sleep(time: Duration) -> Self {
        Self::of(Handler::Sleep { time })
    }

    /// How it is tried again; the default depends on the kind of step ([`Retry`]).
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// How long one attempt of a [`call`](Self::call) may take, 30 s by default.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        match &mut self.handler {
            Handler::Call { timeout, .. } => *timeout = time,
            _ => self.misfits.push("`timeout` is for calls"),
        }
        self
    }

    /// How long to wait for the reply to a [`command`](Self::command) before it is sent again, 30 s by default. The wait doubles
    /// each time.
    #[must_use]
    pub fn reply_within(mut self, time: Duration) -> Self {
        match &mut self.handler {
            Handler::Command { within, .. } => *within = time,
            _ => self.misfits.push("`reply_within` is for commands"),
        }
        self
    }

    fn of(handler: Handler<S>) -> Self {
        Self { handler, retry: None, misfits: Vec::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> Undo<S> {
    /// Nothing to undo: the step only looked.
    #[must_use]
    pub fn none() -> Self {
        Self { action: None, independent: false }
    }

    /// An outside call: see [`Action::call`].
    pub fn call<F, Fut>(run: F) -> Self
    where
        F: Fn(StepCx, S) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome<S>> + Send + 'static,
    {
        Self::of(Action::call(run))
    }

    /// An outside call with something to call with: see [`Action::call_with`].
    pub fn call_with<D, F, Fut>(with: D, run: F) -> Self
    where
        D: Clone + Send + Sync + 'static,
        F: Fn(D, StepCx, S) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome<S>> + Send + 'static,
    {
        Self::of(Action::call_with(with, run))
    }

    /// A change in the saga's own database: see [`Action::tx`].
    pub fn tx<F>(run: F) -> Self
    where
        F: AsyncFn(&mut Tx, StepCx, S) -> Result<Outcome<S>, Fault> + Send + Sync + 'static,
    {
        Self::of(Action::tx(run))
    }

    /// A command and its reply: see [`Action::command`].
    pub fn command<F, R>(send: F, on_reply: R) -> Self
    where
        F: AsyncFn(&mut Tx, StepCx, S) -> Result<(), Fault> + Send + Sync + 'static,
        R: Fn(S, &Signal) -> Outcome<S> + Send + Sync + 'static,
    {
        Self::of(Action::command(send, on_reply))
    }

    /// How it is tried again; by default 30 attempts ([`Retry::UNDO`]), after which the saga is stuck.
    #[must_use]
    pub fn retry(self, retry: Retry) -> Self {
        self.change(|action| action.retry(retry))
    }

    /// How long one attempt of a call may take.
    #[must_use]
    pub fn timeout(self, time: Duration) -> Self {
        self.change(|action| action.timeout(time))
    }

    /// How long to wait for the reply to a command.
    #[must_use]
    pub fn reply_within(self, time: Duration) -> Self {
        self.change(|action| action.reply_within(time))
    }

    /// This undo needs none of the later steps' undos: it goes on while one of them is stuck.
    #[must_use]
    pub fn independent(mut self) -> Self {
        self.independent = true;
        self
    }

    fn change(mut self, change: impl FnOnce(Action<S>) -> Action<S>) -> Self {
        self.action = self.action.map(change);
        self
    }

    fn of(action: Action<S>) -> Self {
        Self { action: Some(action), independent: false }
    }
}

impl<S> fmt::Debug for Action<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Action")
            .field("way", &self.handler.way())
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Undo<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undo").field("action", &self.action).finish_non_exhaustive()
    }
}
