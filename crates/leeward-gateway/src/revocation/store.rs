//! The gateway's own file of revocations, and its being there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use leeward_events::bus;
use leeward_store::{Db, Migration, Options, ReadTx, Tx, params};
use parking_lot::Mutex;

use super::feed::Error;
use super::{Revocations, Revoked, Target};

/// Revocations written in one transaction when the file is made anew.
const RESTORED_AT_A_TIME: usize = 1_000;

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "revocations",
    sqlite: "CREATE TABLE gateway_revocations (
            kind TEXT NOT NULL, id TEXT NOT NULL, revoked_at_ms INTEGER NOT NULL, expires_at_ms INTEGER NOT NULL,
            PRIMARY KEY (kind, id)) STRICT, WITHOUT ROWID;
        CREATE TABLE gateway_position (
            name TEXT PRIMARY KEY, bus TEXT NOT NULL, position INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
    postgres: "CREATE TABLE gateway_revocations (
            kind TEXT NOT NULL, id TEXT NOT NULL, revoked_at_ms BIGINT NOT NULL, expires_at_ms BIGINT NOT NULL,
            PRIMARY KEY (kind, id));
        CREATE TABLE gateway_position (name TEXT PRIMARY KEY, bus TEXT NOT NULL, position BIGINT NOT NULL);",
}];

/// What tells a file from another one under the same name: device and inode.
type FileId = (u64, u64);

/// The file.
#[derive(Debug)]
pub(super) struct Store {
    url: String,
    open: Mutex<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    db: Db,
    /// Which file that is; `None` where that is not known, or it is closed.
    file: Option<FileId>,
}

impl Store {
    pub(super) async fn open(url: &str) -> Result<Self, Error> {
        let open = Self::opened(url).await?;
        Ok(Self { url: url.to_owned(), open: Mutex::new(open) })
    }

    async fn opened(url: &str) -> Result<Open, Error> {
        make_folder(url).map_err(|cause| Error::Folder { url: url.to_owned(), cause })?;
        let failed = |cause| Error::Store { url: url.to_owned(), cause };
        let db = Db::open(url, Options::default()).await.map_err(failed)?;
        db.migrate("gateway", MIGRATIONS).await.map_err(failed)?;
        Ok(Open { db, file: path(url).and_then(|path| file_id(&path)) })
    }

    fn db(&self) -> Db {
        self.open.lock().db.clone()
    }

    /// Whether the file under the name is the one that is written to: one that was taken away still takes what is written, and
    /// nobody finds it again.
    pub(super) async fn is_there(&self) -> bool {
        let known = self.open.lock().file;
        let Some(path) = path(&self.url) else { return true };
        let now = tokio::task::spawn_blocking(move || file_id(&path)).await.ok().flatten();
        known.is_some() && now == known
    }

    /// Makes the file anew, with what is in memory.
    pub(super) async fn make_anew(&self, set: &Revocations) -> Result<(), Error> {
        // One process a file holds as well for the two handles of this one.
        self.db().close().await;
        // Until it is open again it is not there, whatever comes back under its name.
        self.open.lock().file = None;
        let open = Self::opened(&self.url).await?;
        let failed = |cause| Error::Store { url: self.url.clone(), cause };
        for some in set.all().chunks(RESTORED_AT_A_TIME) {
            let some = some.to_vec();
            let restored = open.db.write(async move |tx: &mut Tx| keep(tx, &some).await).await;
            restored.map_err(failed)?;
        }
        *self.open.lock() = open;
        Ok(())
    }

    /// Puts into `set` what the file holds.
    pub(super) async fn load(&self, set: &Revocations, now_ms: i64) -> Result<(), leeward_store::Error> {
        let query = "SELECT kind, id, revoked_at_ms, expires_at_ms FROM gateway_revocations";
        let rows = self.db().read(async move |tx: &mut ReadTx| tx.query(query, params![]).await).await?;
        for row in rows {
            let (kind, id): (String, Arc<str>) = (row.get(0)?, row.get(1)?);
            let target = if kind == "user" { Target::User(id) } else { Target::Token(id) };
            set.add(&Revoked { target, revoked_at_ms: row.get(2)?, expires_at_ms: row.get(3)? }, now_ms);
        }
        Ok(())
    }

    /// Up to where the bus was read, and which bus.
    pub(super) async fn read_to(
        &self,
        group: &Arc<str>,
    ) -> Result<Option<(Arc<str>, bus::Position)>, leeward_store::Error> {
        let query = "SELECT bus, position FROM gateway_position WHERE name = $1";
        let group = Arc::clone(group);
        let row =
            self.db().read(async move |tx: &mut ReadTx| tx.query_opt(query, params![*group]).await).await?;
        row.map(|row| Ok((row.get(0)?, bus::Position::new(row.get(1)?)))).transpose()
    }

    /// Keeps revocations together with how far the bus has been read.
    pub(super) async fn keep(
        &self,
        revoked: Vec<Revoked>,
        group: &Arc<str>,
        bus: &Arc<str>,
        through: bus::Position,
    ) -> Result<(), leeward_store::Error> {
        let (group, bus, through) = (Arc::clone(group), Arc::clone(bus), through.get());
        let closure = async move |tx: &mut Tx| {
            keep(tx, &revoked).await?;
            tx.execute(
                "INSERT INTO gateway_position (name, bus, position) VALUES ($1, $2, $3)
                 ON CONFLICT (name) DO UPDATE SET bus = excluded.bus, position = excluded.position",
                params![*group, *bus, through],
            )
            .await
            .map(drop)
        };
        self.db().write(closure).await
    }

    /// Drops what no token needs any more.
    pub(super) async fn purge(&self, now_ms: i64) -> Result<(), leeward_store::Error> {
        let delete = "DELETE FROM gateway_revocations WHERE expires_at_ms <= $1";
        self.db().write(async move |tx: &mut Tx| tx.execute(delete, params![now_ms]).await.map(drop)).await
    }

    /// Opens the file again that was closed.
    pub(super) async fn reopen(&self) -> Result<(), Error> {
        let open = Self::opened(&self.url).await?;
        *self.open.lock() = open;
        Ok(())
    }

    pub(super) async fn close(&self) {
        self.db().close().await;
    }
}

async fn keep(tx: &mut Tx, revoked: &[Revoked]) -> Result<(), leeward_store::Error> {
    for one in revoked {
        let (kind, id) = match &one.target {
            Target::Token(id) => ("token", id),
            Target::User(id) => ("user", id),
        };
        tx.execute(
            "INSERT INTO gateway_revocations (kind, id, revoked_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (kind, id) DO UPDATE SET
               revoked_at_ms = CASE WHEN excluded.revoked_at_ms > gateway_revocations.revoked_at_ms
                   THEN excluded.revoked_at_ms ELSE gateway_revocations.revoked_at_ms END,
               expires_at_ms = CASE WHEN excluded.expires_at_ms > gateway_revocations.expires_at_ms
                   THEN excluded.expires_at_ms ELSE gateway_revocations.expires_at_ms END",
            params![kind, **id, one.revoked_at_ms, one.expires_at_ms],
        )
        .await?;
    }
    Ok(())
}

/// Where the file is; `None` where there is none.
fn path(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    (!path.starts_with(':')).then(|| PathBuf::from(path))
}

fn file_id(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

fn make_folder(url: &str) -> std::io::Result<()> {
    match path(url).as_deref().and_then(Path::parent) {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::create_dir_all(folder),
        _ => Ok(()),
    }
}
