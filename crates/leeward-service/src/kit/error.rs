//! What can be wrong with a service before it serves.

use std::path::PathBuf;

use leeward_resilience::ConfigErrors;

use crate::api::DuplicateRoute;
use crate::identity;

/// Why a service cannot be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The data folder cannot be used.
    #[error("the data folder {path} cannot be used: {cause}; choose one that this user may write")]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The service's key cannot be used.
    #[error(transparent)]
    Key(#[from] identity::KeyError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] leeward_store::Error),
    /// The sagas cannot be used.
    #[error(transparent)]
    Saga(#[from] leeward_saga::Error),
    /// A saga is not well defined.
    #[error(transparent)]
    Definition(#[from] leeward_saga::definition::Error),
    /// A consumer is not well defined.
    #[error(transparent)]
    Consumer(#[from] leeward_events::consumer::BuildError),
    /// A projection is not well defined.
    #[error(transparent)]
    Projection(#[from] leeward_events::projection::BuildError),
    /// A projection of another form could not be built again.
    #[error(transparent)]
    Rebuild(#[from] leeward_events::projection::RebuildError),
    /// A consumer needs the database, which has not been opened.
    #[error("the consumer {group} needs the service's database: call `Kit::db` first")]
    NoDatabase {
        /// Which consumer.
        group: String,
    },
    /// Two routes answer to the same method and path.
    #[error(transparent)]
    Route(#[from] DuplicateRoute),
    /// A policy's options are out of range.
    #[error(transparent)]
    Options(#[from] ConfigErrors),
}
