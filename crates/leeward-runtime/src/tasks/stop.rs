use tokio_util::sync::CancellationToken;

/// The wish that a task comes to rest. A clone is the same wish.
#[derive(Clone, Debug)]
pub struct Stop {
    token: CancellationToken,
}

impl Stop {
    /// A stop that its owner requests by hand: for parts that run without [`Tasks`](crate::Tasks), and for
    /// tests.
    #[must_use]
    pub fn manual() -> (Stopper, Self) {
        let token = CancellationToken::new();
        (Stopper { token: token.clone() }, Self { token })
    }

    /// A stop that is never requested.
    #[must_use]
    pub fn never() -> Self {
        Self { token: CancellationToken::new() }
    }

    pub(crate) fn of(token: &CancellationToken) -> Self {
        Self { token: token.clone() }
    }

    /// Resolves once the stop is requested, at once if it already is.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Whether the stop is requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Runs `work` until it is done or the stop is requested; `None` when the stop came first.
    ///
    /// # Cancel safety
    /// As safe as `work` is: it is dropped when the stop is requested.
    pub async fn or<F: Future>(&self, work: F) -> Option<F::Output> {
        self.token.run_until_cancelled(work).await
    }
}

/// The other end of [`Stop::manual`].
#[derive(Clone, Debug)]
pub struct Stopper {
    token: CancellationToken,
}

impl Stopper {
    /// Requests the stop.
    pub fn request(&self) {
        self.token.cancel();
    }
}
