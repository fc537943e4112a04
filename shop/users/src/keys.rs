//! The ring of signing keys: one signs, those that signed lately stay published.

use std::sync::Arc;

use leeward_store::{Db, Tx, params};
use parking_lot::RwLock;
use uuid::Uuid;

use crate::audit;
use crate::tokens::{self, PublicKey, RETIRED_KEY_TTL, SigningKey};

/// Keys published at most. Rotating more often than this within [`RETIRED_KEY_TTL`] invalidates tokens of the oldest.
const PUBLISHED_MAX: u32 = 32;

/// Why the ring could not be read or turned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] leeward_store::Error),
    /// A key is not usable.
    #[error(transparent)]
    Key(#[from] tokens::Error),
}

/// What is in force: the signing key, and all whose tokens may still live, each with when it may be forgotten.
#[derive(Debug)]
struct Ring {
    signing: SigningKey,
    published: Vec<(PublicKey, Option<i64>)>,
}

/// The keys in force. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Keys(Arc<RwLock<Ring>>);

impl Keys {
    /// Reads the keys; makes the first one where there is none.
    pub(crate) async fn open(db: &Db, now_ms: i64) -> Result<Self, Error> {
        let ring = db
            .write(async move |tx: &mut Tx| {
                let sql = "SELECT kid FROM signing_keys WHERE retired_at_ms IS NULL LIMIT 1";
                if tx.query_opt(sql, params![]).await?.is_none() {
                    insert(tx, now_ms).await?;
                }
                read(tx, now_ms).await
            })
            .await?;
        Ok(Self(Arc::new(RwLock::new(ring))))
    }

    /// The key that signs now.
    pub(crate) fn signing(&self) -> SigningKey {
        self.0.read().signing.clone()
    }

    /// All keys whose tokens may still be alive.
    pub(crate) fn published(&self, now_ms: i64) -> Vec<PublicKey> {
        let ring = self.0.read();
        let alive =
            ring.published.iter().filter(|(_, until_ms)| until_ms.is_none_or(|until_ms| now_ms < until_ms));
        alive.map(|(key, _)| key.clone()).collect()
    }

    /// Retires the signing key and makes a new one; gives its id.
    pub(crate) async fn rotate(&self, db: &Db, actor: String, now_ms: i64) -> Result<String, Error> {
        let ring = db
            .write(async move |tx: &mut Tx| {
                let sql = "UPDATE signing_keys SET retired_at_ms = $1 WHERE retired_at_ms IS NULL";
                tx.execute(sql, params![now_ms]).await?;
                let kid = insert(tx, now_ms).await?;
                audit::record(tx, now_ms, &actor, "key.rotated", &kid, "").await?;
                read(tx, now_ms).await
            })
            .await?;
        let kid = ring.signing.kid().to_owned();
        *self.0.write() = ring;
        Ok(kid)
    }
}

async fn insert(tx: &mut Tx, now_ms: i64) -> Result<String, Error> {
    let kid = Uuid::now_v7().to_string();
    let document = SigningKey::generate()?;
    let sql = "INSERT INTO signing_keys (kid, pkcs8, created_at_ms) VALUES ($1, $2, $3)";
    tx.execute(sql, params![kid, document, now_ms]).await?;
    Ok(kid)
}

/// The ring as the database has it. Keys whose last token has ended are deleted on the way.
async fn read(tx: &mut Tx, now_ms: i64) -> Result<Ring, Error> {
    let kept_ms = i64::try_from(RETIRED_KEY_TTL.as_millis()).unwrap_or(i64::MAX);
    tx.execute("DELETE FROM signing_keys WHERE retired_at_ms < $1", params![now_ms - kept_ms]).await?;
    let sql = "SELECT kid, pkcs8, retired_at_ms FROM signing_keys
        ORDER BY CASE WHEN retired_at_ms IS NULL THEN 0 ELSE 1 END, created_at_ms DESC LIMIT $1";
    let (mut signing, mut published) = (None, Vec::new());
    for row in tx.query(sql, params![PUBLISHED_MAX]).await? {
        let key = SigningKey::from_pkcs8(row.get(0)?, row.get(1)?)?;
        let retired_at_ms: Option<i64> = row.get(2)?;
        published.push((key.public(), retired_at_ms.map(|retired_at_ms| retired_at_ms + kept_ms)));
        signing.get_or_insert(key);
    }
    let signing = signing.ok_or(leeward_store::Error::NotFound)?;
    Ok(Ring { signing, published })
}
