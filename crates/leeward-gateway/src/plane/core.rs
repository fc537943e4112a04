//! One core: a thread with a runtime of its own, whose connections and upstream connections never leave it.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use leeward_runtime::Hold;
use leeward_telemetry::metrics::Gauge;
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, watch};

use super::current::Current;
use super::{Handed, Load, connection};
use crate::decisions::{Asked, Question};
use crate::overload;
use crate::published::Published;
use crate::shared::Traffic;

pub(super) fn start(
    number: usize,
    published: &Published,
    load: Arc<Load>,
    comes: (mpsc::Receiver<Handed>, Asked),
    hold: Hold,
) -> std::io::Result<()> {
    let published = published.clone();
    std::thread::Builder::new().name(format!("leeward-core-{number}")).spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => runtime.block_on(run(published, load, comes)),
            Err(error) => tracing::error!(%error, "a core has no runtime"),
        }
        drop(hold);
    })?;
    Ok(())
}

/// Takes connections until the acceptor is gone, then lets those that are open come to their end.
async fn run(
    published: Published,
    load: Arc<Load>,
    (mut handed, mut asked): (mpsc::Receiver<Handed>, Asked),
) {
    let current = Rc::new(Current::new(&published, Arc::clone(&load)));
    tokio::task::spawn_local(overload::watch(Rc::clone(&current.core().overload), Rc::clone(&current)));
    let mut snapshots = published.follow();
    let mut held_back = published.current().traffic.follow_hold();
    let (drain, draining) = watch::channel(false);
    // Each open connection holds a clone: when all are gone, the channel says so.
    let (open, mut closed) = mpsc::channel::<std::convert::Infallible>(1);
    loop {
        let handed = tokio::select! {
            biased;
            handed = handed.recv() => match handed {
                Some(handed) => handed,
                None => break,
            },
            // A core without requests lets go of what is no longer in force.
            Ok(()) = snapshots.changed() => {
                let _newest = current.core();
                continue;
            }
            Ok(()) = held_back.changed() => {
                let is_wanted = *held_back.borrow_and_update();
                drain.send_replace(is_wanted);
                continue;
            }
            Some(question) = asked.recv() => {
                answer(&current, question);
                continue;
            }
        };
        let guard = Open::new(&current, &load, open.clone());
        let (current, draining) = (Rc::clone(&current), draining.clone());
        tokio::task::spawn_local(async move {
            connection::serve(current, handed, draining).await;
            drop(guard);
        });
    }
    drop(open);
    let _receivers = drain.send(true);
    let core = current.core();
    if tokio::time::timeout(core.shared.config.limits.drain, closed.recv()).await.is_err() {
        tracing::warn!(
            connections = load.connections(),
            "requests were still on their way when the time to drain was over"
        );
    }
    core.pool.close();
}

/// Says which decisions of this core are wanted.
fn answer(current: &Current, question: Question) {
    let core = current.core();
    let found = core.book.as_ref().map(|book| book.find(&question.filter)).unwrap_or_default();
    // Who asked may have had enough of waiting.
    let _asker = question.answer.send(found);
}

/// Counts a connection until it is closed.
struct Open {
    traffic: Arc<Traffic>,
    gauge: Gauge,
    load: Arc<Load>,
    _open: mpsc::Sender<std::convert::Infallible>,
}

impl Open {
    fn new(current: &Current, load: &Arc<Load>, open: mpsc::Sender<std::convert::Infallible>) -> Self {
        let core = current.core();
        let shared = &core.shared;
        let (traffic, gauge) = (Arc::clone(&shared.traffic), shared.metrics.connections.clone());
        Self { traffic, gauge, load: Arc::clone(load), _open: open }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.load.connections.fetch_sub(1, Ordering::Relaxed);
        self.traffic.closed();
        self.gauge.dec();
    }
}
