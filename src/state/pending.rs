//! Pending work: changes that are still to be made on disk, and contents that are awaited or missing.

use std::collections::BTreeSet;

use rusqlite::OptionalExtension;
use rusqlite::types::ValueRef;

use super::codec::damaged;
use super::counts::Change;
use super::entries::{COLUMNS, COUNT, place};
use super::{EntryKey, EntryRow, Place, State, Transaction, name};
use crate::error::Result;
use crate::model::{Digest, Mtime};

/// The work that is to be done on disk for an entry. The entry's recorded place is where its file will be afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// The message is to be delivered once its contents come.
    Await,
    /// The message is to be delivered from the `tmp/` of its folder, where it lies under its final name.
    Deliver,
    /// The message was to lie under the name of this place in the `tmp/` of its folder, and is to be delivered
    /// elsewhere.
    DeliverFrom(Place),
    /// The file is to be renamed or moved from here.
    Move(Place),
    /// Somebody else has changed the file. The next scan decides again.
    Reconsider,
}

const AWAIT: i64 = 0;
const DELIVER: i64 = 1;
const MOVE: i64 = 2;
const RECONSIDER: i64 = 3;
const DELIVER_FROM: i64 = 4;

/// The entries of a message that are missing.
const MISSING_OF: &str = "SELECT e.key FROM missing m CROSS JOIN entry e ON e.key = m.entry
     WHERE m.digest = ? AND e.alive ORDER BY m.entry";

/// The messages that are missing, sorted. What is missing comes first, whatever else there is: `CROSS JOIN` keeps `SQLite`
/// from going through all entries for the sake of the order.
const WANTS: &str = "SELECT DISTINCT m.digest FROM missing m CROSS JOIN entry e ON e.key = m.entry WHERE e.alive
     ORDER BY m.digest LIMIT ? OFFSET ?";

impl State {
    /// The pending work for an entry.
    pub fn pending(&self, key: EntryKey) -> Result<Option<Pending>> {
        if self.awaited.borrow().contains(key) {
            return Ok(Some(Pending::Await));
        }
        let mut query =
            self.conn.prepare_cached("SELECT kind, from_folder, from_sub, from_name FROM pending WHERE entry = ?")?;
        let mut rows = query.query([key.0])?;
        rows.next()?.map(pending).transpose()
    }

    /// The next entries with pending work, in the order of their numbers.
    pub fn pending_batch(&self, after: Option<EntryKey>, limit: u32) -> Result<Vec<(EntryRow, Pending)>> {
        let mut query = self.conn.prepare_cached(&format!(
            "SELECT {COLUMNS}, kind, from_folder, from_sub, from_name FROM pending p LEFT JOIN entry e ON e.key = p.entry
             WHERE entry > ? ORDER BY entry LIMIT ?",
        ))?;
        let mut rows = query.query((after.map_or(0, |key| key.0), limit))?;
        let mut batch = Vec::new();
        while let Some(sql) = rows.next()? {
            if sql.get_ref(0)? == ValueRef::Null {
                return Err(damaged("a pending entry's number"));
            }
            batch.push((self.row(sql)?, pending_from(sql.get(COUNT)?, place(sql, COUNT + 1)?)?));
        }
        Ok(batch)
    }

    /// The entries whose messages were about to be delivered, and whose files were gone from `tmp/` and not in their places: an
    /// interrupted command may have delivered them, and somebody has moved or removed them since. They are missing.
    pub fn mislaid(&self) -> Result<BTreeSet<EntryKey>> {
        let bytes: Vec<u8> = self.meta(name::MISLAID)?.unwrap_or_default();
        let (keys, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(damaged("the numbers of mislaid entries"));
        }
        Ok(keys.iter().map(|key| EntryKey(i64::from_le_bytes(*key))).collect())
    }

    /// The number of entries and files with pending work.
    pub fn count_pending(&self) -> Result<u64> {
        let mut query = self.conn.prepare_cached(
            "SELECT (SELECT COUNT(*) FROM pending) + (SELECT COUNT(*) FROM discard) + (SELECT COUNT(*) FROM missing)",
        )?;
        Ok(query.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// The entries that await this message's contents: number, place, delivery date, and the size that the records
    /// tell.
    pub fn awaiting(&self, digest: &Digest) -> Result<Vec<(EntryKey, Place, Mtime, u64)>> {
        let mut query = self.conn.prepare_cached(
            "SELECT e.key, e.at_folder, e.at_sub, e.at_name, e.mtime, e.size, p.kind
             FROM entry e LEFT JOIN pending p ON p.entry = e.key WHERE e.digest = ?",
        )?;
        let mut rows = query.query([digest.0])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let is_awaited = self.awaited.borrow().contains(EntryKey(row.get(0)?));
            if !is_awaited && row.get::<_, Option<i64>>(6)? != Some(AWAIT) {
                continue;
            }
            let at = place(row, 1)?.ok_or_else(|| damaged("the place of a delivery"))?;
            found.push((EntryKey(row.get(0)?), at, Mtime(row.get(4)?), row.get::<_, i64>(5)?.cast_unsigned()));
        }
        Ok(found)
    }

    /// The next entries that await their contents.
    pub fn awaiting_batch(&self, after: Option<EntryKey>, limit: usize) -> Result<Vec<EntryRow>> {
        let mut query = self
            .conn
            .prepare_cached("SELECT entry FROM pending WHERE kind = 0 AND entry > ? ORDER BY entry LIMIT ?")?;
        let from = (after.map_or(0, |key| key.0), i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.query_map(from, |row| Ok(EntryKey(row.get(0)?)))?;
        let mut keys = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        keys.extend(self.awaited.borrow().after(after).take(limit));
        keys.sort_unstable();
        keys.truncate(limit);
        keys.into_iter().map(|key| self.entry(key)?.ok_or_else(|| damaged("a pending entry's number"))).collect()
    }

    /// The entries of this message whose contents are nowhere on this machine.
    pub fn missing_of(&self, digest: &Digest) -> Result<Vec<EntryRow>> {
        let mut query = self.conn.prepare_cached(MISSING_OF)?;
        let keys = query.query_map([digest.0], |row| Ok(EntryKey(row.get(0)?)))?;
        keys.map(|key| self.entry(key?)?.ok_or_else(|| damaged("a missing entry's number"))).collect()
    }

    /// Entries that are alive and whose contents are nowhere on this machine, in the order of their numbers.
    pub fn missing_batch(&self, after: Option<EntryKey>, limit: u32) -> Result<Vec<EntryRow>> {
        let mut query = self.conn.prepare_cached(
            "SELECT m.entry FROM missing m CROSS JOIN entry e ON e.key = m.entry WHERE e.alive AND m.entry > ? ORDER BY m.entry LIMIT ?",
        )?;
        let keys = query.query_map((after.map_or(0, |key| key.0), limit), |row| Ok(EntryKey(row.get(0)?)))?;
        keys.map(|key| self.entry(key?)?.ok_or_else(|| damaged("a missing entry's number"))).collect()
    }

    /// How large all messages are together whose contents are nowhere on this machine, by what their entries tell, if each takes
    /// blocks of so many bytes.
    pub fn missing_bytes(&self, block: u64) -> Result<u64> {
        let mut query = self.conn.prepare_cached(
            "SELECT COALESCE(SUM((e.size + ?1 - 1) / ?1 * ?1), 0) FROM missing m CROSS JOIN entry e ON e.key = m.entry WHERE e.alive",
        )?;
        Ok(query.query_row([block.max(1).cast_signed()], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// How many entries are alive and lack their contents.
    pub fn count_missing(&self) -> Result<u64> {
        let mut query = self
            .conn
            .prepare_cached("SELECT COUNT(*) FROM missing m CROSS JOIN entry e ON e.key = m.entry WHERE e.alive")?;
        Ok(query.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// How many messages are missing.
    pub fn count_missing_digests(&self) -> Result<u64> {
        let mut query = self.conn.prepare_cached(
            "SELECT COUNT(DISTINCT m.digest) FROM missing m CROSS JOIN entry e ON e.key = m.entry WHERE e.alive",
        )?;
        Ok(query.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// The messages that are missing, in ascending order, without the first `skip`, at most `limit` of them.
    pub fn missing_digests_after(&self, skip: u64, limit: u64) -> Result<Vec<Digest>> {
        self.digests(WANTS, [limit.cast_signed(), skip.cast_signed()])
    }

    /// The messages that are missing, sorted, at most `limit` of them.
    pub fn missing_digests(&self, limit: u32) -> Result<Vec<Digest>> {
        self.digests(WANTS, (limit, 0))
    }
}

impl Transaction<'_> {
    /// Records the pending work for an entry, in place of its earlier one.
    pub fn set_pending(&self, key: EntryKey, pending: &Pending) -> Result<()> {
        self.awaited.borrow_mut().remove(key);
        let (kind, from) = match pending {
            Pending::Await => (AWAIT, None),
            Pending::Deliver => (DELIVER, None),
            Pending::Move(from) => (MOVE, Some(from)),
            Pending::Reconsider => (RECONSIDER, None),
            Pending::DeliverFrom(from) => (DELIVER_FROM, Some(from)),
        };
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO pending (entry, kind, from_folder, from_sub, from_name) VALUES (?, ?, ?, ?, ?)",
            )?
            .execute((
                key.0,
                kind,
                from.map(|from| from.folder.0),
                from.map(|from| from.sub as u8),
                from.map(|from| &from.name[..]),
            ))?;
        Ok(())
    }

    /// A new entry awaits its contents, which come in this transaction, or are missing from then on.
    pub fn await_contents(&self, key: EntryKey) {
        self.awaited.borrow_mut().add(key);
    }

    /// Records what is still awaited with the rest.
    pub(super) fn store_awaited(&self) -> Result<()> {
        let awaited = self.awaited.take();
        awaited.after(None).try_for_each(|key| self.set_pending(key, &Pending::Await))
    }

    /// Records that an entry has no pending work any more.
    pub fn clear_pending(&self, key: EntryKey) -> Result<()> {
        if self.awaited.borrow_mut().remove(key) {
            return Ok(());
        }
        self.conn.prepare_cached("DELETE FROM pending WHERE entry = ?")?.execute([key.0])?;
        Ok(())
    }

    /// Records that an entry is alive and its contents are nowhere on this machine.
    pub fn add_missing(&self, key: EntryKey) -> Result<()> {
        let added = self
            .conn
            .prepare_cached(
                "INSERT OR IGNORE INTO missing (entry, digest) SELECT key, digest FROM entry WHERE key = ?",
            )?
            .execute([key.0])?;
        if added > 0 { self.count_missing_change(key, Change::Goes) } else { Ok(()) }
    }

    /// Records that these entries, too, were about to be delivered from `tmp/`, and their files are neither there nor in their places.
    pub fn add_mislaid(&self, keys: &[EntryKey]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut all = self.mislaid()?;
        all.extend(keys);
        let bytes: Vec<u8> = all.iter().flat_map(|key| key.0.to_le_bytes()).collect();
        self.set_meta(name::MISLAID, bytes)
    }

    /// Records that all files were looked at since: what was mislaid and not found again is missing.
    pub fn forget_mislaid(&self) -> Result<()> {
        self.clear_meta(name::MISLAID)
    }

    /// Records that an entry's contents were found, or are no longer needed. Returns whether it was missing.
    pub fn remove_missing(&self, key: EntryKey) -> Result<bool> {
        let was_missing = self.conn.prepare_cached("DELETE FROM missing WHERE entry = ?")?.execute([key.0])? > 0;
        if was_missing {
            self.count_missing_change(key, Change::Comes)?;
        }
        Ok(was_missing)
    }

    /// Counts an entry that is missing from here on, or not any more.
    fn count_missing_change(&self, key: EntryKey, change: Change) -> Result<()> {
        let mut query = self.conn.prepare_cached("SELECT digest, size FROM entry WHERE key = ? AND alive")?;
        let living = query.query_row([key.0], |row| Ok((Digest(row.get(0)?), row.get::<_, i64>(1)?.cast_unsigned())));
        living.optional()?.map_or(Ok(()), |(digest, size)| self.count_here(change, &digest, size))
    }
}

fn pending(row: &rusqlite::Row<'_>) -> Result<Pending> {
    pending_from(row.get(0)?, place(row, 1)?)
}

fn pending_from(kind: i64, from: Option<Place>) -> Result<Pending> {
    match (kind, from) {
        (AWAIT, _) => Ok(Pending::Await),
        (DELIVER, _) => Ok(Pending::Deliver),
        (MOVE, Some(from)) => Ok(Pending::Move(from)),
        (RECONSIDER, _) => Ok(Pending::Reconsider),
        (DELIVER_FROM, Some(from)) => Ok(Pending::DeliverFrom(from)),
        _ => Err(damaged("a pending entry")),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::maildir::Sub;
    use crate::model::{Clock, Entry, EntryId, FlagSet, FolderName, Incarnation, Origin, Stamp};
    use crate::state::testing::fresh;

    const MISSING: u64 = 7;

    /// A state with this many messages, of which the first [`MISSING`] are missing.
    fn holding(dir: &tempfile::TempDir, messages: u64) -> State {
        let state = fresh(dir);
        let tx = state.begin().unwrap();
        for n in 0..messages {
            let stamp = Stamp { clock: Clock::from_bits(n + 1).unwrap(), incarnation: Incarnation(1) };
            let inbox = FolderName::inbox();
            let entry = Entry::delivered(None, Origin::Delivery, stamp, inbox.clone(), &FlagSet::new(), 1, Mtime(1));
            let id = EntryId { digest: Digest::of(&n.to_be_bytes()), birth: inbox, ordinal: 0 };
            let key = tx.insert_entry(&id, &entry, None).unwrap();
            if n < MISSING {
                tx.add_missing(key).unwrap();
            }
        }
        tx.commit().unwrap();
        state
    }

    #[test]
    fn the_list_of_wants_costs_what_is_missing_and_not_what_is_there() {
        let steps = [1_000, 20_000].map(|messages| {
            let dir = tempfile::tempdir().unwrap();
            let state = holding(&dir, messages);
            let wants = state.missing_digests_after(0, 100).unwrap();
            let mut expected: Vec<_> = (0..MISSING).map(|n| Digest::of(&n.to_be_bytes())).collect();
            expected.sort();
            assert_eq!(wants, expected, "all of them, sorted");
            assert_eq!(state.missing_digests(2).unwrap(), expected[..2]);
            state.conn.prepare_cached(WANTS).unwrap().get_status(StatementStatus::VmStep)
        });
        assert_eq!(steps[0], steps[1]);
        assert!(steps[0] > 0);
    }

    #[test]
    fn what_is_awaited_becomes_a_row_only_if_its_contents_have_not_come_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let rows = || state.conn.query_row("SELECT COUNT(*) FROM pending", [], |row| row.get::<_, i64>(0)).unwrap();
        let tx = state.begin().unwrap();
        let (inbox, stamp) =
            (FolderName::inbox(), Stamp { clock: Clock::from_bits(1).unwrap(), incarnation: Incarnation(1) });
        let folder = tx.folder(&inbox).unwrap();
        let digest = |n: u8| Digest::of(&[n]);
        let keys = [0_u8, 1, 2].map(|n| {
            let entry = Entry::delivered(None, Origin::Delivery, stamp, inbox.clone(), &FlagSet::new(), 1, Mtime(1));
            let at = Place { folder, sub: Sub::New, name: vec![b'a' + n] };
            let id = EntryId { digest: digest(n), birth: inbox.clone(), ordinal: 0 };
            tx.insert_entry(&id, &entry, Some(&at)).unwrap()
        });
        for key in keys {
            tx.await_contents(key);
        }
        let batch =
            |after, most| state.awaiting_batch(after, most).unwrap().iter().map(|row| row.key).collect::<Vec<_>>();
        assert_eq!((rows(), batch(None, 9), batch(None, 2)), (0, keys.to_vec(), keys[..2].to_vec()));
        assert_eq!((batch(Some(keys[0]), 9), state.awaiting(&digest(1)).unwrap()[0].0), (keys[1..].to_vec(), keys[1]));
        assert_eq!(state.pending(keys[2]).unwrap(), Some(Pending::Await));
        let mut undelivered = Vec::new();
        let note = |key, _, _: &[u8], is_one| {
            undelivered.push((key, is_one));
            Ok(())
        };
        state.files_in(folder, note).unwrap();
        assert_eq!(undelivered, keys.map(|key| (key, true)));

        tx.set_pending(keys[0], &Pending::Deliver).unwrap();
        tx.clear_pending(keys[1]).unwrap();
        assert!(state.awaiting(&digest(0)).unwrap().is_empty() && state.awaiting(&digest(1)).unwrap().is_empty());
        assert_eq!((rows(), batch(None, 9)), (1, keys[2..].to_vec()));
        tx.commit().unwrap();
        let pending = keys.map(|key| state.pending(key).unwrap());
        assert_eq!((rows(), pending), (2, [Some(Pending::Deliver), None, Some(Pending::Await)]));
        assert_eq!((batch(None, 9), state.awaiting(&digest(2)).unwrap()[0].0), (keys[2..].to_vec(), keys[2]));

        let undone = state.begin().unwrap();
        undone.await_contents(keys[1]);
        drop(undone);
        assert_eq!(state.pending(keys[1]).unwrap(), None);
    }

    #[test]
    fn what_is_missing_is_looked_up_by_a_plan_that_was_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let state = holding(&dir, 1_000);
        let found = (0..1_000_u64).map(|n| state.missing_of(&Digest::of(&n.to_be_bytes())).unwrap().len());
        assert_eq!(found.sum::<usize>(), usize::try_from(MISSING).unwrap());
        let query = state.conn.prepare_cached(MISSING_OF).unwrap();
        assert_eq!(query.get_status(StatementStatus::Run), 1_000);
        assert_eq!(query.get_status(StatementStatus::RePrepare), 0);
        let steps = query.get_status(StatementStatus::VmStep);
        assert!(steps < 1_000 * 20 + 1_000, "{steps} steps");
    }
}
