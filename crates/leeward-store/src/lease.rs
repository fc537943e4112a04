//! Leases with epochs: one owner at a time, and a late one is found out.
//!
//! An owner that was paused past its lease does not know it. So a lease alone protects nothing: each write
//! made under it calls [`check`] in its own transaction, which fails once anybody else has taken the lease
//! since, because taking it raises the epoch. The rule is Kleppmann's fencing token (How to do distributed
//! locking, 2016). Owners are named per process start, never per host.

use std::time::Duration;

use crate::error::Error;
use crate::params;
use crate::tx::{ReadTx, Tx};

/// The number of times a lease has been taken: the newest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(i64);

impl Epoch {
    /// The epoch as a number, to store it or to hand it to a participant as its fencing token.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self.0
    }

    /// The epoch that [`as_i64`](Self::as_i64) gave.
    #[must_use]
    pub const fn from_i64(epoch: i64) -> Self {
        Self(epoch)
    }
}

/// Takes the lease `name` for `owner` until `now_unix_ms + ttl`, if it is free, run out, or already this
/// owner's. None: another holds it.
///
/// # Errors
/// What the database reports.
pub async fn acquire(
    tx: &mut Tx,
    name: &str,
    owner: &str,
    now_unix_ms: i64,
    ttl: Duration,
) -> Result<Option<Epoch>, Error> {
    let row = tx
        .query_opt(
            "INSERT INTO leeward_leases (name, owner, epoch, until_ms) VALUES ($1, $2, 1, $4)
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, epoch = leeward_leases.epoch + 1, until_ms = excluded.until_ms
             WHERE leeward_leases.until_ms <= $3 OR leeward_leases.owner = excluded.owner
             RETURNING epoch",
            params![name, owner, now_unix_ms, until(now_unix_ms, ttl)],
        )
        .await?;
    row.map(|row| row.get(0).map(Epoch)).transpose()
}

/// Extends the lease. False: it was taken by another meanwhile, or released. A lease that ran out unnoticed
/// can still be extended.
///
/// # Errors
/// What the database reports.
pub async fn renew(
    tx: &mut Tx,
    name: &str,
    owner: &str,
    epoch: Epoch,
    now_unix_ms: i64,
    ttl: Duration,
) -> Result<bool, Error> {
    let changed = tx
        .execute(
            "UPDATE leeward_leases SET until_ms = $4 WHERE name = $1 AND owner = $2 AND epoch = $3 AND until_ms > 0",
            params![name, owner, epoch.0, until(now_unix_ms, ttl)],
        )
        .await?;
    Ok(changed == 1)
}

/// Fails unless `epoch` is still the newest. Call it in each transaction that writes under the lease.
///
/// # Errors
/// [`Error::Fenced`] when the lease was taken by another; what the database reports.
pub async fn check(tx: &mut ReadTx, name: &str, epoch: Epoch) -> Result<(), Error> {
    let row = tx.query_opt("SELECT epoch FROM leeward_leases WHERE name = $1", params![name]).await?;
    let current: Option<i64> = row.map(|row| row.get(0)).transpose()?;
    if current == Some(epoch.0) {
        return Ok(());
    }
    Err(Error::Fenced { lease: name.to_owned(), held: epoch.0, current })
}

/// Gives the lease up at once, so that the next owner need not wait for its end. False: it was no longer this
/// owner's.
///
/// The row stays: its epoch must never be given out twice.
///
/// # Errors
/// What the database reports.
pub async fn release(tx: &mut Tx, name: &str, owner: &str, epoch: Epoch) -> Result<bool, Error> {
    let changed = tx
        .execute(
            "UPDATE leeward_leases SET until_ms = 0 WHERE name = $1 AND owner = $2 AND epoch = $3",
            params![name, owner, epoch.0],
        )
        .await?;
    Ok(changed == 1)
}

fn until(now_unix_ms: i64, ttl: Duration) -> i64 {
    now_unix_ms.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))
}
