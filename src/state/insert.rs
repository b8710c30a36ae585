//! Adding entries.

use super::codec;
use super::entries::{Place, newest_stamps, registers};
use super::{EntryKey, Transaction};
use crate::error::Result;
use crate::model::{Entry, EntryId};

/// The statement that adds an entry, with what is to happen if there is a conflict.
macro_rules! insert {
    ($conflict:literal) => {
        concat!(
            "INSERT INTO entry (digest, birth, ordinal, folder, alive, size, mtime, registers, at_folder, at_sub, at_name)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            $conflict
        )
    };
}

impl Transaction<'_> {
    /// Adds an entry. No other entry may have its place.
    pub fn insert_entry(&self, id: &EntryId, entry: &Entry, at: Option<&Place>) -> Result<EntryKey> {
        let inserted = self.insert(id, entry, at, insert!(""))?;
        Ok(inserted.expect("it is inserted, or that fails"))
    }

    /// Adds an entry with this place, unless another entry has it. To look first would take as long as to insert.
    pub fn insert_entry_if_free(&self, id: &EntryId, entry: &Entry, at: &Place) -> Result<Option<EntryKey>> {
        let unless = insert!(" ON CONFLICT (at_folder, at_name, at_sub) WHERE at_folder IS NOT NULL DO NOTHING");
        self.insert(id, entry, Some(at), unless)
    }

    fn insert(&self, id: &EntryId, entry: &Entry, at: Option<&Place>, how: &str) -> Result<Option<EntryKey>> {
        let birth = self.folder(&id.birth)?;
        let folder = if entry.location.1 == id.birth { birth } else { self.folder(&entry.location.1)? };
        let registers = codec::encode(&registers(entry));
        let another = self.is_one_here(&id.digest)?;
        let inserted = self.conn.prepare_cached(how)?.execute((
            id.digest.0,
            birth.0,
            id.ordinal,
            folder.0,
            entry.alive(),
            entry.size.cast_signed(),
            entry.mtime.0,
            registers,
            at.map(|at| at.folder.0),
            at.map(|at| at.sub as u8),
            at.map(|at| &at.name[..]),
        ))?;
        if inserted == 0 {
            return Ok(None);
        }
        self.without_entry.borrow_mut().added(&id.digest);
        let key = EntryKey(self.conn.last_insert_rowid());
        for (incarnation, clock) in newest_stamps(entry) {
            self.add_change(key, incarnation, clock)?;
        }
        if entry.alive() {
            self.digest_add(&entry.canonical(id));
        }
        self.count_entry(&id.digest, (folder, entry.size), entry.alive(), another)?;
        self.recount_file(None, at.map(|at| at.folder), entry.size);
        Ok(Some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::Sub;
    use crate::model::{Clock, Digest, FlagSet, FolderName, Incarnation, Mtime, Origin, Stamp};
    use crate::state::testing::fresh;

    #[test]
    fn an_entry_whose_place_another_one_has_is_not_added_and_not_counted() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let inbox = FolderName::inbox();
        let stamp = Stamp { clock: Clock::from_bits(1).unwrap(), incarnation: Incarnation(1) };
        let entry = Entry::delivered(None, Origin::Delivery, stamp, inbox.clone(), &FlagSet::new(), 1, Mtime(1));
        let id = |n| EntryId { digest: Digest([n; 32]), birth: inbox.clone(), ordinal: 0 };
        let tx = state.begin().unwrap();
        let folder = tx.folder(&inbox).unwrap();
        let [one, other] = [b"one", b"two"].map(|name| Place { folder, sub: Sub::Cur, name: name.to_vec() });
        let first = tx.insert_entry_if_free(&id(1), &entry, &one).unwrap().unwrap();
        let (counted, digest) = (state.count_all(), state.digest());
        assert_eq!(tx.insert_entry_if_free(&id(2), &entry, &one).unwrap(), None);
        assert_eq!((state.count_all(), state.digest()), (counted, digest));
        assert_eq!(state.entry_at(&one).unwrap().unwrap().key, first);
        let second = tx.insert_entry_if_free(&id(2), &entry, &other).unwrap().unwrap();
        assert_eq!(state.entry_at(&other).unwrap().unwrap().key, second);
        // An id that is there is a fault, wherever its file is to be.
        let third = Place { name: b"three".to_vec(), ..one };
        assert!(tx.insert_entry_if_free(&id(2), &entry, &third).is_err());
    }
}
