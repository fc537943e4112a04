//! A definition whose steps are watched, and where one of them comes to something else, once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::scenario::{Injected, Scenario, Trouble};
use crate::definition::{Code, Definition, Handler, State, StepCode};
use crate::executor::{Point, Probe};
use crate::outcome::Outcome;
use crate::plan::{Kind, Plan};
use crate::step::{Signal, StepCx};

/// What outlives the process of a scenario on the test's side.
#[derive(Debug)]
pub(super) struct Watcher {
    trouble: Trouble,
    /// The pivot that is rejected.
    rejects: Option<usize>,
    struck: AtomicBool,
    pub(super) died: Notify,
    pub(super) seen: Mutex<Seen>,
}

/// What was seen of the steps.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The keys that each action or undo was called with, in the order of the first call.
    pub(super) keys: BTreeMap<(usize, bool), Vec<Arc<str>>>,
    /// Actions and undos in the order of their first call.
    pub(super) order: Vec<(usize, bool)>,
    /// Keys of commands that did not go out and are to be answered by the test.
    pub(super) unanswered: Vec<Arc<str>>,
}

/// Begins the ids of replies that the test makes up.
const MADE_UP: &str = "leeward-testing.";

impl Watcher {
    pub(super) fn new(plan: &Plan, scenario: &Scenario) -> Arc<Self> {
        let pivot = plan.steps.iter().position(|step| step.kind == Kind::Pivot);
        Arc::new(Self {
            trouble: scenario.trouble,
            rejects: pivot.filter(|_| scenario.compensates),
            struck: AtomicBool::new(false),
            died: Notify::new(),
            seen: Mutex::default(),
        })
    }

    /// Whether the trouble has come.
    pub(super) fn has_struck(&self) -> bool {
        matches!(self.trouble, Trouble::None) || self.struck.load(Ordering::SeqCst)
    }

    /// The id of a made-up reply.
    pub(super) fn reply_id(&self, key: &str) -> String {
        let name: String = key.chars().map(|char| if char == '/' { '.' } else { char }).collect();
        format!("{MADE_UP}{}.{name}", self.seen.lock().order.len())
    }

    /// What this call comes to instead.
    fn strikes(&self, at: usize, undo: bool) -> Option<Injected> {
        if !undo && self.rejects == Some(at) {
            return Some(Injected::Rejected);
        }
        match self.trouble {
            Trouble::Outcome { step, undo: in_undo, injected } if (step, in_undo) == (at, undo) => {
                (!self.struck.swap(true, Ordering::SeqCst)).then_some(injected)
            }
            _ => None,
        }
    }

    fn saw(&self, at: usize, undo: bool, cx: &StepCx) {
        let mut seen = self.seen.lock();
        if !seen.order.contains(&(at, undo)) {
            seen.order.push((at, undo));
        }
        let keys = seen.keys.entry((at, undo)).or_default();
        if !keys.contains(&cx.key) {
            keys.push(cx.key.clone());
        }
    }
}

impl Probe for Watcher {
    fn dies_at(&self, point: Point) -> bool {
        let dies = self.trouble == Trouble::Crash(point) && !self.struck.swap(true, Ordering::SeqCst);
        if dies {
            self.died.notify_one();
        }
        dies
    }
}

/// The definition with its steps watched.
pub(super) fn watched<S: State>(definition: &Definition<S>, watcher: &Arc<Watcher>) -> Definition<S> {
    let steps = definition.code.steps.iter().enumerate().map(|(at, step)| StepCode {
        action: handler(&step.action, watcher, at, false),
        undo: step.undo.as_ref().map(|undo| handler(undo, watcher, at, true)),
    });
    let code = Code { steps: steps.collect(), on_end: definition.code.on_end.clone() };
    Definition { code: Arc::new(code), ..definition.clone() }
}

fn handler<S: State>(handler: &Handler<S>, watcher: &Arc<Watcher>, at: usize, undo: bool) -> Handler<S> {
    match handler {
        Handler::Call { run, timeout } => {
            let (run, watcher) = (run.clone(), watcher.clone());
            let run = move |cx: StepCx, state: S| {
                watcher.saw(at, undo, &cx);
                let injected = watcher.strikes(at, undo);
                let call =
                    (injected.is_none() || injected == Some(Injected::UnknownAfter)).then(|| run(cx, state));
                async move {
                    let outcome = match call {
                        Some(call) => Some(call.await),
                        None => None,
                    };
                    injected
                        .map(instead)
                        .or(outcome)
                        .unwrap_or_else(|| Outcome::Transient("not called".to_owned()))
                }
            };
            Handler::Call { run: Arc::new(move |cx, state| Box::pin(run(cx, state))), timeout: *timeout }
        }
        Handler::Tx { run } => {
            let (run, watcher) = (run.clone(), watcher.clone());
            Handler::Tx {
                run: Arc::new(move |tx, cx, state| {
                    watcher.saw(at, undo, &cx);
                    match watcher.strikes(at, undo) {
                        Some(injected) => Box::pin(std::future::ready(Ok(instead(injected)))),
                        None => run(tx, cx, state),
                    }
                }),
            }
        }
        Handler::Command { .. } => command(handler, watcher, at, undo),
        Handler::Signal { name, on_signal, within, on_timeout } => Handler::Signal {
            name,
            on_signal: on_signal.clone(),
            within: *within,
            on_timeout: on_timeout.clone(),
        },
        Handler::Sleep { time } => Handler::Sleep { time: *time },
    }
}

/// A command that does not go out has no reply: the test makes one up, or lets the time pass. One that went out has its reply ignored.
fn command<S: State>(handler: &Handler<S>, watcher: &Arc<Watcher>, at: usize, undo: bool) -> Handler<S> {
    let Handler::Command { send, on_reply, within } = handler else {
        return Handler::Sleep { time: std::time::Duration::from_millis(1) };
    };
    let (send, on_reply, within) = (send.clone(), on_reply.clone(), *within);
    let ignores_reply = Arc::new(AtomicBool::new(false));
    let answers = Arc::new(Mutex::new(None));
    let (watcher, ignores, answer) = (watcher.clone(), ignores_reply.clone(), answers.clone());
    Handler::Command {
        send: Arc::new(move |tx, cx, state| {
            watcher.saw(at, undo, &cx);
            match watcher.strikes(at, undo) {
                None => return send(tx, cx, state),
                Some(Injected::UnknownAfter) => {
                    ignores.store(true, Ordering::SeqCst);
                    return send(tx, cx, state);
                }
                Some(Injected::UnknownBefore) => {}
                Some(injected @ (Injected::Rejected | Injected::Transient)) => {
                    *answer.lock() = Some(injected);
                    watcher.seen.lock().unanswered.push(cx.key);
                }
            }
            Box::pin(std::future::ready(Ok(())))
        }),
        on_reply: Arc::new(move |state, signal: &Signal| {
            if ignores_reply.swap(false, Ordering::SeqCst) {
                return instead(Injected::UnknownAfter);
            }
            match answers.lock().take_if(|_| signal.id().starts_with(MADE_UP)) {
                Some(injected) => instead(injected),
                None => on_reply(state, signal),
            }
        }),
        within,
    }
}

fn instead<S>(injected: Injected) -> Outcome<S> {
    match injected {
        Injected::Rejected => Outcome::rejected("testing", "rejected by the test"),
        Injected::Transient => Outcome::Transient("by the test".to_owned()),
        Injected::UnknownBefore | Injected::UnknownAfter => Outcome::Unknown("by the test".to_owned()),
    }
}
