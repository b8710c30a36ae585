//! What a scan finds out about the other entries of a message that it has found in a file. Of a message that has many
//! entries this is remembered until the end of the scan: else each further copy would have to look at all others.

use std::collections::{BTreeMap, VecDeque};

use super::pass::Scan;
use crate::disk::{is_absent, is_there};
use crate::error::Result;
use crate::maildir::FileName;
use crate::model::Digest;
use crate::state::{EntryKey, EntryRow, FolderKey, Pending, Place};

/// From so many entries of a message on, what was found out about them is remembered. So few are looked at anew for each
/// copy, and cost no memory.
const MANY: u64 = 16;

/// Things of one message, by the folder in which each is or was, those that came first before the others.
#[derive(Debug)]
pub(super) struct ByFolder<T>(BTreeMap<FolderKey, VecDeque<T>>);

impl<T> Default for ByFolder<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> ByFolder<T> {
    pub(super) fn push(&mut self, folder: FolderKey, one: T) {
        self.0.entry(folder).or_default().push_back(one);
    }

    /// Takes one of this folder out.
    pub(super) fn take_in(&mut self, folder: FolderKey) -> Option<T> {
        let all = self.0.get_mut(&folder)?;
        let one = all.pop_front();
        if all.is_empty() {
            self.0.remove(&folder);
        }
        one
    }

    /// Takes one out: of this folder, if there is one.
    pub(super) fn take(&mut self, folder: FolderKey) -> Option<T> {
        self.take_in(folder).or_else(|| {
            let other = *self.0.first_key_value()?.0;
            self.take_in(other)
        })
    }

    /// All that are left.
    pub(super) fn into_all(self) -> impl Iterator<Item = T> {
        self.0.into_values().flatten()
    }
}

/// The other entries of a message, as a scan has found them when it had listed all folders. Each is taken out with the
/// file that is found to be its own.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// How many entries there were.
    entries: u64,
    /// Whether one of them has its file.
    is_anywhere: bool,
    /// Entries that had their files in these places, and have not any more.
    moved: ByFolder<(EntryKey, Place)>,
    /// Whether it can't be told where one of them has its file.
    is_unclear: bool,
    /// Whether one has its file in a folder that could not be looked at.
    is_unlooked: bool,
    /// Living entries whose contents are missing, by the folder in which they are to be.
    pub(super) missing: ByFolder<EntryKey>,
    /// Entries whose files have names as an import gives them.
    pub(super) imports: ByFolder<EntryKey>,
}

/// Whose a found file is, if no vanished file has its message.
#[derive(Debug)]
pub(super) enum Owner {
    /// It is a new message, or another copy.
    Nobody,
    /// It is the file of this entry, which was last seen there.
    Entry(EntryKey, Place),
    /// That can't be told at this moment.
    Unclear,
}

impl Copies {
    /// Whether a message that was found may have been moved from a folder that could not be looked at.
    pub(super) fn may_come_from_unlooked(&self) -> bool {
        self.is_unlooked
    }
}

impl Scan<'_> {
    /// The other entries of a message: none if there is no entry of it.
    pub(super) fn copies_of(&mut self, digest: &Digest) -> Result<Copies> {
        if let Some(copies) = self.copies.remove(digest) {
            return Ok(copies);
        }
        let state = &self.replica.state;
        let mut copies = Copies { entries: state.count_entries_of(digest)?, ..Copies::default() };
        if copies.entries > 0 {
            for row in state.entries_of(digest)? {
                self.look_at_copy(&row, &mut copies)?;
            }
            for row in state.missing_of(digest)? {
                if let Some(folder) = state.find_folder(&row.entry.location.1) {
                    copies.missing.push(folder, row.key);
                }
            }
        }
        Ok(copies)
    }

    /// Remembers what was found out about a message, if it has many entries. Its file that was just followed counts as
    /// one of theirs.
    pub(super) fn keep_copies(&mut self, digest: Digest, copies: Copies) {
        if copies.entries >= MANY {
            self.copies.insert(digest, Copies { is_anywhere: true, ..copies });
        }
    }

    /// Finds out about one entry. Its file may have been moved after its folder was listed, or its folder was not listed:
    /// then two places seem to have it, and the older one has not. Where its file was after all folders were listed,
    /// what was listed elsewhere is another one: so it is enough to look once.
    fn look_at_copy(&mut self, row: &EntryRow, copies: &mut Copies) -> Result<()> {
        let (replica, disk) = (self.replica, &*self.replica.world.disk);
        if let Some(at) = &row.at {
            copies.is_unlooked |= self.unlooked.contains(&at.folder);
            if row.entry.alive() && self.is_named_by_import(at) {
                copies.imports.push(at.folder, row.key);
            }
        }
        let ((None | Some(Pending::Reconsider), Some(from)) | (Some(Pending::Move(from)), _)) =
            (replica.state.pending(row.key)?, row.at.clone())
        else {
            // It has no file yet.
            return Ok(());
        };
        // What could not be looked at is not absent.
        if self.unlooked.contains(&from.folder) {
            return Ok(());
        }
        let path = replica.path(&from)?;
        match disk.metadata(&path) {
            Ok(_) => copies.is_anywhere = true,
            Err(error) if is_absent(&error) => copies.moved.push(from.folder, (row.key, from)),
            Err(error) => {
                copies.is_unclear = true;
                self.problem("looking at", path, &error);
            }
        }
        Ok(())
    }

    /// Whose a found file is, if it is nobody's who is known to have vanished.
    pub(super) fn owner(&self, at: &Place, copies: &mut Copies) -> Result<Owner> {
        if let Some((key, from)) = copies.moved.take_in(at.folder) {
            return Ok(Owner::Entry(key, from));
        }
        if copies.is_unclear {
            return Ok(Owner::Unclear);
        }
        if let Some((key, from)) = copies.moved.take(at.folder) {
            return Ok(Owner::Entry(key, from));
        }
        // It is another copy if it is still here, too.
        let is_gone = copies.is_anywhere && !is_there(&*self.replica.world.disk, &self.replica.path(at)?)?;
        Ok(if is_gone { Owner::Unclear } else { Owner::Nobody })
    }

    /// Whether a file has a name of ours, to which a synchroniser may have added its number.
    pub(super) fn is_named_by_import(&self, at: &Place) -> bool {
        let base = FileName::parse(&at.name).base().to_vec();
        let numbered = base.windows(3).rposition(|part| part == b",U=");
        crate::maildir::is_delivered_base(&base[..numbered.unwrap_or(base.len())], &self.replica.config.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_the_folder_is_taken_before_what_is_of_others() {
        let folder = FolderKey::example;
        let mut all = ByFolder::default();
        for (key, one) in [(2, "b1"), (1, "a1"), (2, "b2"), (3, "c1")] {
            all.push(folder(key), one);
        }
        assert_eq!(all.take_in(folder(9)), None);
        assert_eq!([3, 2, 9].map(|key| all.take(folder(key))), [Some("c1"), Some("b1"), Some("a1")]);
        assert_eq!(all.into_all().collect::<Vec<_>>(), ["b2"]);
    }
}
