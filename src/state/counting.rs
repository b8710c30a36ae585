//! Counting entries as they come, change and go.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;

use super::counts::{Change, Copies, Totals};
use super::{EntryKey, FolderKey, State, Transaction};
use crate::error::Result;
use crate::model::{Digest, Incarnation};

const ANY_ENTRY: &str = "SELECT 1 FROM entry WHERE digest = ? LIMIT 1";

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
        if !self.has_entries(digest)? {
            return Ok(0);
        }
        Ok(self.copies(digest)?.map_or(1, |copies| copies.entries))
    }

    /// How many living messages this incarnation has put into their folders that somebody else has in another one.
    pub fn count_also_elsewhere(&self, incarnation: Incarnation) -> Result<u64> {
        let mut query = self.conn.prepare_cached(
            "SELECT DISTINCT e.digest FROM change c JOIN entry e ON e.key = c.entry JOIN copies o ON o.digest = e.digest
             WHERE c.incarnation = ? AND e.alive",
        )?;
        let mut rows = query.query([incarnation.0.cast_signed()])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let (mut own, mut others) = (0, false);
            for row in self.entries_of(&Digest(row.get(0)?))?.iter().filter(|row| row.entry.alive()) {
                let is_own = row.entry.location.0.incarnation == incarnation;
                own += u64::from(is_own);
                others |= !is_own;
            }
            count += if others { own } else { 0 };
        }
        Ok(count)
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

    /// Whether there is any entry of a message. A message that comes is asked about several times until it has one: if
    /// there was none, it isn't looked for again.
    pub(super) fn has_entries(&self, digest: &Digest) -> Result<bool> {
        if self.without_entry.borrow().has(digest) {
            return Ok(false);
        }
        let mut query = self.conn.prepare_cached(ANY_ENTRY)?;
        let has_entries = query.exists([digest.0])?;
        // Outside of a transaction somebody else may add one at any time.
        if !has_entries && !self.conn.is_autocommit() {
            self.without_entry.borrow_mut().note(digest);
        }
        Ok(has_entries)
    }

    /// Whether there is no entry at all, dead ones included.
    pub(super) fn is_without_entries(&self) -> Result<bool> {
        // The count alone may be wrong.
        Ok(self.count_all().0 == 0 && !self.conn.prepare_cached("SELECT 1 FROM entry LIMIT 1")?.exists([])?)
    }

    /// Whether an entry is alive and not missing, if there is one of this message.
    pub(super) fn is_one_here(&self, digest: &Digest) -> Result<Option<bool>> {
        if self.without_entry.borrow().has(digest) {
            return Ok(None);
        }
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

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::model::{Clock, Entry, EntryId, FlagSet, FolderName, Incarnation, Mtime, Origin, Stamp};
    use crate::state::testing::fresh;

    fn insert(tx: &Transaction<'_>, id: &EntryId) {
        let stamp = Stamp { clock: Clock::from_bits(1).unwrap(), incarnation: Incarnation(1) };
        let (origin, flags) = (Origin::Delivery, FlagSet::new());
        let entry = Entry::delivered(None, origin, stamp, id.birth.clone(), &flags, 1, Mtime(1));
        tx.insert_entry(id, &entry, None).unwrap();
    }

    #[test]
    fn a_message_that_comes_is_looked_for_once_and_not_at_all_where_there_were_none() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let runs = || state.conn.prepare_cached(ANY_ENTRY).unwrap().get_status(StatementStatus::Run);
        for (round, looked_for) in [(0_u8, 0), (1, 10)] {
            let tx = state.begin().unwrap();
            let another = Digest::of(format!("another {round}").as_bytes());
            insert(&tx, &state.free_ordinal(another, &FolderName::inbox()).unwrap().0);
            let before = runs();
            for n in 0..10_u8 {
                let digest = Digest::of(&[round, n]);
                assert_eq!(state.count_entries_of(&digest).unwrap(), 0);
                insert(&tx, &state.free_ordinal(digest, &FolderName::inbox()).unwrap().0);
                assert_eq!(state.count_entries_of(&digest).unwrap(), 1);
            }
            assert_eq!(runs() - before, looked_for + 10, "what is there is found, too");
            tx.commit().unwrap();
        }
    }

    #[test]
    fn what_was_looked_for_in_vain_is_found_once_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let digest = Digest::of(b"a message");
        let id = EntryId { digest, birth: FolderName::inbox(), ordinal: 0 };
        let found = || state.count_entries_of(&digest).unwrap();
        let tx = state.begin().unwrap();
        assert_eq!((found(), state.entry_by_id(&id).unwrap().is_some()), (0, false));
        insert(&tx, &id);
        assert_eq!((found(), state.entry_by_id(&id).unwrap().is_some()), (1, true));
        drop(tx);
        assert_eq!(found(), 0, "it was undone");
        let other = State::open(state.path()).unwrap();
        let tx = other.begin().unwrap();
        insert(&tx, &id);
        tx.commit().unwrap();
        assert_eq!(found(), 1, "somebody else has added it");
        let tx = state.begin().unwrap();
        assert_eq!(found(), 1);
        tx.delete_entry(&state.entry_by_id(&id).unwrap().unwrap()).unwrap();
        assert_eq!(found(), 0);
        tx.commit().unwrap();
        let tx = other.begin().unwrap();
        insert(&tx, &id);
        tx.commit().unwrap();
        assert_eq!(found(), 1, "it was added after this one's transaction");
    }
}
