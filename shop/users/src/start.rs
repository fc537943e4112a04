//! How the service is put together.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

use leeward_service::{Kit, Service};

use crate::api::api;
use crate::keys::{self, Keys};
use crate::passwords::Passwords;
use crate::roles::Role;
use crate::schema::MIGRATIONS;
use crate::service::Users;

/// The service's name.
pub const NAME: &str = "users";

/// Why the service could not be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kit: its database, its routes.
    #[error(transparent)]
    Kit(#[from] leeward_service::BuildError),
    /// Its signing keys.
    #[error("signing keys: {0}")]
    Keys(String),
    /// Its first accounts.
    #[error("first accounts: {0}")]
    Seed(String),
}

/// An account that a new shop starts with.
#[derive(Clone)]
pub struct SeedUser {
    /// The address to log in with.
    pub email: String,
    /// The password.
    pub password: String,
    /// How to address the person.
    pub name: String,
    /// The role.
    pub role: Role,
}

impl std::fmt::Debug for SeedUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeedUser").field("role", &self.role).finish_non_exhaustive()
    }
}

/// Puts the service together. `first` are the accounts that an empty database starts with.
///
/// # Errors
/// When the database, the keys or the first accounts fail.
pub async fn build(kit: Kit, first: Vec<SeedUser>) -> Result<Service, StartError> {
    let db = kit.db(MIGRATIONS).await?;
    let keys = Keys::open(&db, kit.clock.unix_ms())
        .await
        .map_err(|error: keys::Error| StartError::Keys(error.to_string()))?;
    // Half of the cores at most: logins must not starve the requests of those who are logged in.
    let threads = available_parallelism().map_or(1, NonZeroUsize::get).div_ceil(2);
    let users = Users {
        db,
        outbox: kit.outbox.clone(),
        clock: Arc::clone(&kit.clock),
        keys,
        passwords: Passwords::new(NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN)),
    };
    users.seed(first, kit.correlation()).await.map_err(|problem| StartError::Seed(problem.to_string()))?;
    Ok(Service::builder(kit).api(api()).state(users).build()?)
}
