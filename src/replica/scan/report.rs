//! Options for a scan, and the report about it.

use crate::error::{Error, Result};
use crate::model::{Digest, FolderName};
use crate::replica::safety::{DryRun, MassDelete};
use crate::state::RootBefore;
use crate::text::plural;

/// How thoroughly files are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// A file whose name is known is not read again.
    #[default]
    Names,
    /// Every file is read, so that edits in place are found.
    Contents,
}

/// Options for a scan.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    /// The folders to look at; all of them if empty.
    pub folders: Vec<FolderName>,
    /// How thoroughly.
    pub depth: Depth,
    /// Whether to change the state.
    pub dry_run: DryRun,
    /// Whether it may remove more than half of a large folder.
    pub mass_delete: MassDelete,
}

/// What a scan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replica) enum Purpose<'p> {
    /// To find out what changed here.
    Changes,
    /// To complete a join; with what the mail root held before that.
    Join(RootBefore),
    /// To get this back, if it vanished. What else vanished is left as it is.
    Restore(&'p Selection),
    /// To read all files, for a repair.
    Repair,
    /// To see that the mail is in another mail root.
    MovedRoot,
}

/// What is wanted back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Everything.
    All,
    /// These folders, with those below them, and these messages.
    These {
        /// Folders.
        folders: Vec<FolderName>,
        /// Messages.
        messages: Vec<Digest>,
    },
}

impl Selection {
    /// This folder, with those below it.
    pub fn of_folder(name: &FolderName) -> Self {
        Self::These { folders: vec![name.clone()], messages: Vec::new() }
    }

    /// Whether a message of this folder is wanted.
    pub fn has(&self, folder: &FolderName, message: &Digest) -> bool {
        self.has_folder(folder) || matches!(self, Self::These { messages, .. } if messages.contains(message))
    }

    /// Whether all of this folder is wanted.
    pub fn has_folder(&self, folder: &FolderName) -> bool {
        match self {
            Self::All => true,
            Self::These { folders, .. } => folders.iter().any(|wanted| {
                let below = folder.as_str().strip_prefix(wanted.as_str());
                below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
            }),
        }
    }
}

/// The report about a scan.
#[derive(Clone, Debug, Default)]
pub struct ScanReport {
    /// Messages that came.
    pub new: u64,
    /// Entries that are in another folder.
    pub moved: u64,
    /// Entries with other flags.
    pub flagged: u64,
    /// Entries that are gone.
    pub removed: u64,
    /// Entries whose files were not where they were last seen, and may have been on their way elsewhere, or that could
    /// not be told from others: the next scan decides.
    pub undecided: u64,
    /// Entries whose files vanished and are wanted back.
    pub missing: u64,
    /// Folders that vanished and are wanted back.
    pub folders_missing: Vec<FolderName>,
    /// Files that were found for entries that had none.
    pub adopted: u64,
    /// Entries of which another size was recorded than their messages have.
    pub sizes: u64,
    /// Folders that were made.
    pub folders_made: u64,
    /// Folders that were removed.
    pub folders_removed: u64,
    /// Folders whose listing was read.
    pub folders_read: u64,
    /// Messages that were read.
    pub messages_read: u64,
    /// The errors of files and directories that could not be looked at. Everything else was.
    pub problems: Vec<Error>,
    /// Why all of this is refused for safety: only of a dry run. Else a scan that is refused fails.
    pub refused: Option<Error>,
}

impl ScanReport {
    /// The same, for who has no use for what would not be done.
    ///
    /// # Errors
    /// It would be refused.
    pub fn unless_refused(mut self) -> Result<Self> {
        self.refused.take().map_or(Ok(self), Err)
    }

    /// Whether somebody here changed something.
    pub fn has_changes(&self) -> bool {
        self.new + self.moved + self.flagged + self.removed + self.adopted + self.folders_made + self.folders_removed
            > 0
    }
}

impl std::fmt::Display for ScanReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} new, {} moved, {} flagged, {} removed", self.new, self.moved, self.flagged, self.removed)?;
        if self.adopted > 0 {
            write!(f, ", {} found again", self.adopted)?;
        }
        if self.undecided > 0 {
            write!(f, ", {} left to the next scan", self.undecided)?;
        }
        if self.folders_made + self.folders_removed > 0 {
            let (made, removed) = (plural(self.folders_made, "folder"), plural(self.folders_removed, "folder"));
            write!(f, ", {made} made, {removed} removed")?;
        }
        Ok(())
    }
}
