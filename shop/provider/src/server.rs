//! The provider as a server.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::serve::ListenerExt;
use leeward_resilience::{Clock, FastRng, Rng, TokioClock};
use leeward_runtime::Stop;
use leeward_store::Db;
use tokio::net::TcpListener;

use crate::desk::Desk;
use crate::faults::Switches;
use crate::{api, schema};

/// The largest request body: requests have four short fields.
const BODY_MAX_BYTES: usize = 16 * 1024;

/// What a provider is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the ledger is: `sqlite:PATH`, or `sqlite::memory:` in tests.
    pub database_url: String,
    /// Whether `PUT /faults` works. Default: no.
    pub allow_faults: bool,
    /// How late `tok_slow` is answered. Default 3 s: longer than a caller's attempt, shorter than its patience.
    pub slow_reply: Duration,
    /// The clock of the ledger's times and of the life of keys.
    pub clock: Arc<dyn Clock>,
    /// What decides about faults that are rates.
    pub rng: Arc<dyn Rng>,
}

impl Options {
    /// The defaults over the database at `database_url`.
    #[must_use]
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            database_url: database_url.into(),
            allow_faults: false,
            slow_reply: Duration::from_secs(3),
            clock: Arc::new(TokioClock),
            rng: Arc::new(FastRng::from_entropy()),
        }
    }
}

/// Why a provider does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger's database cannot be opened.
    #[error("the provider's ledger: {0}")]
    Store(#[from] leeward_store::Error),
    /// The server ended.
    #[error("the provider's server: {0}")]
    Serve(#[from] std::io::Error),
}

/// The provider. Clones share the ledger and the faults.
#[derive(Clone, Debug)]
pub struct Provider {
    desk: Desk,
}

impl Provider {
    /// Opens the ledger, and makes it if it is not there. `stop` ends [`Provider::serve`].
    ///
    /// # Errors
    /// [`Error::Store`] when the database cannot be opened.
    pub async fn open(options: Options, stop: Stop) -> Result<Self, Error> {
        let db = Db::open(&options.database_url, leeward_store::Options::default()).await?;
        db.migrate("provider", schema::MIGRATIONS).await?;
        let desk = Desk {
            db,
            clock: options.clock,
            switches: Switches::new(options.rng),
            faults_allowed: options.allow_faults,
            slow_reply: options.slow_reply,
            stop,
        };
        Ok(Self { desk })
    }

    /// The routes, with their OpenAPI document at `/openapi.json`.
    pub fn router(&self) -> Router {
        let (router, mut document) = api::routes().split_for_parts();
        document.info.title = "Payment provider (simulated)".into();
        let document = Arc::new(document);
        router
            .with_state(self.desk.clone())
            .route("/openapi.json", axum::routing::get(async move || axum::Json(Arc::clone(&document))))
            .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
    }

    /// Serves until the stop is requested, then lets requests in hand finish.
    ///
    /// # Errors
    /// [`Error::Serve`] when the listener fails.
    pub async fn serve(self, listener: TcpListener) -> Result<(), Error> {
        let stop = self.desk.stop.clone();
        // Without it each small answer waits for the acknowledgement of the one before.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY not set");
            }
        });
        let router = self.router();
        axum::serve(listener, router).with_graceful_shutdown(async move { stop.requested().await }).await?;
        self.desk.db.close().await;
        Ok(())
    }
}
