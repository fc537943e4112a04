//! The engine's authority: its lease, and what it was when it took over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use leeward_store::lease::{self, Epoch};
use leeward_store::{Kind, Tx};

use crate::error::Error;
use crate::journal::{self, saga::Raw};
use crate::sagas::Shared;

/// The lease of the sagas of one database.
pub(super) const LEASE: &str = "leeward.sagas";

/// The owner's name where one process at a time has the database.
const SOLE_OWNER: &str = "sole";

/// The engine while it holds the lease.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) epoch: Epoch,
    /// The last saga that was there before this engine: up to it, another engine may have been at work.
    pub(super) recovered_to: i64,
    until_ms: AtomicI64,
    stopping: AtomicBool,
    /// Polls so far.
    pub(super) polls: AtomicU32,
    /// The last look for old rows left some.
    pub(super) purges_on: AtomicBool,
}

/// Waits for the lease and takes it.
pub(super) async fn take_over(shared: &Arc<Shared>) -> Result<Engine, Error> {
    loop {
        match try_take_over(shared).await {
            Ok(Some(engine)) => return Ok(engine),
            Ok(None) => tracing::debug!("another engine has the sagas; waiting"),
            Err(Error::Store(error)) if error.is_temporary() || error.kind() == Kind::Io => {
                tracing::warn!(%error, "the lease on the sagas cannot be taken now");
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(shared.options.lease_ttl / 3).await;
    }
}

async fn try_take_over(shared: &Arc<Shared>) -> Result<Option<Engine>, Error> {
    let now_ms = shared.clock.unix_ms();
    let (owner, ttl) = (owner(shared), shared.options.lease_ttl);
    let taken = shared
        .db
        .write(async move |tx: &mut Tx| -> Result<_, Error> {
            let Some(epoch) = lease::acquire(tx, LEASE, &owner, now_ms, ttl).await? else { return Ok(None) };
            let reconsidered = journal::saga::reconsider(tx).await?;
            if reconsidered > 0 {
                tracing::info!(reconsidered, "sagas refused before get another look");
            }
            Ok(Some((epoch, journal::saga::last_seq(tx).await?)))
        })
        .await?;
    Ok(taken.map(|(epoch, recovered_to)| Engine {
        shared: shared.clone(),
        epoch,
        recovered_to,
        until_ms: AtomicI64::new(now_ms.saturating_add(ms(ttl))),
        stopping: AtomicBool::new(false),
        polls: AtomicU32::new(0),
        purges_on: AtomicBool::new(false),
    }))
}

impl Engine {
    /// Whether the lease still holds, after renewing it if it has run out: a process that was paused must not act before it knows.
    pub(super) async fn holds(&self) -> Result<bool, Error> {
        if self.shared.clock.unix_ms() < self.until_ms.load(Ordering::Relaxed) {
            return Ok(true);
        }
        self.renew().await
    }

    /// Whether an engine before this one may have begun an attempt that the row does not tell of.
    pub(super) fn is_in_doubt(&self, raw: &Raw) -> bool {
        raw.epoch != self.epoch.as_i64() && raw.seq <= self.recovered_to
    }

    /// Extends the lease once a third of it has passed. False: another engine has it.
    pub(super) async fn keep_lease(&self) -> Result<bool, Error> {
        let left_ms = self.until_ms.load(Ordering::Relaxed).saturating_sub(self.shared.clock.unix_ms());
        if left_ms.saturating_mul(3) > ms(self.shared.options.lease_ttl).saturating_mul(2) {
            return Ok(true);
        }
        self.renew().await
    }

    async fn renew(&self) -> Result<bool, Error> {
        let now_ms = self.shared.clock.unix_ms();
        let (owner, ttl, epoch) = (owner(&self.shared), self.shared.options.lease_ttl, self.epoch);
        let renewed = self
            .shared
            .db
            .write(async move |tx: &mut Tx| lease::renew(tx, LEASE, &owner, epoch, now_ms, ttl).await)
            .await?;
        if renewed {
            self.until_ms.store(now_ms.saturating_add(ms(ttl)), Ordering::Relaxed);
        }
        Ok(renewed)
    }

    /// Gives the lease up, so that the next engine need not wait. A failure only makes it wait.
    pub(super) async fn release(&self) {
        let (owner, epoch) = (owner(&self.shared), self.epoch);
        let released = self
            .shared
            .db
            .write(async move |tx: &mut Tx| lease::release(tx, LEASE, &owner, epoch).await)
            .await;
        match released {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Closed => {}
            Err(error) => tracing::warn!(%error, "the lease on the sagas was not given up"),
        }
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

fn owner(shared: &Shared) -> Arc<str> {
    shared.options.owner.clone().unwrap_or_else(|| SOLE_OWNER.into())
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
