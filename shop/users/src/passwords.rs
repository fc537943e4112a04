//! Password hashing with argon2id, on a pool that a login storm cannot outgrow.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

/// Requests that may wait for a hash. At about 20 ms each this is near one second of work for one core; the next
/// is refused, since its caller would have given up before its turn.
const WAITING_MAX: usize = 48;

/// When a refused caller should come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A hash that no password gives: compared against where there is no account, so that the answer takes as long.
pub(crate) const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bGVld2FyZC1ub2JvZHk$Zm9yZXZlci11bm1hdGNoZWQtaGFzaC1vZi1ub2JvZHk";

/// Why a password was not hashed or compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// More requests wait than the pool will hold.
    #[error("{WAITING_MAX} password checks are waiting already")]
    Busy {
        /// When to come back.
        retry_after: Duration,
    },
    /// The stored hash is not one of ours, or the platform gave no randomness.
    #[error("password hashing failed: {0}")]
    Hash(String),
}

/// Hashes and compares passwords with argon2id (RFC 9106; 19 MiB, 2 passes, 1 lane: OWASP's first choice for
/// interactive logins). Clones share one pool.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Passwords {
    /// A pool that runs at most `threads` hashes at once. Each needs 19 MiB while it runs.
    pub(crate) fn new(threads: NonZeroUsize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(threads.get())),
            waiting: Arc::new(Semaphore::new(threads.get() + WAITING_MAX)),
        }
    }

    /// The PHC string of `password`, with a fresh salt.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Error> {
        self.run(move || {
            let hash = Argon2::default().hash_password(password.as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|error| Error::Hash(error.to_string()))
        })
        .await
    }

    /// Whether `password` gives `stored`.
    pub(crate) async fn matches(&self, password: String, stored: String) -> Result<bool, Error> {
        self.run(move || {
            let stored = PasswordHash::new(&stored).map_err(|error| Error::Hash(error.to_string()))?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &stored).is_ok())
        })
        .await
    }

    /// Runs `work` on a blocking thread once a place is free; refuses when too many wait.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _place = self.waiting.try_acquire().map_err(|_| Error::Busy { retry_after: RETRY_AFTER })?;
        let permit =
            self.running.clone().acquire_owned().await.map_err(|error| Error::Hash(error.to_string()))?;
        let task = tokio::task::spawn_blocking(move || {
            // The permit goes with the work: a caller who left does not free the core it still uses.
            let _permit = permit;
            work()
        });
        task.await.map_err(|error| Error::Hash(error.to_string()))?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn pool() -> Passwords {
        Passwords::new(NonZeroUsize::MIN)
    }

    #[tokio::test]
    async fn a_password_matches_its_own_hash_and_no_other() {
        let pool = pool();
        let hash = pool.hash("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(pool.matches("correct horse".into(), hash.clone()).await.unwrap());
        assert!(!pool.matches("correct horsf".into(), hash).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_costs_what_everybody_costs() {
        let pool = pool();
        assert!(!pool.matches("x".into(), NOBODY.into()).await.unwrap());
        let cost = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(cost(NOBODY), cost(&pool.hash("x".into()).await.unwrap()));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let pool = pool();
        let _held =
            pool.waiting.clone().acquire_many_owned(u32::try_from(WAITING_MAX).unwrap() + 1).await.unwrap();
        assert!(matches!(pool.hash("x".into()).await, Err(Error::Busy { .. })));
    }
}
