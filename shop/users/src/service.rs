//! What the users service does, apart from HTTP: accounts here, logins in [`logins`].

mod logins;

use std::sync::Arc;

use leeward_events::Outbox;
use leeward_resilience::Clock;
use leeward_service::{Problem, code};
use leeward_store::{Db, ReadTx, Tx};
use leeward_telemetry::Correlation;
use shop_contracts::UserId;
use shop_contracts::problem as codes;
use shop_contracts::users::{UserErased, UserRegistered};

use crate::accounts::{self, Account};
use crate::keys::Keys;
use crate::passwords::{self, Passwords};
use crate::roles::Role;
use crate::start::SeedUser;
use crate::wire::{Preferences, Register};
use crate::{audit, failures, preferences};

/// The service's parts, shared by all handlers.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    pub(crate) db: Db,
    pub(crate) outbox: Outbox,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Keys,
    pub(crate) passwords: Passwords,
}

impl Users {
    /// Makes a customer's account.
    pub(crate) async fn register(&self, request: Register, cause: Correlation) -> Result<Account, Problem> {
        let Register { email, password, name } = request;
        let password = self.passwords.hash(password.into_exposed()).await?;
        let account = self.new_account(&email, &name, Role::Customer);
        let outbox = self.outbox.clone();
        let insert = async move |tx: &mut Tx| {
            if !add(tx, &outbox, &account, &password, &cause).await? {
                let detail = "there is an account with this address; log in instead";
                return Err(Problem::conflict(codes::ACCOUNT_EXISTS, detail));
            }
            Ok(account)
        };
        self.db.write(insert).await
    }

    /// Makes the first accounts where there are none, all or none of them.
    pub(crate) async fn seed(&self, first: Vec<SeedUser>, cause: Correlation) -> Result<(), Problem> {
        if !self.db.read(async |tx: &mut ReadTx| accounts::page(tx, "", 1).await).await?.is_empty() {
            return Ok(());
        }
        let mut accounts = Vec::with_capacity(first.len());
        for SeedUser { email, password, name, role } in first {
            accounts.push((self.new_account(&email, &name, role), self.passwords.hash(password).await?));
        }
        let outbox = self.outbox.clone();
        let insert = async move |tx: &mut Tx| {
            for (account, password) in &accounts {
                add(tx, &outbox, account, password, &cause).await?;
            }
            Ok(())
        };
        self.db.write(insert).await
    }

    fn new_account(&self, email: &str, name: &str, role: Role) -> Account {
        Account {
            id: UserId::generate(),
            email: accounts::normalise_email(email),
            name: name.trim().to_owned(),
            role,
            created_at_ms: self.clock.unix_ms(),
        }
    }

    /// The account `id`.
    pub(crate) async fn account(&self, id: &str) -> Result<Account, Problem> {
        let id = id.to_owned();
        self.db.read(async move |tx: &mut ReadTx| known(tx, &id).await).await
    }

    /// Changes the name.
    pub(crate) async fn rename(&self, id: &str, name: String) -> Result<Account, Problem> {
        let (id, now_ms) = (id.to_owned(), self.clock.unix_ms());
        let rename = async move |tx: &mut Tx| {
            if !accounts::rename(tx, &id, name.trim()).await? {
                return Err(no_such_user());
            }
            audit::record(tx, now_ms, &id, "profile.changed", &id, "").await?;
            known(tx, &id).await
        };
        self.db.write(rename).await
    }

    /// Removes everything that names the person, and ends all sessions.
    pub(crate) async fn erase(&self, id: &str, cause: Correlation) -> Result<(), Problem> {
        let (id, now_ms, outbox) = (id.to_owned(), self.clock.unix_ms(), self.outbox.clone());
        let erase = async move |tx: &mut Tx| {
            let account = known(tx, &id).await?;
            refuse_last_admin(tx, &account).await?;
            failures::forget(tx, &failures::key(&account.email)).await?;
            accounts::erase(tx, &id).await?;
            logins::end_everywhere(tx, &outbox, &id, now_ms, &cause).await?;
            audit::record(tx, now_ms, &id, "user.erased", &id, "").await?;
            outbox.append(tx, &UserErased { user_id: account.id }, &cause).await?;
            Ok(())
        };
        self.db.write(erase).await
    }

    /// How the user wants to be reached.
    pub(crate) async fn preferences(&self, id: &str) -> Result<Preferences, Problem> {
        let id = id.to_owned();
        let find = async move |tx: &mut ReadTx| {
            known(tx, &id).await?;
            Ok(preferences::find(tx, &id).await?)
        };
        self.db.read(find).await
    }

    /// Changes how the user wants to be reached.
    pub(crate) async fn set_preferences(
        &self,
        id: &str,
        wanted: Preferences,
        cause: Correlation,
    ) -> Result<(), Problem> {
        let (id, outbox) = (id.to_owned(), self.outbox.clone());
        let put = async move |tx: &mut Tx| {
            // An assertion outlives its account by up to a minute: nothing may be written for it any more.
            known(tx, &id).await?;
            let event = preferences::put(tx, &id, wanted).await?;
            outbox.append(tx, &event, &cause).await?;
            Ok(())
        };
        self.db.write(put).await
    }

    /// Changes a user's role. Tokens that carry the old one are revoked.
    pub(crate) async fn set_role(
        &self,
        actor: &str,
        id: &str,
        role: Role,
        cause: Correlation,
    ) -> Result<(), Problem> {
        let (actor, id, outbox) = (actor.to_owned(), id.to_owned(), self.outbox.clone());
        let now_ms = self.clock.unix_ms();
        let set = async move |tx: &mut Tx| {
            let account = known(tx, &id).await?;
            if account.role == role {
                return Ok(());
            }
            refuse_last_admin(tx, &account).await?;
            accounts::set_role(tx, &id, role).await?;
            audit::record(tx, now_ms, &actor, "role.changed", &id, role.as_str()).await?;
            logins::end_everywhere(tx, &outbox, &id, now_ms, &cause).await
        };
        self.db.write(set).await
    }

    /// Up to `rows` accounts after the id `after`.
    pub(crate) async fn list(&self, after: String, rows: u32) -> Result<Vec<Account>, Problem> {
        Ok(self.db.read(async move |tx: &mut ReadTx| accounts::page(tx, &after, rows).await).await?)
    }

    /// Up to `rows` lines of the audit log before the line `before`, newest first.
    pub(crate) async fn audit(&self, before: i64, rows: u32) -> Result<Vec<audit::AuditLine>, Problem> {
        Ok(self.db.read(async move |tx: &mut ReadTx| audit::page(tx, before, rows).await).await?)
    }
}

/// Inserts an account, its line in the audit log and its event; `false` when the address is taken.
async fn add(
    tx: &mut Tx,
    outbox: &Outbox,
    account: &Account,
    password: &str,
    cause: &Correlation,
) -> Result<bool, Problem> {
    if !accounts::insert(tx, account, password).await? {
        return Ok(false);
    }
    let (id, at_ms) = (account.id.as_str(), account.created_at_ms);
    audit::record(tx, at_ms, id, "user.registered", id, account.role.as_str()).await?;
    outbox
        .append(tx, &UserRegistered { user_id: account.id.clone(), registered_at_ms: at_ms }, cause)
        .await?;
    Ok(true)
}

async fn known(tx: &mut ReadTx, id: &str) -> Result<Account, Problem> {
    accounts::by_id(tx, id).await?.ok_or_else(no_such_user)
}

/// A shop without an administrator could never have one again.
async fn refuse_last_admin(tx: &mut ReadTx, account: &Account) -> Result<(), Problem> {
    if accounts::is_last_admin(tx, account).await? {
        return Err(Problem::conflict(
            code::CONFLICT,
            "this is the last administrator; make another one first",
        ));
    }
    Ok(())
}

fn no_such_user() -> Problem {
    Problem::not_found("there is no such user")
}

impl From<passwords::Error> for Problem {
    fn from(error: passwords::Error) -> Self {
        match error {
            passwords::Error::Busy { retry_after } => {
                Self::unavailable("too many logins at once").retry_after(retry_after)
            }
            passwords::Error::Hash(_) => Self::internal(&error),
        }
    }
}

impl From<crate::tokens::Error> for Problem {
    fn from(error: crate::tokens::Error) -> Self {
        Self::internal(&error)
    }
}
