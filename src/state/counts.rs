//! How much there is: counts that are kept in memory and in the database, so that nobody has to go through all entries to
//! know them. They follow from the entries: see [`super::derived`].

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension};

use super::codec::damaged;
use super::folder_rows::FolderKey;
use crate::error::Result;

/// The totals over all living entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries that are alive.
    pub entries: u64,
    /// Different messages among them.
    pub messages: u64,
    /// The sizes of these entries' messages, added up: bytes.
    pub bytes: u64,
}

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
    pub folders: BTreeMap<FolderKey, FolderCounts>,
    /// All entries, dead ones included.
    pub entries: u64,
    /// The sizes of the living ones' messages, added up: bytes.
    pub living_bytes: u64,
    /// What is alive and not missing.
    pub here: Totals,
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
    pub fn apply(self, to: &mut u64, amount: u64) {
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
    pub fn store(&mut self, conn: &Connection) -> Result<()> {
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
