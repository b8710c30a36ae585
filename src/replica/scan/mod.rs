//! The scan: the state is made to follow the disk.
//!
//! A scan compares the disk with what was last seen there. Where the two differ, somebody here changed something, and
//! the registers are written with a new stamp. The steps: find the folders; list those that changed; make sure which
//! files vanished; hash the new files; match the two; write. All of it is one transaction.

mod assign;
mod both_ways;
mod copies;
mod discover;
mod folders;
mod follow;
mod keywords;
mod list;
mod look;
mod pass;
mod report;
mod vanished;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Replica;
use super::safety::DryRun;
use super::transaction::Transaction;
use crate::error::Result;
use crate::maildir::listing::Others;
use crate::model::Origin;
use crate::state::{Action, Occasion};
pub use look::{DiskLook, FolderLook};
use pass::{Names, Scan};
pub(super) use report::Purpose;
pub use report::{Depth, ScanOptions, ScanReport, Selection};

impl Replica {
    /// Makes the state follow the disk, then the disk follow the new state.
    ///
    /// # Errors
    /// Refused when the mail root is missing or empty although it held mail, or when the guard over mass
    /// removals refuses it; of a dry run, its report says so. A folder that can't be read is a problem in the report, not an error.
    pub fn scan(&self, options: &ScanOptions) -> Result<ScanReport> {
        self.note_unknown_names()?;
        let tx = self.begin()?;
        if !self.state.initial_scan_due()? {
            tx.on_occasion(Occasion { action: Action::Scan, peer: None, bundle: None });
        }
        let report = self.scan_within(&tx, options, Purpose::Changes)?;
        if options.dry_run == DryRun::No {
            if report.has_changes() {
                tx.record(self.now(), Action::Scan, None, &report.to_string())?;
            }
            tx.commit()?;
            self.materialise()?;
        } else if self.state.is_rehearsing() {
            tx.commit()?;
        }
        Ok(report)
    }

    /// The scan itself.
    pub(super) fn scan_within(
        &self,
        tx: &Transaction<'_>,
        options: &ScanOptions,
        purpose: Purpose<'_>,
    ) -> Result<ScanReport> {
        let mut scan = Scan {
            replica: self,
            tx,
            options,
            purpose,
            report: ScanReport::default(),
            stamp: None,
            mislaid: self.state.mislaid()?,
            unread: BTreeSet::new(),
            unsettled: false,
            copies: HashMap::new(),
            devices: BTreeMap::new(),
            others: Others::default(),
            blind: false,
            unlooked: BTreeSet::new(),
            left: 0,
            elsewhere: purpose == Purpose::MovedRoot,
            held: 0,
            names: Names::default(),
            // If removals were forgotten, somebody may still remember the flags of a removed entry. These must not
            // unite with the flags of old mail.
            origin: if self.state.initial_scan_due()? && self.state.horizon()?.is_empty() {
                Origin::Init
            } else {
                Origin::Delivery
            },
        };
        scan.run()?;
        Ok(scan.report)
    }
}

/// A scan that has found nothing is not recorded if the last one was so short a time ago, in milliseconds: nothing is written
/// for it.
const RECENT: u64 = 60_000;

impl Scan<'_> {
    /// Records when all of the disk was looked at, and whether that can be. What was mislaid has been found by then, or is nowhere.
    fn record_time(&self) -> Result<()> {
        if !self.mislaid.is_empty() && !self.blind && !self.unsettled {
            self.tx.forget_mislaid()?;
        }
        let (now, last) = (self.replica.now(), self.replica.state.scanned()?);
        let doubt = self.replica.clock_doubt()?;
        if doubt != self.replica.state.clock_doubted()? {
            self.tx.set_clock_doubted(doubt)?;
        }
        let is_recent = last.is_some_and(|last| (last..last.saturating_add(RECENT)).contains(&now));
        if is_recent && !self.report.has_changes() { Ok(()) } else { self.tx.set_scanned(now) }
    }

    fn run(&mut self) -> Result<()> {
        let replica = self.replica;
        replica.check_mail_root()?;
        let discovery = replica.discover(self.tx)?;
        self.check_root_is_not_empty(&discovery)?;
        for (dir, error) in &discovery.unreadable {
            self.problem("searching for folders in", replica.mail_root().join(dir), error);
        }
        if let Purpose::Join(_) = self.purpose {
            self.check_join(&discovery)?;
        }
        for dir in &discovery.nameless {
            let path = replica.mail_root().join(dir);
            if dir.as_os_str().is_empty() {
                self.report.problems.extend(replica.mail_in_root());
            } else {
                let advice = "can't be the name of a folder, and the mail in it stays here: rename it, then scan again";
                replica.note(format!("{} {advice}", path.display()));
            }
        }
        for (dir, name) in &discovery.doubles {
            replica.note(format!(
                "{} is a second directory of the folder {name}, and the mail in it stays here: move that to {}, then scan again",
                replica.mail_root().join(dir).display(),
                replica.dir(name).display()
            ));
        }
        self.devices.clone_from(&discovery.devices);
        self.elsewhere |= discovery.remounted;
        self.follow_folders(&discovery)?;
        let vanished = self.vanished_folders(&discovery)?;
        if !discovery.unreadable.is_empty() {
            let hidden = replica.state.all_folders().into_iter().filter(|row| row.on_disk);
            let hidden = hidden.filter(|row| discovery.hides(&replica.relative_dir(&row.name)));
            self.unlooked.extend(hidden.map(|row| row.key));
        }
        let mut with_files = Vec::new();
        for row in &vanished {
            if replica.state.folder_has_files(row.key)? {
                with_files.push(row.key);
            }
        }
        self.read_names(&discovery)?;
        let mut folders = self.list(&discovery, with_files)?;
        self.note_others();
        let mut gone = self.collect_gone(&mut folders)?;
        for (key, folder) in &folders {
            self.record_separator(*key, folder)?;
        }
        self.follow_renamed(&folders)?;
        self.follow_found(&folders, &mut gone)?;
        self.settle_vanished(&folders, gone, &vanished)?;
        self.follow_names()?;
        if let Purpose::Join(_) = self.purpose {
            self.check_join(&discovery)?;
        }
        for (key, folder) in &folders {
            self.record_listing(*key, folder)?;
        }
        self.reconsider()?;
        if self.options.folders.is_empty() && self.origin == Origin::Init {
            self.tx.initial_scan_done()?;
        }
        if replica.state.mail_root()?.is_none() {
            replica.record_root(self.tx)?;
        }
        if self.options.folders.is_empty() {
            self.record_time()?;
        }
        Ok(())
    }
}
