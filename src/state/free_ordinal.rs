//! Which ordinal the next copy of a message gets in its birth folder.

use super::{EntryRow, FolderKey, State};
use crate::error::Result;
use crate::model::{Digest, EntryId, FolderName};

const TAKEN: &str = "SELECT ordinal, alive FROM entry WHERE digest = ? AND birth = ? AND ordinal >= ? ORDER BY ordinal";

impl State {
    /// The id with the lowest ordinal that no living entry of this message and birth folder has, and the dead entry
    /// with that id if there is one.
    pub fn free_ordinal(&self, digest: Digest, birth: &FolderName) -> Result<(EntryId, Option<EntryRow>)> {
        let mut id = EntryId { digest, birth: birth.clone(), ordinal: 0 };
        let Some(key) = self.find_folder(birth) else { return Ok((id, None)) };
        if !self.has_entries(&digest)? {
            return Ok((id, None));
        }
        id.ordinal = self.first_not_taken(digest, key)?;
        // Whether an entry is alive is decided by its registers. What stands beside them only shortens the way.
        loop {
            match self.entry_by_id(&id)? {
                Some(row) if row.entry.alive() => id.ordinal += 1,
                row => {
                    self.ordinals.borrow_mut().remember(digest, key, id.ordinal);
                    return Ok((id, row));
                }
            }
        }
    }

    fn first_not_taken(&self, digest: Digest, birth: FolderKey) -> Result<u32> {
        let mut ordinal = self.ordinals.borrow().taken_below(digest, birth);
        let mut query = self.conn.prepare_cached(TAKEN)?;
        let mut rows = query.query((digest.0, birth.0, ordinal))?;
        while let Some(row) = rows.next()? {
            if row.get::<_, u32>(0)? != ordinal || !row.get::<_, bool>(1)? {
                break;
            }
            ordinal += 1;
        }
        Ok(ordinal)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::model::{Clock, Entry, FlagSet, Incarnation, Mtime, Origin, Stamp};
    use crate::state::testing::fresh;

    fn stamp(n: u64) -> Stamp {
        Stamp { clock: Clock::from_bits(n).unwrap(), incarnation: Incarnation(1) }
    }

    fn entry(n: u64) -> Entry {
        Entry::delivered(None, Origin::Delivery, stamp(n), FolderName::inbox(), &FlagSet::new(), 1, Mtime(1))
    }

    /// How many steps of the virtual machine the search for free ordinals has taken.
    fn steps(state: &State) -> i32 {
        state.conn.prepare_cached(TAKEN).unwrap().get_status(StatementStatus::VmStep)
    }

    #[test]
    fn each_further_copy_of_a_message_takes_as_many_steps_as_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let (digest, inbox) = (Digest::of(b"a message"), FolderName::inbox());
        let tx = state.begin().unwrap();
        let mut taken = Vec::new();
        for n in 1..=600_u64 {
            let before = steps(&state);
            let (id, past) = state.free_ordinal(digest, &inbox).unwrap();
            assert_eq!((u64::from(id.ordinal), past.is_none()), (n - 1, true));
            taken.push(steps(&state) - before);
            tx.insert_entry(&id, &entry(n), None).unwrap();
        }
        assert_eq!(taken[5..].iter().max(), taken[5..].iter().min(), "{taken:?}");
        tx.commit().unwrap();
    }

    #[test]
    fn an_ordinal_that_got_free_is_the_next_to_be_given() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let (digest, inbox) = (Digest::of(b"a message"), FolderName::inbox());
        let next = || state.free_ordinal(digest, &inbox).unwrap();
        let tx = state.begin().unwrap();
        for n in 1..=5 {
            tx.insert_entry(&next().0, &entry(n), None).unwrap();
        }
        assert_eq!(next().0.ordinal, 5);
        let row = |ordinal| state.entry_by_id(&EntryId { digest, birth: inbox.clone(), ordinal }).unwrap().unwrap();
        for ordinal in [3, 1] {
            let (row, mut removed) = (row(ordinal), row(ordinal).entry);
            removed.remove(stamp(10));
            tx.update_entry(&row, &removed).unwrap();
        }
        let (id, past) = next();
        assert_eq!((id.ordinal, past.map(|row| row.id.ordinal)), (1, Some(1)), "a dead entry's ordinal is free");
        tx.update_entry(&row(1), &entry(20)).unwrap();
        assert_eq!(next().0.ordinal, 3, "the next one that is free is found");
        tx.delete_entry(&row(0)).unwrap();
        assert_eq!(next().0.ordinal, 0, "that of an entry that was forgotten is free, too");
        drop(tx);
        assert_eq!(next().0.ordinal, 0, "nothing of a transaction that was undone is remembered");
    }
}
