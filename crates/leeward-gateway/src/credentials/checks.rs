//! Passwords are checked beside the cores: a few at a time, each 20 ms or so, with a bound on those that wait.

use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;

use super::password::{Accounts, Login};
use super::store::Loaded;
use crate::jwt::Subject;

/// Checks that may wait for a thread, for each that runs: at 20 ms each the last one waits half a second.
const WAITING_FOR_EACH: usize = 24;

/// Too many wait already, or the process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Busy;

/// Where passwords are checked.
#[derive(Debug)]
pub(crate) struct Checks {
    at_a_time: usize,
    running: Arc<Semaphore>,
    places: Semaphore,
    /// Of this process alone: what is remembered of a password is of no use anywhere else.
    secret: Option<hmac::Key>,
}

impl Checks {
    pub(crate) fn new(at_a_time: usize) -> Self {
        Self {
            at_a_time,
            running: Arc::new(Semaphore::new(at_a_time)),
            places: Semaphore::new(at_a_time * (1 + WAITING_FOR_EACH)),
            secret: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
        }
    }

    pub(crate) const fn at_a_time(&self) -> usize {
        self.at_a_time
    }

    /// By what a password that was right is known again, without keeping it. No token has a colon, so that none is taken for one.
    pub(crate) fn mark(&self, login: &str) -> Option<String> {
        let tag = hmac::sign(self.secret.as_ref()?, login.as_bytes());
        Some(format!("basic:{}", STANDARD.encode(tag.as_ref())))
    }

    /// Whose name and password these are.
    ///
    /// # Cancel safety
    /// Safe: a check that has begun ends, and keeps its place until then.
    pub(crate) async fn holder(
        &self,
        accounts: Arc<Loaded<Accounts>>,
        login: Login,
    ) -> Result<Option<Arc<Subject>>, Busy> {
        let _place = self.places.try_acquire().map_err(|_| Busy)?;
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Busy)?;
        let check = move || {
            // It goes with the work: a client that left does not free the thread that works for it.
            let _permit = permit;
            accounts.holders().holder(&login)
        };
        tokio::task::spawn_blocking(check).await.map_err(|_| Busy)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_mark_is_of_one_login_and_one_process() {
        let (one, two) = (Checks::new(1), Checks::new(1));
        assert_eq!(one.mark("YTpi"), one.mark("YTpi"));
        assert_ne!(one.mark("YTpi"), one.mark("YTpj"));
        assert_ne!(one.mark("YTpi"), two.mark("YTpi"));
        assert!(!one.mark("YTpi").unwrap().contains("YTpi"));
    }

    #[tokio::test]
    async fn no_more_wait_than_there_are_places() {
        let checks = Checks::new(2);
        let all: Vec<_> = (0..50).map(|_| checks.places.try_acquire().unwrap()).collect();
        let accounts = Arc::new(Loaded::of(Accounts::default()));
        let login = || Login::read("YTpi").unwrap();
        assert_eq!(checks.holder(Arc::clone(&accounts), login()).await.unwrap_err(), Busy);
        drop(all);
        assert!(checks.holder(accounts, login()).await.unwrap().is_none());
    }
}
