//! Logins: from address and password to a pair of tokens, to the next pair, to the end of the session.

use std::time::Duration;

use http::StatusCode;
use leeward_events::Outbox;
use leeward_service::Problem;
use leeward_store::{ReadTx, Tx};
use leeward_telemetry::Correlation;
use shop_contracts::problem as codes;
use shop_contracts::users::TokenRevoked;
use uuid::Uuid;

use super::Users;
use crate::accounts::{self, Account};
use crate::passwords::NOBODY;
use crate::secret::Secret;
use crate::sessions::{self, REVOKED_MAX, Redeemed, Stored};
use crate::tokens::{
    ACCESS_TTL, AUDIENCE, Claims, ISSUER, LEEWAY, REFRESH_TTL, random_token, sha256, token_id,
};
use crate::wire::Tokens;
use crate::{audit, failures};

/// The random half of a pair of tokens, made before the transaction that decides whether it is handed out.
#[derive(Debug)]
struct Ticket {
    refresh_token: Secret,
    refresh_hash: Vec<u8>,
    access_id: String,
    issued_at_ms: i64,
}

impl Ticket {
    fn new(now_ms: i64) -> Result<Self, Problem> {
        let refresh_token = random_token()?;
        let refresh_hash = sha256(refresh_token.as_bytes());
        let access_id = token_id(now_ms)?;
        Ok(Self { refresh_token: refresh_token.into(), refresh_hash, access_id, issued_at_ms: now_ms })
    }

    fn stored<'a>(&'a self, session_id: &'a str, user_id: &'a str) -> Stored<'a> {
        Stored {
            refresh_hash: &self.refresh_hash,
            session_id,
            user_id,
            access_id: &self.access_id,
            access_ends_at_ms: self.issued_at_ms + millis(ACCESS_TTL),
            expires_at_ms: self.issued_at_ms + millis(REFRESH_TTL),
        }
    }
}

impl Users {
    /// Checks address and password; starts a session.
    ///
    /// The throttle is looked at twice: before the password, so that a pause costs nothing, and in the transaction that
    /// books the result, so that guesses sent side by side are not more than those sent one after the other. There a right
    /// password and a wrong one are answered alike while the pause lasts.
    pub(crate) async fn login(&self, email: &str, password: Secret) -> Result<Tokens, Problem> {
        let email = accounts::normalise_email(email);
        let key = failures::key(&email);
        let (known, throttle) = {
            let key = key.clone();
            let find = async move |tx: &mut ReadTx| -> Result<_, Problem> {
                Ok((accounts::credentials(tx, &email).await?, failures::find(tx, &key).await?))
            };
            self.db.read(find).await?
        };
        if let Some(wait) = throttle.wait(self.clock.unix_ms()) {
            return Err(throttled(wait));
        }
        let (user_id, stored) = known.map_or((None, NOBODY.to_owned()), |(id, stored)| (Some(id), stored));
        let matches = self.passwords.matches(password.into_exposed(), stored).await?;
        let user_id = user_id.filter(|_| matches);

        let now_ms = self.clock.unix_ms();
        let (ticket, session_id) = (Ticket::new(now_ms)?, Uuid::now_v7().to_string());
        let book = async move |tx: &mut Tx| -> Result<_, Problem> {
            let throttle = failures::find(tx, &key).await?;
            if let Some(wait) = throttle.wait(now_ms) {
                return Err(throttled(wait));
            }
            let account = match &user_id {
                Some(id) => accounts::by_id(tx, id).await?,
                None => None,
            };
            let Some(account) = account else {
                failures::add(tx, &key, throttle, now_ms).await?;
                return Ok(None);
            };
            failures::forget(tx, &key).await?;
            sessions::insert(tx, ticket.stored(&session_id, account.id.as_str()), now_ms).await?;
            Ok(Some((account, session_id, ticket)))
        };
        let (account, session_id, ticket) = self.db.write(book).await?.ok_or_else(credentials_wrong)?;
        self.tokens(&account, session_id, ticket)
    }

    /// Trades a refresh token for the next pair. One that was used before ends the session.
    pub(crate) async fn refresh(&self, token: &Secret, cause: Correlation) -> Result<Tokens, Problem> {
        let (hash, now_ms, outbox) = (hash(token), self.clock.unix_ms(), self.outbox.clone());
        let ticket = Ticket::new(now_ms)?;
        let trade = async move |tx: &mut Tx| -> Result<_, Problem> {
            match sessions::redeem(tx, &hash, now_ms).await? {
                Redeemed::Good { session_id, user_id } => {
                    let Some(account) = accounts::by_id(tx, &user_id).await? else { return Ok(None) };
                    sessions::insert(tx, ticket.stored(&session_id, &user_id), now_ms).await?;
                    Ok(Some((account, session_id, ticket)))
                }
                Redeemed::Reused { user_id, access_ids } => {
                    audit::record(tx, now_ms, "system", "session.reuse_detected", &user_id, "").await?;
                    revoke(tx, &outbox, &user_id, access_ids, now_ms, &cause).await?;
                    Ok(None)
                }
                Redeemed::Unknown => Ok(None),
            }
        };
        let (account, session_id, ticket) = self.db.write(trade).await?.ok_or_else(refresh_refused)?;
        self.tokens(&account, session_id, ticket)
    }

    /// Ends the session of a refresh token; its access tokens are revoked. An unknown token is no error: it is over.
    pub(crate) async fn logout(&self, token: &Secret, cause: Correlation) -> Result<(), Problem> {
        let (hash, now_ms, outbox) = (hash(token), self.clock.unix_ms(), self.outbox.clone());
        let end = async move |tx: &mut Tx| {
            let Some((session_id, user_id)) = sessions::find(tx, &hash).await? else { return Ok(()) };
            let access_ids = sessions::end(tx, &session_id, now_ms).await?;
            audit::record(tx, now_ms, &user_id, "session.ended", &user_id, "").await?;
            revoke(tx, &outbox, &user_id, access_ids, now_ms, &cause).await
        };
        self.db.write(end).await
    }

    /// The pair of tokens that the client gets: the access token is signed here.
    fn tokens(&self, account: &Account, session_id: String, ticket: Ticket) -> Result<Tokens, Problem> {
        let issued_at_s = ticket.issued_at_ms.div_euclid(1_000);
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: account.id.to_string(),
            role: account.role.as_str().into(),
            permissions: account.role.permissions().iter().map(|&permission| permission.into()).collect(),
            jti: ticket.access_id,
            sid: session_id,
            iat: issued_at_s,
            exp: issued_at_s + millis(ACCESS_TTL) / 1_000,
        };
        Ok(Tokens {
            access_token: self.keys.signing().sign(&claims)?.into(),
            token_type: "Bearer",
            expires_in: ACCESS_TTL.as_secs(),
            refresh_token: ticket.refresh_token,
        })
    }
}

/// Ends all sessions of a user and revokes every token issued so far.
pub(super) async fn end_everywhere(
    tx: &mut Tx,
    outbox: &Outbox,
    user_id: &str,
    now_ms: i64,
    cause: &Correlation,
) -> Result<(), Problem> {
    sessions::end_all(tx, user_id).await?;
    announce(tx, outbox, user_id, None, now_ms, cause).await
}

/// Tells everybody that these access tokens are no longer good; that none of the user's is where there are too many.
async fn revoke(
    tx: &mut Tx,
    outbox: &Outbox,
    user_id: &str,
    access_ids: Vec<String>,
    now_ms: i64,
    cause: &Correlation,
) -> Result<(), Problem> {
    if access_ids.len() > REVOKED_MAX {
        return announce(tx, outbox, user_id, None, now_ms, cause).await;
    }
    for token_id in access_ids {
        announce(tx, outbox, user_id, Some(token_id), now_ms, cause).await?;
    }
    Ok(())
}

async fn announce(
    tx: &mut Tx,
    outbox: &Outbox,
    user_id: &str,
    token_id: Option<String>,
    now_ms: i64,
    cause: &Correlation,
) -> Result<(), Problem> {
    let expires_at_ms = now_ms + millis(ACCESS_TTL + LEEWAY);
    let event = TokenRevoked { user_id: user_id.into(), token_id, revoked_at_ms: now_ms, expires_at_ms };
    outbox.append(tx, &event, cause).await?;
    Ok(())
}

fn hash(token: &Secret) -> Vec<u8> {
    sha256(token.expose().as_bytes())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn credentials_wrong() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, codes::CREDENTIALS_WRONG).detail("address or password is wrong")
}

fn refresh_refused() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, codes::REFRESH_REFUSED)
        .detail("log in again: the refresh token is unknown, used or expired")
}

fn throttled(wait: Duration) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, codes::LOGIN_THROTTLED)
        .detail("too many wrong passwords for this address; wait as Retry-After says")
        .retry_after(wait)
}
