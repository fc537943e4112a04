//! Why the shop does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the shop does not start. Each says in one line what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such service.
    #[error(
        "there is no service `{0}`: take one of users, catalog, inventory, payments, shipping, notifications, orders, provider"
    )]
    UnknownService(String),
    /// A `NAME=URL` is not one.
    #[error(
        "`{given}` does not say where a service is: {why}; write for example inventory=http://127.0.0.1:4002"
    )]
    At {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: String,
    },
    /// The address is taken, or may not be used.
    #[error("cannot listen on {address}: {cause}; choose another port, or end the process that has it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// The bus's token cannot be read or written.
    #[error(
        "the bus token {path}: {cause}; give the owner's token in LEEWARD_BUS_TOKEN, or make the file readable"
    )]
    BusToken {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The bus cannot be opened.
    #[error("the bus: {0}")]
    Bus(#[from] leeward_events::bus::Error),
    /// A service's kit cannot be made.
    #[error(transparent)]
    Kit(#[from] leeward_service::BuildError),
    /// The provider does not start.
    #[error(transparent)]
    Provider(#[from] shop_provider::Error),
    /// A service cannot be put together.
    #[error("{service}: {cause}")]
    Service {
        /// Which one.
        service: &'static str,
        /// Why.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Wraps what `service` reports.
    pub(crate) fn of<E>(service: &'static str) -> impl FnOnce(E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        move |cause| Self::Service { service, cause: Box::new(cause) }
    }
}
