//! Accounts in the database: registration, lookups, roles, erasure. Every function works in its caller's transaction.

use leeward_store::{Error, ReadTx, Row, Tx, params};
use shop_contracts::UserId;

use crate::roles::Role;

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) id: UserId,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) created_at_ms: i64,
}

fn account(row: &Row) -> Result<Account, Error> {
    Ok(Account {
        id: row.get::<String>(0)?.into(),
        email: row.get(1)?,
        name: row.get(2)?,
        // An unknown role can only come from a newer binary, which the migrations refuse: it may do least.
        role: Role::parse(row.get(3)?).unwrap_or_default(),
        created_at_ms: row.get(4)?,
    })
}

/// Addresses are compared without regard to case or outer blanks.
pub(crate) fn normalise_email(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Inserts the account; `false` when the address is taken.
pub(crate) async fn insert(tx: &mut Tx, account: &Account, password: &str) -> Result<bool, Error> {
    let Account { id, email, name, role, created_at_ms } = account;
    let sql =
        "INSERT INTO users (id, email, password, name, role, created_at_ms) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (email) DO NOTHING";
    let (id, role) = (id.as_str(), role.as_str());
    Ok(tx.execute(sql, params![id, email, password, name, role, created_at_ms]).await? == 1)
}

/// The account `id`.
pub(crate) async fn by_id(tx: &mut ReadTx, id: &str) -> Result<Option<Account>, Error> {
    let sql = "SELECT id, email, name, role, created_at_ms FROM users WHERE id = $1";
    tx.query_opt(sql, params![id]).await?.as_ref().map(account).transpose()
}

/// The id and the password's hash of the account with the address `email`, already normalised.
pub(crate) async fn credentials(tx: &mut ReadTx, email: &str) -> Result<Option<(String, String)>, Error> {
    let row = tx.query_opt("SELECT id, password FROM users WHERE email = $1", params![email]).await?;
    row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Up to `rows` accounts after the id `after`, in the order of their ids, which is the order of registration.
pub(crate) async fn page(tx: &mut ReadTx, after: &str, rows: u32) -> Result<Vec<Account>, Error> {
    let sql = "SELECT id, email, name, role, created_at_ms FROM users WHERE id > $1 ORDER BY id LIMIT $2";
    tx.query(sql, params![after, rows]).await?.iter().map(account).collect()
}

/// Changes the name shown; `false` when there is no such account.
pub(crate) async fn rename(tx: &mut Tx, id: &str, name: &str) -> Result<bool, Error> {
    Ok(tx.execute("UPDATE users SET name = $2 WHERE id = $1", params![id, name]).await? == 1)
}

/// Changes the role.
pub(crate) async fn set_role(tx: &mut Tx, id: &str, role: Role) -> Result<(), Error> {
    tx.execute("UPDATE users SET role = $2 WHERE id = $1", params![id, role.as_str()]).await?;
    Ok(())
}

/// Whether this account is an administrator's and no other is.
pub(crate) async fn is_last_admin(tx: &mut ReadTx, account: &Account) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM users WHERE role = $1 AND id <> $2 LIMIT 1";
    let (admin, id) = (Role::Admin.as_str(), account.id.as_str());
    Ok(account.role == Role::Admin && tx.query_opt(sql, params![admin, id]).await?.is_none())
}

/// Removes everything that names the person.
pub(crate) async fn erase(tx: &mut Tx, id: &str) -> Result<(), Error> {
    tx.execute("DELETE FROM preferences WHERE user_id = $1", params![id]).await?;
    tx.execute("DELETE FROM users WHERE id = $1", params![id]).await?;
    Ok(())
}
