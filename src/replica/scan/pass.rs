//! A scan under way: the values that all its steps share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::copies::Copies;
use super::discover::Discovery;
use super::report::{Purpose, ScanOptions, ScanReport};
use crate::error::{Error, Result};
use crate::maildir::keywords::Letters;
use crate::maildir::listing::Others;
use crate::model::{Digest, Origin, Stamp};
use crate::replica::Replica;
use crate::replica::safety::looked_at;
use crate::replica::transaction::Transaction;
use crate::state::{EntryKey, FolderKey};
use crate::text::printable;

/// A hashing thread takes so many files at a time.
pub(super) const BATCH: u32 = 32;
/// This many of these batches are under way.
pub(super) const AHEAD: u64 = 64;

/// What a scan has found out about letters.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The letters, as they were before this scan, of folders whose letters have changed.
    pub(super) before: BTreeMap<FolderKey, Arc<Letters>>,
    /// Folders of which Dovecot has had time to name the letters that it uses.
    pub(super) settled: BTreeSet<FolderKey>,
    /// Entries whose files have other names than before, in folders whose letters have changed.
    pub(super) followed: BTreeSet<EntryKey>,
}

/// A scan under way.
pub(super) struct Scan<'r> {
    pub(super) replica: &'r Replica,
    pub(super) tx: &'r Transaction<'r>,
    pub(super) options: &'r ScanOptions,
    pub(super) purpose: Purpose<'r>,
    pub(super) report: ScanReport,
    pub(super) stamp: Option<Stamp>,
    pub(super) origin: Origin,
    /// What was found out about messages that have many entries.
    pub(super) copies: HashMap<Digest, Copies>,
    /// How many files were known before, if any of them vanished.
    pub(super) held: u64,
    /// Entries whose files were gone when they were to be delivered, or just had been. Where a new file has such a message, somebody
    /// has moved it there.
    pub(super) mislaid: BTreeSet<EntryKey>,
    /// Folders that the next scan must list again: files were found in them and could not be read.
    pub(super) unread: BTreeSet<FolderKey>,
    /// What was found out about letters.
    pub(super) names: Names,
    /// Whether a file that vanished may still be somewhere: folders kept changing while they were listed, or a found
    /// file was renamed before it could be read.
    pub(super) unsettled: bool,
    /// The file systems of the folders' directories.
    pub(super) devices: BTreeMap<PathBuf, u64>,
    /// What is in folders and is no message.
    pub(super) others: Others,
    /// Whether something could not be looked at: what vanished may be there.
    pub(super) blind: bool,
    /// Folders that could not be looked at: what was found elsewhere may come from there.
    pub(super) unlooked: BTreeSet<FolderKey>,
    /// How many messages are left to the next scan for that.
    pub(super) left: u64,
    /// Whether the mail root may be another one than the last scan saw.
    pub(super) elsewhere: bool,
}

impl Scan<'_> {
    /// A guard has refused what the scan finds. A dry run goes on all the same: it tells what that is.
    ///
    /// # Errors
    /// The refusal, if it is no dry run.
    pub(super) fn heed(&mut self, guarded: Result<()>) -> Result<()> {
        if let Some(refusal) = looked_at(guarded, self.options.dry_run)? {
            self.report.refused.get_or_insert(refusal);
        }
        Ok(())
    }

    /// The stamp of this scan. All changes that it finds carry this one stamp.
    pub(super) fn stamp(&mut self) -> Result<Stamp> {
        if let Some(stamp) = self.stamp {
            return Ok(stamp);
        }
        let stamp = self.tx.issue(self.replica.now())?;
        self.stamp = Some(stamp);
        Ok(stamp)
    }

    /// A join recognises what is there already. What it can't look at would be there twice.
    pub(super) fn check_join(&self, discovery: &Discovery) -> Result<()> {
        const ADVICE: &str = "then join again; no mail was written";
        if let Some(problem) = self.report.problems.first() {
            return Err(problem.clone().about("joining"));
        }
        if let Some(dir) = discovery.nameless.first() {
            let what =
                format!("joining: {} can't be the name of a folder", self.replica.mail_root().join(dir).display());
            return Err(Error::failed(what).advise(format!("rename it, or move it away, {ADVICE}")));
        }
        if self.unsettled {
            let what = format!("joining: a program is moving mail in {}", self.replica.mail_root().display());
            return Err(Error::failed(what).advise(format!("let it end, {ADVICE}")));
        }
        Ok(())
    }

    /// Notes what is in folders and is no message. A folder that is not read again isn't told of again.
    pub(super) fn note_others(&self) {
        let Others { count, example: Some(example) } = &self.others else { return };
        let (what, are) = if *count == 1 { ("file", "is") } else { ("files", "are") };
        self.replica.note(format!(
            "{count} {what} in folders {are} left alone: a symbolic link, a directory, a pipe or a device is no message; such as {}",
            printable(&example.to_string_lossy())
        ));
    }

    /// Notes that something could not be looked at. The scan goes on, and takes nothing for removed.
    pub(super) fn problem(&mut self, doing: &str, path: impl Into<PathBuf>, error: &io::Error) {
        self.blind = true;
        self.report.problems.push(unlooked(doing, &path.into(), error));
    }
}

/// What is told of something that could not be looked at, and what to do about it.
pub(super) fn unlooked(doing: &str, path: &Path, error: &io::Error) -> Error {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => "give yourself permission to read it, then scan again",
        io::ErrorKind::InvalidData => {
            "mount or mend what belongs there, or remove it if that is to be gone; then scan again"
        }
        _ => "scan again; if it stays, check the disk",
    };
    Error::io(doing, path, error).advise(advice)
}
