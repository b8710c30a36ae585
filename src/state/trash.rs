//! The trash: what imports have removed, kept for a while.

use super::{Discard, State, damaged};
use crate::error::Result;
use crate::model::{Digest, EntryId, FolderName, Mtime};

/// The number of something in the trash, by which it is restored.
pub type TrashKey = i64;

/// A message in the trash.
#[derive(Clone, Debug)]
pub struct Trashed {
    /// Its number.
    pub key: TrashKey,
    /// The name of its file in the trash directory.
    pub file: String,
    /// The id of the entry that it was.
    pub id: EntryId,
    /// The folder in which it was.
    pub folder: FolderName,
    /// The flags that were on, separated by spaces.
    pub flags: String,
    /// Bytes.
    pub size: u64,
    /// The delivery date.
    pub mtime: Mtime,
    /// When it was removed, in milliseconds since 1970 UTC.
    pub removed: u64,
    /// By whom it was removed.
    pub reason: String,
}

const COLUMNS: &str = "key, file, digest, birth, ordinal, folder, flags, size, mtime, removed, reason";

impl State {
    /// Records a file that was moved to the trash.
    pub fn add_trash(&self, file: &str, discard: &Discard, folder: &FolderName, now: u64) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT OR IGNORE INTO trash (file, digest, birth, ordinal, folder, flags, size, mtime, removed, reason)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                file,
                discard.id.digest.0,
                discard.id.birth.as_str(),
                discard.id.ordinal,
                folder.as_str(),
                &discard.flags,
                discard.size.cast_signed(),
                discard.mtime.0,
                now.cast_signed(),
                &discard.reason,
            ))?;
        Ok(())
    }

    fn trash_where(&self, condition: &str, params: impl rusqlite::Params) -> Result<Vec<Trashed>> {
        let mut query = self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM trash {condition}"))?;
        let mut rows = query.query(params)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let digest = row.get_ref(2)?.as_bytes().ok().and_then(|bytes| bytes.try_into().ok());
            let name = |column| -> Result<FolderName> {
                let text = row.get_ref(column)?.as_str().ok().and_then(|name| name.parse().ok());
                text.ok_or_else(|| damaged("a folder name"))
            };
            found.push(Trashed {
                key: row.get(0)?,
                file: row.get(1)?,
                id: EntryId {
                    digest: Digest(digest.ok_or_else(|| damaged("a digest"))?),
                    birth: name(3)?,
                    ordinal: row.get(4)?,
                },
                folder: name(5)?,
                flags: row.get(6)?,
                size: row.get::<_, i64>(7)?.cast_unsigned(),
                mtime: Mtime(row.get(8)?),
                removed: row.get::<_, i64>(9)?.cast_unsigned(),
                reason: row.get(10)?,
            });
        }
        Ok(found)
    }

    /// The next messages in the trash after the one with the number `after`, in the order of their numbers.
    pub fn trash_batch(&self, after: TrashKey, limit: u32) -> Result<Vec<Trashed>> {
        self.trash_where("WHERE key > ? ORDER BY key LIMIT ?", (after, limit))
    }

    /// The message with this number.
    pub fn trashed(&self, key: TrashKey) -> Result<Option<Trashed>> {
        Ok(self.trash_where("WHERE key = ?", [key])?.pop())
    }

    /// A message in the trash with this digest.
    pub fn trashed_message(&self, digest: &Digest) -> Result<Option<Trashed>> {
        Ok(self.trash_where("WHERE digest = ? LIMIT 1", [digest.0])?.pop())
    }

    /// Forgets something that is no longer in the trash.
    pub fn remove_trash(&self, key: TrashKey) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM trash WHERE key = ?")?.execute([key])?;
        Ok(())
    }
}
