//! How each user wants to be reached, in the database.

use leeward_store::{Error, ReadTx, Tx, params};
use shop_contracts::users::{Channel, UserPreferencesChanged};

use crate::wire::Preferences;

/// The wishes of a user; e-mail in English until said otherwise.
pub(crate) async fn find(tx: &mut ReadTx, user_id: &str) -> Result<Preferences, Error> {
    let sql = "SELECT channels, language FROM preferences WHERE user_id = $1";
    let Some(row) = tx.query_opt(sql, params![user_id]).await? else {
        return Ok(Preferences { channels: vec![Channel::Email], language: "en".into() });
    };
    let channels = row.get::<&str>(0)?.split_terminator(',').filter_map(Channel::parse).collect();
    Ok(Preferences { channels, language: row.get(1)? })
}

/// Writes the wishes of a user; gives what the others are to hear.
pub(crate) async fn put(
    tx: &mut Tx,
    user_id: &str,
    wanted: Preferences,
) -> Result<UserPreferencesChanged, Error> {
    let Preferences { channels, language } = wanted;
    let names: Vec<&str> = channels.iter().map(|channel| channel.as_str()).collect();
    let sql = "INSERT INTO preferences (user_id, channels, language, version) VALUES ($1, $2, $3, 1)
        ON CONFLICT (user_id) DO UPDATE SET channels = excluded.channels, language = excluded.language,
        version = preferences.version + 1 RETURNING version";
    let row = tx.query_one(sql, params![user_id, names.join(","), language]).await?;
    Ok(UserPreferencesChanged { user_id: user_id.into(), channels, language, version: row.get(0)? })
}
