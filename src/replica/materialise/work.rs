//! The progress of work on disk: changes that are not durable yet, and failures.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::maildir::{Separator, Sub};
use crate::state::{Discard, EntryKey, FolderKey, Hindered, Place, State};

/// After so many failures of a disk nothing more is tried.
const MOST_FAILURES: usize = 100;

/// The results of work on disk: directories whose changed names must be made durable, and entries whose work went
/// another way than planned.
#[derive(Debug, Default)]
pub(in crate::replica) struct DiskWork {
    pub(super) touched: Touched,
    /// Entries whose file was not as last seen, with the place to go back to.
    pub(super) disturbed: Vec<(EntryKey, Place)>,
    /// Entries whose contents are lost.
    pub(super) lost: Vec<EntryKey>,
    /// Those of them whose contents had come, and lay in a `tmp/` or were delivered.
    pub(super) mislaid: Vec<EntryKey>,
    /// Entries whose file had to get another name.
    pub(super) renamed: Vec<(EntryKey, Place)>,
    /// What the names of files in a folder must have in front of their flags.
    pub(super) separators: HashMap<FolderKey, Separator>,
    pub(in crate::replica) folders_made: BTreeSet<FolderKey>,
    pub(super) folders_removed: Vec<FolderKey>,
    pub(super) trashed: Vec<(Discard, Option<String>)>,
    /// Whether there is more or less mail than before, in some folder.
    pub(super) mail_came_or_went: bool,
    /// Folders that can't be made, and why not: it isn't tried again for each of their messages.
    pub(super) unmade: HashMap<FolderKey, Error>,
    /// What a disk or this machine has kept from being done.
    failures: Failures,
    /// What one place has kept from being done.
    hindrances: Failures,
    /// The files of a folder by base. They are read when a file is not where it was last seen.
    pub(super) bases: HashMap<FolderKey, Bases>,
}

/// The places of a folder's files, by base.
pub(super) type Bases = HashMap<Vec<u8>, (Sub, Vec<u8>)>;

/// The first of some failures, and how many there are.
#[derive(Debug, Default)]
struct Failures(Option<(Error, usize)>);

impl Failures {
    fn add(&mut self, error: &Error) -> usize {
        let (_, count) = self.0.get_or_insert_with(|| (error.clone(), 0));
        *count += 1;
        *count
    }

    /// The error that sums them up.
    fn sum(&self) -> Option<Error> {
        let (first, count) = self.0.as_ref()?;
        match count {
            1 => Some(first.clone()),
            _ => Some(first.clone().about(format_args!("{count} changes could not be made, the first of them"))),
        }
    }
}

impl DiskWork {
    /// Something could not be done. It is noted, so that it stays to be done, and keeps nothing else from being done,
    /// unless nothing seems to work.
    ///
    /// # Errors
    /// A disk has failed too often, or the list can't be kept.
    pub(super) fn fail(&mut self, state: &State, what: Hindered, error: &Error) -> Result<()> {
        // It is read in the status, which doesn't try anything again.
        state.add_hindered(what, &error.told_later("mailsync scan"))?;
        if error.is_about_a_place() {
            self.hindrances.add(error);
        } else if self.failures.add(error) > MOST_FAILURES {
            return Err(error.clone());
        }
        Ok(())
    }

    /// The error that sums up what a disk or this machine has kept from being done.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failures.sum()
    }

    /// The error that sums up what places have kept from being done.
    pub(super) fn hindrance(&self) -> Option<Error> {
        let advice =
            "put that right, then run `mailsync scan`; nothing is lost, and `mailsync status` shows what waits";
        self.hindrances.sum().map(|error| error.advise(advice))
    }
}

/// Directories whose changed names must be made durable.
#[derive(Debug, Default)]
pub(super) struct Touched {
    dirs: BTreeSet<PathBuf>,
    /// Those that were noted last, of which there may be thousands of changes one after the other: to compare a path with all others
    /// takes longer than to change a name.
    latest: [PathBuf; 2],
}

impl Touched {
    /// A name in the directory of this file has changed.
    pub(super) fn note(&mut self, file: &Path) {
        let dir = file.parent().expect("a file lies in a directory");
        if self.latest.iter().any(|noted| noted.as_os_str() == dir.as_os_str()) {
            return;
        }
        self.latest.rotate_right(1);
        dir.clone_into(&mut self.latest[0]);
        self.dirs.insert(dir.to_owned());
    }

    /// Names have changed in these directories.
    pub(super) fn extend(&mut self, dirs: impl IntoIterator<Item = PathBuf>) {
        self.dirs.extend(dirs);
    }

    /// All of them; from now on there are none.
    pub(super) fn take(&mut self) -> BTreeSet<PathBuf> {
        std::mem::take(self).dirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_was_taken_to_be_made_durable_is_noted_anew_when_a_name_in_it_changes_again() {
        let mut touched = Touched::default();
        for file in ["/m/tmp/a", "/m/cur/a", "/m/tmp/b", "/m/cur/b", "/n/cur/c", "/m/tmp/d"] {
            touched.note(Path::new(file));
        }
        let dirs = |names: &[&str]| names.iter().map(PathBuf::from).collect::<BTreeSet<_>>();
        assert_eq!(touched.take(), dirs(&["/m/cur", "/m/tmp", "/n/cur"]));
        assert_eq!(touched.take(), dirs(&[]));
        touched.note(Path::new("/m/tmp/e"));
        touched.extend([PathBuf::from("/m")]);
        assert_eq!(touched.take(), dirs(&["/m", "/m/tmp"]));
    }
}
