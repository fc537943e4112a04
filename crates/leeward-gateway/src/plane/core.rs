//! One core: a thread with a runtime of its own, whose connections and upstream connections never leave it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use leeward_runtime::Hold;
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, watch};

use super::{Handed, Load, connection};
use crate::jwt::TokenCache;
use crate::life::Core;
use crate::shared::Shared;
use crate::upstream::Pool;

pub(super) fn start(
    number: usize,
    shared: Arc<Shared>,
    load: Arc<Load>,
    handed: mpsc::Receiver<Handed>,
    hold: Hold,
) -> std::io::Result<()> {
    std::thread::Builder::new().name(format!("leeward-core-{number}")).spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => runtime.block_on(run(shared, load, handed)),
            Err(error) => tracing::error!(%error, "a core has no runtime"),
        }
        drop(hold);
    })?;
    Ok(())
}

/// Takes connections until the acceptor is gone, then lets those that are open come to their end.
async fn run(shared: Arc<Shared>, load: Arc<Load>, mut handed: mpsc::Receiver<Handed>) {
    let pool = Pool::new(Arc::clone(&shared.clock));
    let tokens = RefCell::new(TokenCache::new());
    let core = Rc::new(Core {
        shared: Arc::clone(&shared),
        pool: Rc::clone(&pool),
        tokens,
        load: Arc::clone(&load),
    });
    let (drain, draining) = watch::channel(false);
    // Each open connection holds a clone: when all are gone, the channel says so.
    let (open, mut closed) = mpsc::channel::<std::convert::Infallible>(1);
    while let Some(Handed { stream, peer }) = handed.recv().await {
        let guard = Open { shared: Arc::clone(&shared), load: Arc::clone(&load), _open: open.clone() };
        let (core, draining) = (Rc::clone(&core), draining.clone());
        tokio::task::spawn_local(async move {
            connection::serve(core, stream, peer, draining).await;
            drop(guard);
        });
    }
    drop(open);
    let _receivers = drain.send(true);
    if tokio::time::timeout(shared.config.limits.drain, closed.recv()).await.is_err() {
        tracing::warn!(
            connections = load.connections(),
            "requests were still on their way when the time to drain was over"
        );
    }
    pool.close();
}

/// Counts a connection until it is closed.
struct Open {
    shared: Arc<Shared>,
    load: Arc<Load>,
    _open: mpsc::Sender<std::convert::Infallible>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.load.connections.fetch_sub(1, Ordering::Relaxed);
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.shared.metrics.connections.dec();
    }
}
