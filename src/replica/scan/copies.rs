//! What a scan finds out about the other entries of a message that it has found in a file. Of a message that has many
//! entries this is remembered until the end of the scan: else each further copy would have to look at all others.

use std::collections::{BTreeMap, VecDeque};

use crate::state::{EntryKey, FolderKey, Place};

/// From so many entries of a message on, what was found out about them is remembered. So few are looked at anew for each
/// copy, and cost no memory.
pub(super) const MANY: u64 = 16;

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
    pub(super) entries: u64,
    /// Whether one of them has its file.
    pub(super) is_anywhere: bool,
    /// Entries that had their files in these places, and have not any more.
    pub(super) moved: ByFolder<(EntryKey, Place)>,
    /// Whether it can't be told where one of them has its file.
    pub(super) is_unclear: bool,
    /// Whether one has its file in a folder that could not be looked at.
    pub(super) is_unlooked: bool,
    /// Living entries whose contents are missing, by the folder in which they are to be.
    pub(super) missing: ByFolder<EntryKey>,
    /// Those of them whose files were delivered here, as far as is known, and are gone.
    pub(super) mislaid: ByFolder<EntryKey>,
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
