//! Idempotency keys: the decision is pure, the record is written in the transaction of what it stands for.
//!
//! Look-up, work and record are one transaction, and those run one after the other: a second request with the same key
//! sees either nothing or the whole outcome. "In flight" therefore cannot be seen here. A request that is refused
//! before anything happened leaves no record: it may be mended and sent again with its key.

use leeward_store::{ReadTx, Tx, params};

use crate::Error;

/// How long a key stands for its request.
pub(crate) const LIFE_MS: i64 = 24 * 60 * 60 * 1000;

/// The longest key that is taken.
pub(crate) const KEY_BYTES_MAX: usize = 128;

/// Rows that one sweep deletes at most: it shares the writer with checkouts.
const SWEEP_MAX: i64 = 500;

/// Whose key, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) user_id: String,
    pub(crate) scope: &'static str,
    pub(crate) key: String,
}

/// What a key stood for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The request, word for word.
    pub(crate) request: String,
    /// The answer that it got.
    pub(crate) answer: String,
    pub(crate) expires_at_ms: i64,
}

/// What a key means for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It was not used, or its life is over.
    Fresh,
    /// It stands for this request, which got this answer.
    Repeat(String),
    /// It stands for another request.
    Reused,
}

/// What a key that stands for `known` means for `request`.
pub(crate) fn meaning(known: Option<Known>, request: &str, now_ms: i64) -> Meaning {
    match known {
        Some(known) if known.expires_at_ms <= now_ms => Meaning::Fresh,
        Some(known) if known.request == request => Meaning::Repeat(known.answer),
        Some(_) => Meaning::Reused,
        None => Meaning::Fresh,
    }
}

/// What `key` stands for.
pub(crate) async fn find(tx: &mut ReadTx, key: &Key) -> Result<Option<Known>, Error> {
    let row = tx
        .query_opt(
            "SELECT request, answer, expires_at_ms FROM idempotency WHERE user_id = $1 AND scope = $2 AND key = $3",
            params![key.user_id, key.scope, key.key],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Known { request: row.get(0)?, answer: row.get(1)?, expires_at_ms: row.get(2)? }))
}

/// Records what `key` stands for from now on.
pub(crate) async fn record(
    tx: &mut Tx,
    key: &Key,
    request: &str,
    answer: &str,
    now_ms: i64,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO idempotency (user_id, scope, key, request, answer, expires_at_ms) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (user_id, scope, key) DO UPDATE SET
             request = excluded.request, answer = excluded.answer, expires_at_ms = excluded.expires_at_ms",
        params![key.user_id, key.scope, key.key, request, answer, now_ms + LIFE_MS],
    )
    .await?;
    Ok(())
}

/// Deletes keys whose life is over; true when there may be more of them.
pub(crate) async fn sweep(tx: &mut Tx, now_ms: i64) -> Result<bool, Error> {
    let deleted = tx
        .execute(
            "DELETE FROM idempotency WHERE (user_id, scope, key) IN (
                 SELECT user_id, scope, key FROM idempotency WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2)",
            params![now_ms, SWEEP_MAX],
        )
        .await?;
    Ok(i64::try_from(deleted).is_ok_and(|deleted| deleted >= SWEEP_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_one_request_for_a_day() {
        let known = || Some(Known { request: "r".into(), answer: "a".into(), expires_at_ms: 100 });
        assert_eq!(meaning(None, "r", 0), Meaning::Fresh);
        assert_eq!(meaning(known(), "r", 99), Meaning::Repeat("a".into()));
        assert_eq!(meaning(known(), "other", 99), Meaning::Reused);
        assert_eq!(meaning(known(), "other", 100), Meaning::Fresh, "its life is over");
        assert_eq!(meaning(known(), "r", 100), Meaning::Fresh);
    }

    #[tokio::test]
    async fn keys_whose_life_is_over_are_swept_in_pieces() {
        let db = leeward_store::Db::open("sqlite::memory:", leeward_store::Options::default()).await.unwrap();
        db.migrate("service", crate::schema::MIGRATIONS).await.unwrap();
        let key = |key: String| Key { user_id: "u".into(), scope: "checkout", key };
        let left = db
            .write(async move |tx: &mut Tx| {
                for number in 0..SWEEP_MAX + 10 {
                    record(tx, &key(number.to_string()), "r", "a", 0).await?;
                }
                record(tx, &key("young".into()), "r", "a", 1).await?;
                assert!(!sweep(tx, LIFE_MS - 1).await?, "none is old enough");
                assert!(sweep(tx, LIFE_MS).await?, "there are more");
                assert!(!sweep(tx, LIFE_MS).await?);
                let young = find(tx, &key("young".into())).await?;
                let left = tx.query_one("SELECT COUNT(*) FROM idempotency", &[]).await?.get::<i64>(0)?;
                Ok::<_, Error>((young.is_some(), left))
            })
            .await
            .unwrap();
        assert_eq!(left, (true, 1));
        db.close().await;
    }
}
