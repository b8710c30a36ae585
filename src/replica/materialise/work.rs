//! The progress of work on disk: changes that are not durable yet, and failures.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::maildir::Sub;
use crate::state::{Discard, EntryKey, FolderKey, Pending, Place};

/// After so many failures no more work is tried.
const MOST_FAILURES: usize = 100;

/// The results of work on disk: directories whose changed names must be made durable, and entries whose work went
/// another way than planned.
#[derive(Debug, Default)]
pub(in crate::replica) struct DiskWork {
    pub(super) touched: BTreeSet<PathBuf>,
    /// Entries whose file was not as last seen, with the place to go back to.
    pub(super) disturbed: Vec<(EntryKey, Place)>,
    /// Entries whose contents are lost.
    pub(super) lost: Vec<EntryKey>,
    /// Entries whose file had to get another name.
    pub(super) renamed: Vec<(EntryKey, Place)>,
    pub(in crate::replica) folders_made: Vec<FolderKey>,
    pub(super) folders_removed: Vec<FolderKey>,
    pub(super) trashed: Vec<(Discard, Option<String>)>,
    /// Entries whose work could not be done.
    pub(super) undone: Vec<(EntryKey, Pending)>,
    /// The first failure, and the number of all failures.
    failed: Option<(Error, usize)>,
    /// The files of a folder by base. They are read when a file is not where it was last seen.
    pub(super) bases: HashMap<FolderKey, Bases>,
}

/// The places of a folder's files, by base.
pub(super) type Bases = HashMap<Vec<u8>, (Sub, Vec<u8>)>;

impl DiskWork {
    /// Notes a failure. All other work goes on, unless nothing seems to work.
    ///
    /// # Errors
    /// The first of too many failures.
    pub(super) fn fail(&mut self, error: Error) -> Result<()> {
        let (first, count) = self.failed.get_or_insert((error, 0));
        *count += 1;
        if *count > MOST_FAILURES { Err(first.clone()) } else { Ok(()) }
    }

    /// The error that sums up all failures.
    pub(super) fn problem(&self) -> Option<Error> {
        let (first, count) = self.failed.as_ref()?;
        match count {
            1 => Some(first.clone()),
            _ => Some(first.clone().about(format_args!("{count} changes could not be made, the first of them"))),
        }
    }

    /// Notes that a name in the directory of this file has changed.
    pub(super) fn touch(&mut self, file: &Path) {
        let dir = file.parent().expect("a file lies in a directory");
        if !self.touched.contains(dir) {
            self.touched.insert(dir.to_owned());
        }
    }
}
