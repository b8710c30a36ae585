//! The lists that a scan, an import and an export keep while they run: temporary tables, so that they cost no memory
//! however long they get.

use std::collections::BTreeMap;
use std::ops::Range;

use super::entries::{place, sub};
use super::{EntryKey, FolderKey, Place, State, Transaction};
use crate::error::Result;
use crate::maildir::Sub;
use crate::model::{Digest, Mtime};

/// A message that a bundle will hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The message.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// The delivery date.
    pub mtime: Mtime,
    /// Where its file was last seen; `None` if the export must look for it.
    pub at: Option<Place>,
}

/// The table of how messages begin.
const BEGINNINGS: &str = "CREATE TEMP TABLE IF NOT EXISTS beginning (digest BLOB PRIMARY KEY, bytes BLOB NOT NULL)";

/// What has left a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departed {
    /// The folder.
    pub folder: FolderKey,
    /// How many entries have left it.
    pub entries: u64,
    /// How many of them were removed.
    pub removed: u64,
    /// In how many folders the others are.
    pub targets: u64,
    /// How many of the entries the command itself has taken away, rather than one before it.
    pub own: u64,
    /// How many of these were removed.
    pub own_removed: u64,
}

/// From when on what imports do is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// From the beginning of the command.
    Command = 0,
    /// From the beginning of an earlier command that was refused.
    Refusal = 1,
}

impl State {
    /// Begins the list of files that a scan has found and not recognised by name.
    pub fn clear_found(&self) -> Result<()> {
        self.conn.execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS found (
                 key INTEGER PRIMARY KEY, folder INTEGER NOT NULL, sub INTEGER NOT NULL, name BLOB NOT NULL);
             DELETE FROM temp.found;",
        )?;
        Ok(())
    }

    /// Adds a file to the end of the list. Returns its number there.
    pub fn add_found(&self, folder: FolderKey, sub: Sub, name: &[u8]) -> Result<i64> {
        self.conn
            .prepare_cached("INSERT INTO temp.found (folder, sub, name) VALUES (?, ?, ?)")?
            .execute((folder.0, sub as u8, name))?;
        Ok(self.conn.last_insert_rowid())
    }

    /// Removes files from the list again: those with these numbers.
    pub fn remove_found(&self, numbers: Range<i64>) -> Result<()> {
        self.conn
            .prepare_cached("DELETE FROM temp.found WHERE key >= ? AND key < ?")?
            .execute((numbers.start, numbers.end))?;
        Ok(())
    }

    /// The length of the list.
    pub fn count_found(&self) -> Result<u64> {
        Ok(self.conn.query_row("SELECT COUNT(*) FROM temp.found", [], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// The next files on the list, after the one with the number `after`.
    pub fn found_batch(&self, after: i64, limit: u32) -> Result<Vec<(i64, Place)>> {
        self.places_after(
            "SELECT key, folder, sub, name FROM temp.found WHERE key > ? ORDER BY key LIMIT ?",
            after,
            limit,
        )
    }

    /// Places from a list, by a query for number, folder, subdirectory and name.
    pub(super) fn places_after(&self, query: &str, after: i64, limit: u32) -> Result<Vec<(i64, Place)>> {
        let mut query = self.conn.prepare_cached(query)?;
        let mut rows = query.query((after, limit))?;
        let mut batch = Vec::new();
        while let Some(row) = rows.next()? {
            let at = Place { folder: FolderKey(row.get(1)?), sub: sub(row.get(2)?)?, name: row.get(3)? };
            batch.push((row.get(0)?, at));
        }
        Ok(batch)
    }

    /// Begins the list of messages that a bundle will hold.
    pub fn clear_outgoing(&self) -> Result<()> {
        self.conn.execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS outgoing (
                 key INTEGER PRIMARY KEY, digest BLOB NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
                 folder INTEGER, sub INTEGER, name BLOB);
             DELETE FROM temp.outgoing;
             CREATE TEMP TABLE IF NOT EXISTS unsorted (
                 key INTEGER PRIMARY KEY, digest BLOB NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
                 folder INTEGER, sub INTEGER, name BLOB);
             DELETE FROM temp.unsorted;",
        )?;
        Ok(())
    }

    /// Adds a message whose place on the list is found by [`State::sort_outgoing`].
    pub fn add_unsorted(&self, message: &Outgoing) -> Result<()> {
        self.insert_outgoing(
            "INSERT INTO temp.unsorted (digest, size, mtime, folder, sub, name) VALUES (?, ?, ?, ?, ?, ?)",
            message,
        )
    }

    /// Puts the messages that are unsorted on the list, in the order in which they are best read, and best compressed:
    /// that of their files' folders, by name, and of their delivery dates. Those without a file come last.
    pub fn sort_outgoing(&self) -> Result<()> {
        self.conn.execute_batch(
            "INSERT INTO temp.outgoing (digest, size, mtime, folder, sub, name)
                 SELECT u.digest, u.size, u.mtime, u.folder, u.sub, u.name
                 FROM temp.unsorted u LEFT JOIN folder f ON f.key = u.folder
                 ORDER BY f.name IS NULL, f.name, u.mtime, u.digest;
             DELETE FROM temp.unsorted;",
        )?;
        Ok(())
    }

    /// Adds a message to the end of the list.
    pub fn add_outgoing(&self, message: &Outgoing) -> Result<()> {
        self.insert_outgoing(
            "INSERT INTO temp.outgoing (digest, size, mtime, folder, sub, name) VALUES (?, ?, ?, ?, ?, ?)",
            message,
        )
    }

    fn insert_outgoing(&self, into: &str, message: &Outgoing) -> Result<()> {
        let at = message.at.as_ref();
        self.conn.prepare_cached(into)?.execute((
            message.digest.0,
            message.size.cast_signed(),
            message.mtime.0,
            at.map(|at| at.folder.0),
            at.map(|at| at.sub as u8),
            at.map(|at| &at.name[..]),
        ))?;
        Ok(())
    }

    /// The next messages on the list, after the one with the number `after`.
    pub fn outgoing_batch(&self, after: i64, limit: u32) -> Result<Vec<(i64, Outgoing)>> {
        self.batch_of(
            "SELECT key, digest, size, mtime, folder, sub, name FROM temp.outgoing WHERE key > ? ORDER BY key LIMIT ?",
            (after, limit),
        )
    }

    /// Keeps how a message begins that a rehearsal has seen, as long as that lasts.
    pub fn see_beginning(&self, digest: &Digest, beginning: &[u8]) -> Result<()> {
        self.conn.execute_batch(BEGINNINGS)?;
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO temp.beginning (digest, bytes) VALUES (?, ?)")?
            .execute((digest.0, beginning))?;
        Ok(())
    }

    /// How a message begins that this rehearsal has seen.
    pub fn seen_beginning(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        self.conn.execute_batch(BEGINNINGS)?;
        let mut query = self.conn.prepare_cached("SELECT bytes FROM temp.beginning WHERE digest = ?")?;
        let mut rows = query.query([digest.0])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }

    /// Begins the list of messages whose files were not found when they were to be read.
    pub fn clear_late(&self) -> Result<()> {
        self.conn.execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS late (
                 key INTEGER PRIMARY KEY, digest BLOB NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
                 folder INTEGER, sub INTEGER, name BLOB);
             DELETE FROM temp.late;",
        )?;
        Ok(())
    }

    /// Adds a message to the end of this list.
    pub fn add_late(&self, message: &Outgoing) -> Result<()> {
        self.insert_outgoing(
            "INSERT INTO temp.late (digest, size, mtime, folder, sub, name) VALUES (?, ?, ?, ?, ?, ?)",
            message,
        )
    }

    /// The next messages on this list, after the one with the number `after`.
    pub fn late_batch(&self, after: i64, limit: u32) -> Result<Vec<(i64, Outgoing)>> {
        self.batch_of(
            "SELECT key, digest, size, mtime, folder, sub, name FROM temp.late WHERE key > ? ORDER BY key LIMIT ?",
            (after, limit),
        )
    }

    /// The number of the last message on this list, 0 if it is empty.
    pub fn last_late(&self) -> Result<i64> {
        Ok(self.conn.query_row("SELECT COALESCE(MAX(key), 0) FROM temp.late", [], |row| row.get(0))?)
    }

    fn batch_of(&self, query: &str, (after, limit): (i64, u32)) -> Result<Vec<(i64, Outgoing)>> {
        let mut query = self.conn.prepare_cached(query)?;
        let mut rows = query.query((after, limit))?;
        let mut batch = Vec::new();
        while let Some(row) = rows.next()? {
            let message = Outgoing {
                digest: Digest(row.get(1)?),
                size: row.get::<_, i64>(2)?.cast_unsigned(),
                mtime: Mtime(row.get(3)?),
                at: place(row, 4)?,
            };
            batch.push((row.get(0)?, message));
        }
        Ok(batch)
    }
}

impl State {
    /// The number of the newest entry: those that come later have greater ones, but for one that takes the place of an
    /// entry which was forgotten.
    pub fn last_entry(&self) -> Result<EntryKey> {
        let mut query = self.conn.prepare_cached("SELECT COALESCE(MAX(key), 0) FROM entry")?;
        Ok(EntryKey(query.query_row([], |row| row.get(0))?))
    }

    /// How many files each folder held, and of how many bytes, when `last` was the newest entry and the list of entries
    /// that have changed their places was empty. What came since then doesn't count, what has left does.
    pub fn held_before(&self, since: Since, last: EntryKey) -> Result<BTreeMap<FolderKey, (u64, u64)>> {
        let mut held = self.files_by_folder();
        // Only what has changed since is looked at: there may be much more.
        let of = (last.0, since as i64);
        self.each_sum(
            "SELECT at_folder, COUNT(*), SUM(size) FROM (
                 SELECT at_folder, size FROM entry NOT INDEXED WHERE key > ?1
                 UNION ALL SELECT e.at_folder, e.size FROM temp.departed d CROSS JOIN entry e ON e.key = d.entry
                     WHERE d.since = ?2 AND d.entry <= ?1)
             WHERE at_folder IS NOT NULL GROUP BY at_folder",
            of,
            |folder, (files, bytes)| {
                let held = held.entry(folder).or_default();
                *held = (held.0.wrapping_sub(files), held.1.wrapping_sub(bytes));
            },
        )?;
        self.each_sum(
            "SELECT folder, COUNT(*), SUM(size) FROM temp.departed
             WHERE since = ?2 AND entry <= ?1 AND folder IS NOT NULL GROUP BY folder",
            of,
            |folder, (files, bytes)| {
                let held = held.entry(folder).or_default();
                *held = (held.0.wrapping_add(files), held.1.wrapping_add(bytes));
            },
        )?;
        Ok(held)
    }

    /// What has left each folder.
    pub fn departed(&self, since: Since) -> Result<Vec<Departed>> {
        let mut query = self.conn.prepare_cached(
            "WITH own (entry) AS (SELECT entry FROM temp.departed
                 WHERE since = 0 AND folder IS NOT NULL AND (target IS NULL OR target <> folder))
             SELECT folder, COUNT(*), SUM(target IS NULL), COUNT(DISTINCT target), SUM(entry IN own),
                 SUM(target IS NULL AND entry IN own) FROM temp.departed
             WHERE since = ? AND folder IS NOT NULL AND (target IS NULL OR target <> folder) GROUP BY folder",
        )?;
        let rows = query.query_map([since as i64], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok(Departed {
                folder: FolderKey(row.get(0)?),
                entries: count(1)?,
                removed: count(2)?,
                targets: count(3)?,
                own: count(4)?,
                own_removed: count(5)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn each_sum(
        &self,
        query: &str,
        params: impl rusqlite::Params,
        mut each: impl FnMut(FolderKey, (u64, u64)),
    ) -> Result<()> {
        let mut query = self.conn.prepare_cached(query)?;
        let mut rows = query.query(params)?;
        while let Some(row) = rows.next()? {
            let sum = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            each(FolderKey(row.get(0)?), (sum(1)?, sum(2)?));
        }
        Ok(())
    }
}

/// The lists of entries that have changed their places, since the command began and since a refusal, with the folder in
/// which each was before: none if it had no file. They are undone with their transaction.
impl Transaction<'_> {
    /// Begins the lists, unless there are any.
    pub fn begin_departed(&self) -> Result<()> {
        self.conn.execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS departed (
                 since INTEGER NOT NULL, entry INTEGER NOT NULL, folder INTEGER, target INTEGER, size INTEGER NOT NULL,
                 PRIMARY KEY (since, entry)) WITHOUT ROWID",
        )?;
        Ok(())
    }

    /// Adds to a list an entry of this size that leaves this folder for another one, or for none since it was removed. One that
    /// is on the list already stays there with the folder in which it was before.
    pub fn add_departed(
        &self,
        since: Since,
        entry: EntryKey,
        folder: FolderKey,
        target: Option<FolderKey>,
        size: u64,
    ) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO temp.departed (since, entry, folder, target, size) VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT (since, entry) DO UPDATE SET target = excluded.target",
            )?
            .execute((since as i64, entry.0, folder.0, target.map(|target| target.0), size.cast_signed()))?;
        Ok(())
    }

    /// Adds to a list an entry that gets a file and had none, unless it is there already.
    pub fn add_arrived(&self, since: Since, entry: EntryKey) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT OR IGNORE INTO temp.departed (since, entry, folder, target, size)
                 VALUES (?, ?, NULL, NULL, 0)",
            )?
            .execute([since as i64, entry.0])?;
        Ok(())
    }
}
