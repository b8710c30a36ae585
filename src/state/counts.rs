//! How much there is: counts that are kept as entries come, change and go, so that nobody has to go through all entries
//! to know them. They follow from the entries: see [`super::derived`].

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension};

use super::codec::damaged;
use super::{EntryKey, FolderKey, State, Totals, Transaction};
use crate::error::Result;
use crate::model::Digest;

/// What a folder holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FolderCounts {
    /// The entries that are in it and alive.
    pub living: u64,
    /// The files that were last seen in it, or are about to be put there.
    pub files: u64,
    /// The sizes of their messages, added up: bytes.
    pub bytes: u64,
}

/// What there is of one message that has several entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Copies {
    /// Its entries, dead ones included.
    pub entries: u64,
    /// Those of them that are alive and not missing.
    pub here: u64,
}

/// All counts that are kept in memory: a mailbox has few folders. Sums wrap around, so that whatever was added can be
/// taken away again.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    folders: BTreeMap<FolderKey, FolderCounts>,
    /// All entries, dead ones included.
    entries: u64,
    /// The sizes of the living ones' messages, added up: bytes.
    living_bytes: u64,
    /// What is alive and not missing.
    here: Totals,
    /// What differs from what is stored.
    changed_folders: BTreeSet<FolderKey>,
    totals_changed: bool,
}

/// Whether something is added or taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Comes,
    Goes,
}

impl Change {
    fn apply(self, to: &mut u64, amount: u64) {
        *to = match self {
            Self::Comes => to.wrapping_add(amount),
            Self::Goes => to.wrapping_sub(amount),
        };
    }
}

impl Counts {
    /// Reads what is stored.
    pub fn load(conn: &Connection) -> Result<Self> {
        let mut counts = Self::default();
        let mut query = conn.prepare_cached("SELECT folder, living, files, bytes FROM folder_count")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            let held = FolderCounts { living: count(1)?, files: count(2)?, bytes: count(3)? };
            counts.folders.insert(FolderKey(row.get(0)?), held);
        }
        let mut query =
            conn.prepare_cached("SELECT entries, living_bytes, here, here_messages, here_bytes FROM total")?;
        let totals = query.query_row([], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            let here = Totals { entries: count(2)?, messages: count(3)?, bytes: count(4)? };
            Ok((count(0)?, count(1)?, here))
        });
        (counts.entries, counts.living_bytes, counts.here) = totals.optional()?.ok_or_else(|| damaged("the totals"))?;
        Ok(counts)
    }

    /// Writes what has changed.
    fn store(&mut self, conn: &Connection) -> Result<()> {
        for folder in std::mem::take(&mut self.changed_folders) {
            let held = self.folders.get(&folder).copied().unwrap_or_default();
            if held == FolderCounts::default() {
                self.folders.remove(&folder);
                conn.prepare_cached("DELETE FROM folder_count WHERE folder = ?")?.execute([folder.0])?;
            } else {
                let count = [held.living, held.files, held.bytes].map(u64::cast_signed);
                conn.prepare_cached(
                    "INSERT OR REPLACE INTO folder_count (folder, living, files, bytes) VALUES (?, ?, ?, ?)",
                )?
                .execute((folder.0, count[0], count[1], count[2]))?;
            }
        }
        if std::mem::take(&mut self.totals_changed) {
            let here = self.here;
            let totals = [self.entries, self.living_bytes, here.entries, here.messages, here.bytes];
            conn.prepare_cached(
                "UPDATE total SET entries = ?, living_bytes = ?, here = ?, here_messages = ?, here_bytes = ?",
            )?
            .execute(totals.map(u64::cast_signed))?;
        }
        Ok(())
    }

    fn folder(&mut self, folder: FolderKey) -> &mut FolderCounts {
        self.changed_folders.insert(folder);
        self.folders.entry(folder).or_default()
    }

    /// Entries of this size come or go.
    pub fn entries(&mut self, change: Change, many: u64) {
        self.totals_changed = true;
        change.apply(&mut self.entries, many);
    }

    /// An entry is alive in this folder from here on, or not any more.
    pub fn living(&mut self, change: Change, folder: FolderKey, size: u64) {
        self.totals_changed = true;
        change.apply(&mut self.living_bytes, size);
        change.apply(&mut self.folder(folder).living, 1);
    }

    /// An entry is alive and not missing from here on, or not any more.
    pub fn here(&mut self, change: Change, size: u64) {
        self.totals_changed = true;
        change.apply(&mut self.here.entries, 1);
        change.apply(&mut self.here.bytes, size);
    }

    /// A message is here from here on, or not any more.
    pub fn message(&mut self, change: Change) {
        self.totals_changed = true;
        change.apply(&mut self.here.messages, 1);
    }

    /// A file comes into this folder, or leaves it.
    pub fn file(&mut self, change: Change, folder: FolderKey, size: u64) {
        let held = self.folder(folder);
        change.apply(&mut held.files, 1);
        change.apply(&mut held.bytes, size);
    }

    /// How many of these numbers aren't what `right` has.
    pub fn differences(&self, right: &Self) -> u64 {
        let folders: BTreeSet<FolderKey> = self.folders.keys().chain(right.folders.keys()).copied().collect();
        let of = |counts: &Self, folder: &FolderKey| counts.folders.get(folder).copied().unwrap_or_default();
        let wrong = folders.iter().filter(|folder| of(self, folder) != of(right, folder)).count() as u64;
        let totals = |counts: &Self| (counts.entries, counts.living_bytes, counts.here);
        wrong + u64::from(totals(self) != totals(right))
    }

    /// Takes these numbers in place of those that are stored.
    pub fn replace(&mut self, right: Self) {
        let old = std::mem::replace(self, right);
        self.changed_folders = old.folders.into_keys().chain(self.folders.keys().copied()).collect();
        self.totals_changed = true;
    }
}

impl State {
    /// How many files were last seen in all folders.
    pub fn count_files(&self) -> u64 {
        self.counts.borrow().folders.values().map(|held| held.files).fold(0, u64::wrapping_add)
    }

    /// How many entries are alive, whether their contents are here or not.
    pub fn count_living(&self) -> u64 {
        self.counts.borrow().folders.values().map(|held| held.living).fold(0, u64::wrapping_add)
    }

    /// The totals over all living entries whose contents are not missing.
    pub fn totals(&self) -> Totals {
        self.counts.borrow().here
    }

    /// How many entries there are, dead ones included, and how many bytes the messages of those that are alive.
    pub(super) fn count_all(&self) -> (u64, u64) {
        let counts = self.counts.borrow();
        (counts.entries, counts.living_bytes)
    }

    /// How many entries are alive in each folder that holds any.
    pub(super) fn living_by_folder(&self) -> Vec<(FolderKey, u64)> {
        let counts = self.counts.borrow();
        counts.folders.iter().filter(|(_, held)| held.living > 0).map(|(&key, held)| (key, held.living)).collect()
    }

    /// How many files each folder holds, and of how many bytes.
    pub(super) fn files_by_folder(&self) -> BTreeMap<FolderKey, (u64, u64)> {
        self.counts.borrow().folders.iter().map(|(&key, held)| (key, (held.files, held.bytes))).collect()
    }

    /// How many entries of a message there are, dead ones included.
    pub fn count_entries_of(&self, digest: &Digest) -> Result<u64> {
        let mut query = self.conn.prepare_cached("SELECT 1 FROM entry WHERE digest = ? LIMIT 1")?;
        if !query.exists([digest.0])? {
            return Ok(0);
        }
        Ok(self.copies(digest)?.map_or(1, |copies| copies.entries))
    }

    /// What is recorded of a message that has several entries.
    pub(super) fn copies(&self, digest: &Digest) -> Result<Option<Copies>> {
        let mut query = self.conn.prepare_cached("SELECT entries, here FROM copies WHERE digest = ?")?;
        let copies = query.query_row([digest.0], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok(Copies { entries: count(0)?, here: count(1)? })
        });
        Ok(copies.optional()?)
    }

    /// Whether an entry is alive and not missing, if there is one of this message.
    pub(super) fn is_one_here(&self, digest: &Digest) -> Result<Option<bool>> {
        let mut query = self.conn.prepare_cached(
            "SELECT alive AND NOT EXISTS (SELECT 1 FROM missing WHERE entry = key) FROM entry WHERE digest = ? LIMIT 1",
        )?;
        Ok(query.query_row([digest.0], |row| row.get(0)).optional()?)
    }

    fn is_missing(&self, key: EntryKey) -> Result<bool> {
        Ok(self.conn.prepare_cached("SELECT 1 FROM missing WHERE entry = ?")?.exists([key.0])?)
    }
}

impl Transaction<'_> {
    /// Makes the counts durable with the rest.
    pub(super) fn store_counts(&self) -> Result<()> {
        self.counts.borrow_mut().store(&self.conn)
    }

    pub(super) fn set_copies(&self, digest: &Digest, copies: Copies) -> Result<()> {
        if copies.entries > 1 {
            self.conn
                .prepare_cached("INSERT OR REPLACE INTO copies (digest, entries, here) VALUES (?, ?, ?)")?
                .execute((digest.0, copies.entries.cast_signed(), copies.here.cast_signed()))?;
        } else {
            self.conn.prepare_cached("DELETE FROM copies WHERE digest = ?")?.execute([digest.0])?;
        }
        Ok(())
    }

    /// Counts an entry that comes. `another_is_here` tells of another entry of its message, as [`State::is_one_here`] did
    /// before this one came.
    pub(super) fn count_entry(
        &self,
        digest: &Digest,
        (folder, size): (FolderKey, u64),
        alive: bool,
        another_is_here: Option<bool>,
    ) -> Result<()> {
        self.counts.borrow_mut().entries(Change::Comes, 1);
        if let Some(is_here) = another_is_here {
            let copies = self.copies(digest)?.unwrap_or(Copies { entries: 1, here: is_here.into() });
            self.set_copies(digest, Copies { entries: copies.entries + 1, ..copies })?;
        }
        if !alive {
            return Ok(());
        }
        self.counts.borrow_mut().living(Change::Comes, folder, size);
        if another_is_here.is_some() {
            return self.count_here(Change::Comes, digest, size);
        }
        let mut counts = self.counts.borrow_mut();
        counts.here(Change::Comes, size);
        counts.message(Change::Comes);
        Ok(())
    }

    /// Counts an entry that was alive in one folder, with this size, and is in another one.
    pub(super) fn recount_entry(
        &self,
        key: EntryKey,
        digest: &Digest,
        before: Option<(FolderKey, u64)>,
        after: Option<(FolderKey, u64)>,
    ) -> Result<()> {
        if before == after {
            return Ok(());
        }
        for (change, at) in [(Change::Goes, before), (Change::Comes, after)] {
            if let Some((folder, size)) = at {
                self.counts.borrow_mut().living(change, folder, size);
            }
        }
        let size = |at: Option<(FolderKey, u64)>| at.map(|(_, size)| size);
        if size(before) != size(after) && !self.is_missing(key)? {
            for (change, size) in [(Change::Goes, size(before)), (Change::Comes, size(after))] {
                size.map_or(Ok(()), |size| self.count_here(change, digest, size))?;
            }
        }
        Ok(())
    }

    /// Counts an entry that goes, with its tombstone. It is dead and has no file already.
    pub(super) fn discount_entry(&self, digest: &Digest) -> Result<()> {
        self.counts.borrow_mut().entries(Change::Goes, 1);
        if let Some(copies) = self.copies(digest)? {
            self.set_copies(digest, Copies { entries: copies.entries.saturating_sub(1), ..copies })?;
        }
        Ok(())
    }

    /// Counts an entry of this size that is alive and not missing from here on, or not any more.
    pub(super) fn count_here(&self, change: Change, digest: &Digest, size: u64) -> Result<()> {
        self.counts.borrow_mut().here(change, size);
        let others = match self.copies(digest)? {
            None => 0,
            Some(mut copies) => {
                let before = copies.here;
                change.apply(&mut copies.here, 1);
                self.set_copies(digest, copies)?;
                before.min(copies.here)
            }
        };
        if others == 0 {
            self.counts.borrow_mut().message(change);
        }
        Ok(())
    }

    /// Counts a file that was in one folder and is in another one.
    pub(super) fn recount_file(&self, before: Option<FolderKey>, after: Option<FolderKey>, size: u64) {
        if before != after {
            let mut counts = self.counts.borrow_mut();
            for (change, folder) in [(Change::Goes, before), (Change::Comes, after)] {
                if let Some(folder) = folder {
                    counts.file(change, folder, size);
                }
            }
        }
    }
}
