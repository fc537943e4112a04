//! The mailbox: the messages as they were handed to the carriers, and how each user wants to be reached.

use leeward_store::{Error, ReadTx, Row, Tx, params};
use serde::Serialize;
use shop_contracts::users::{Channel, UserPreferencesChanged};
use utoipa::ToSchema;

use crate::templates::Message;

/// A message as its receiver sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Entry {
    /// Its number; grows.
    pub(crate) seq: i64,
    /// Which template.
    pub(crate) kind: String,
    /// The order or return that it is about.
    pub(crate) reference: String,
    /// How it was sent.
    pub(crate) channel: Channel,
    /// Its subject line.
    pub(crate) subject: String,
    /// Its text.
    pub(crate) body: String,
    /// When, Unix milliseconds.
    pub(crate) at_ms: i64,
}

fn channel(row: &Row, column: usize) -> Result<Channel, Error> {
    let unknown = Error::Column { index: column, expected: "a channel", found: "another word" };
    Channel::parse(row.get(column)?).ok_or(unknown)
}

/// How a user wants to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) channels: Vec<Channel>,
    pub(crate) language: String,
}

/// The wish of a user; e-mail in English until said otherwise.
pub(crate) async fn wish(tx: &mut ReadTx, user_id: &str) -> Result<Wish, Error> {
    let sql = "SELECT channels, language FROM preferences WHERE user_id = $1";
    let Some(row) = tx.query_opt(sql, params![user_id]).await? else {
        return Ok(Wish { channels: vec![Channel::Email], language: "en".into() });
    };
    let channels = row.get::<&str>(0)?.split_terminator(',').filter_map(Channel::parse).collect();
    Ok(Wish { channels, language: row.get(1)? })
}

/// Remembers how a user wants to be reached, unless a later wish is known.
pub(crate) async fn prefer(tx: &mut Tx, wish: &UserPreferencesChanged) -> Result<(), Error> {
    let channels: Vec<&str> = wish.channels.iter().map(|channel| channel.as_str()).collect();
    tx.execute(
        "INSERT INTO preferences (user_id, channels, language, version) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id) DO UPDATE SET channels = excluded.channels, language = excluded.language,
         version = excluded.version WHERE excluded.version > preferences.version",
        params![wish.user_id.as_str(), channels.join(","), wish.language, wish.version],
    )
    .await?;
    Ok(())
}

/// Whom a message goes to, and what it is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address<'a> {
    pub(crate) user_id: &'a str,
    pub(crate) event_id: &'a str,
    pub(crate) reference: &'a str,
}

/// Puts a message into the mailbox.
pub(crate) async fn put(
    tx: &mut Tx,
    to: Address<'_>,
    by: Channel,
    message: &Message,
    at_ms: i64,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO mailbox (user_id, event_id, kind, reference, channel, subject, body, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        params![
            to.user_id,
            to.event_id,
            message.kind,
            to.reference,
            by.as_str(),
            message.subject,
            message.body,
            at_ms
        ],
    )
    .await?;
    Ok(())
}

/// Removes everything that was kept of a user. What stays is a wish for silence that no later one overrides, since events
/// about the user may still be on their way.
pub(crate) async fn erase(tx: &mut Tx, user_id: &str) -> Result<(), Error> {
    tx.execute("DELETE FROM mailbox WHERE user_id = $1", params![user_id]).await?;
    tx.execute(
        "INSERT INTO preferences (user_id, channels, language, version) VALUES ($1, '', '', $2)
         ON CONFLICT (user_id) DO UPDATE SET channels = '', language = '', version = excluded.version",
        params![user_id, i64::MAX],
    )
    .await?;
    Ok(())
}

/// Up to `rows` messages of the user before the number `before`, newest first.
pub(crate) async fn page(tx: &mut ReadTx, user: &str, before: i64, rows: u32) -> Result<Vec<Entry>, Error> {
    let sql = "SELECT seq, kind, reference, channel, subject, body, at_ms FROM mailbox
        WHERE user_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";
    let found = tx.query(sql, params![user, before, rows]).await?;
    found
        .iter()
        .map(|row| {
            Ok(Entry {
                seq: row.get(0)?,
                kind: row.get(1)?,
                reference: row.get(2)?,
                channel: channel(row, 3)?,
                subject: row.get(4)?,
                body: row.get(5)?,
                at_ms: row.get(6)?,
            })
        })
        .collect()
}
