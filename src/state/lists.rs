//! The lists that a scan, an import and an export keep while they run: temporary tables, so that they cost no memory
//! however long they get.

use std::collections::{BTreeMap, BTreeSet};
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

/// The folder and the size of each file that an entry after a number has.
const CAME_SINCE: &str = "SELECT at_folder, size FROM entry NOT INDEXED WHERE key > ? AND at_folder IS NOT NULL";

/// The same of the entries up to a number which are on a list of those that have changed their places, as they are now.
const CHANGED_SINCE: &str = "SELECT e.at_folder, e.size FROM temp.departed d CROSS JOIN entry e ON e.key = d.entry
     WHERE d.entry <= ?1 AND d.since = ?2 AND e.at_folder IS NOT NULL";

/// The same, as they were before.
const LEFT_SINCE: &str =
    "SELECT folder, size FROM temp.departed WHERE entry <= ?1 AND since = ?2 AND folder IS NOT NULL";

/// The entries on a list that have left a folder: it, where they are now, and whether the command itself has done that.
const DEPARTED: &str = "SELECT folder, target, EXISTS (
         SELECT 1 FROM temp.departed own WHERE own.since = 0 AND own.entry = d.entry AND own.folder IS NOT NULL
             AND (own.target IS NULL OR own.target <> own.folder))
     FROM temp.departed d WHERE since = ? AND folder IS NOT NULL AND (target IS NULL OR target <> folder)";

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
        self.each_file(CAME_SINCE, [last.0], |folder, size| less(held.entry(folder).or_default(), size))?;
        let of = (last.0, since as i64);
        self.each_file(CHANGED_SINCE, of, |folder, size| less(held.entry(folder).or_default(), size))?;
        self.each_file(LEFT_SINCE, of, |folder, size| {
            let (files, bytes) = held.entry(folder).or_default();
            (*files, *bytes) = (files.wrapping_add(1), bytes.wrapping_add(size));
        })?;
        Ok(held)
    }

    /// What has left each folder.
    pub fn departed(&self, since: Since) -> Result<Vec<Departed>> {
        let mut query = self.conn.prepare_cached(DEPARTED)?;
        let mut rows = query.query([since as i64])?;
        let mut folders: BTreeMap<FolderKey, (Departed, BTreeSet<FolderKey>)> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let (folder, target) = (FolderKey(row.get(0)?), row.get::<_, Option<i64>>(1)?);
            let (removed, own) = (target.is_none(), row.get::<_, bool>(2)?);
            let none =
                || (Departed { folder, entries: 0, removed: 0, targets: 0, own: 0, own_removed: 0 }, BTreeSet::new());
            let (departed, targets) = folders.entry(folder).or_insert_with(none);
            departed.entries += 1;
            departed.removed += u64::from(removed);
            departed.own += u64::from(own);
            departed.own_removed += u64::from(own && removed);
            targets.extend(target.map(FolderKey));
        }
        let counted = folders.into_values();
        Ok(counted.map(|(departed, targets)| Departed { targets: targets.len() as u64, ..departed }).collect())
    }

    fn each_file(
        &self,
        query: &str,
        params: impl rusqlite::Params,
        mut each: impl FnMut(FolderKey, u64),
    ) -> Result<()> {
        let mut query = self.conn.prepare_cached(query)?;
        let mut rows = query.query(params)?;
        while let Some(row) = rows.next()? {
            each(FolderKey(row.get(0)?), row.get::<_, i64>(1)?.cast_unsigned());
        }
        Ok(())
    }
}

fn less(held: &mut (u64, u64), size: u64) {
    *held = (held.0.wrapping_sub(1), held.1.wrapping_sub(size));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Clock, Entry, EntryId, FlagSet, FolderName, Incarnation, Origin, Stamp};
    use crate::state::testing::{fresh, sorts_nothing};

    #[test]
    fn what_came_and_what_has_left_is_counted_by_folder_and_nothing_is_sorted_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let tx = state.begin().unwrap();
        tx.begin_departed().unwrap();
        let names: [FolderName; 3] = ["a", "b", "c"].map(|name| name.parse().unwrap());
        let [a, b, c] = names.each_ref().map(|name| tx.folder(name).unwrap());
        let add = |n: u8, folder: usize| {
            let stamp = Stamp { clock: Clock::from_bits(n.into()).unwrap(), incarnation: Incarnation(1) };
            let (name, size, flags) = (names[folder].clone(), 10 + u64::from(n), FlagSet::new());
            let entry = Entry::delivered(None, Origin::Delivery, stamp, name.clone(), &flags, size, Mtime(1));
            let id = EntryId { digest: Digest([n; 32]), birth: name, ordinal: 0 };
            let at = Place { folder: [a, b, c][folder], sub: Sub::Cur, name: vec![n] };
            tx.insert_entry(&id, &entry, Some(&at)).unwrap()
        };
        let before = [add(1, 0), add(2, 1), add(3, 0), add(4, 1)];
        let (last, held) = (state.last_entry().unwrap(), state.files_by_folder());
        let changes = |targets: &[(usize, FolderKey, Option<FolderKey>)]| {
            for &(entry, from, target) in targets {
                let row = state.entry(before[entry]).unwrap().unwrap();
                let at = target.zip(row.at).map(|(folder, at)| Place { folder, ..at });
                tx.set_place(row.key, at.as_ref()).unwrap();
                tx.add_departed(Since::Command, before[entry], from, target, row.entry.size).unwrap();
            }
        };
        changes(&[(0, a, Some(b)), (1, b, Some(c)), (2, a, Some(c)), (3, b, None)]);
        add(5, 2);
        assert_ne!(state.files_by_folder(), held);
        let was = state.held_before(Since::Command, last).unwrap();
        assert_eq!(was.into_iter().filter(|(_, files)| files.0 > 0).collect::<BTreeMap<_, _>>(), held);
        let departed =
            |folder, removed, targets| Departed { folder, entries: 2, removed, targets, own: 2, own_removed: removed };
        assert_eq!(state.departed(Since::Command).unwrap(), [departed(a, 0, 2), departed(b, 1, 1)]);
        for query in [CAME_SINCE, CHANGED_SINCE, LEFT_SINCE, DEPARTED] {
            sorts_nothing(&state.conn, query);
        }
    }
}
