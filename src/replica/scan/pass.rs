//! A scan under way: the values that all its steps share.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::report::{ScanOptions, ScanReport};
use crate::error::{Error, Result};
use crate::maildir::keywords::Letters;
use crate::model::{Origin, Stamp};
use crate::replica::Replica;
use crate::replica::transaction::Transaction;
use crate::state::{EntryKey, FolderKey, RootBefore};

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
    pub(super) join: Option<RootBefore>,
    pub(super) report: ScanReport,
    pub(super) stamp: Option<Stamp>,
    pub(super) origin: Origin,
    /// How many files were known before, if any of them vanished.
    pub(super) held: u64,
    /// Folders that the next scan must list again: files were found in them and could not be read.
    pub(super) unread: BTreeSet<FolderKey>,
    /// What was found out about letters.
    pub(super) names: Names,
    /// Whether a found file was renamed before it could be read. It may be a file that vanished elsewhere.
    pub(super) overtaken: bool,
}

impl Scan<'_> {
    /// The stamp of this scan. All changes that it finds carry this one stamp.
    pub(super) fn stamp(&mut self) -> Result<Stamp> {
        if let Some(stamp) = self.stamp {
            return Ok(stamp);
        }
        let stamp = self.tx.issue(self.replica.now())?;
        self.stamp = Some(stamp);
        Ok(stamp)
    }

    /// Notes that something could not be looked at. The scan goes on.
    pub(super) fn problem(&mut self, doing: &str, path: impl Into<PathBuf>, error: &io::Error) {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => "give yourself permission to read it, then scan again",
            _ => "scan again; if it stays, check the disk",
        };
        self.report.problems.push(Error::io(doing, &path.into(), error).advise(advice));
    }
}
