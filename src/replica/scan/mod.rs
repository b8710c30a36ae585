//! The scan: the state is made to follow the disk.
//!
//! A scan compares the disk with what was last seen there. Where the two differ, somebody here changed something, and
//! the registers are written with a new stamp. The steps: find the folders; list those that changed; make sure which
//! files vanished; hash the new files; match the two; write. All of it is one transaction.

mod discover;
mod folders;
mod follow;
mod list;
mod pass;
mod report;

use std::collections::BTreeSet;

use super::Replica;
use super::safety::DryRun;
use super::transaction::Transaction;
use crate::error::Result;
use crate::model::Origin;
use crate::state::{Action, RootBefore};
use pass::Scan;
pub use report::{Depth, ScanOptions, ScanReport};

impl Replica {
    /// Makes the state follow the disk, then the disk follow the new state.
    ///
    /// # Errors
    /// Refused when the mail root is missing or empty although it held mail, or when the guard over mass
    /// removals refuses it. A folder that can't be read is a problem in the report, not an error.
    pub fn scan(&self, options: &ScanOptions) -> Result<ScanReport> {
        let tx = self.begin()?;
        let report = self.scan_within(&tx, options, None)?;
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

    /// The scan itself. `join` is given if the scan is part of a join, and says what the mail root held before that.
    pub(super) fn scan_within(
        &self,
        tx: &Transaction<'_>,
        options: &ScanOptions,
        join: Option<RootBefore>,
    ) -> Result<ScanReport> {
        let mut scan = Scan {
            replica: self,
            tx,
            options,
            join,
            report: ScanReport::default(),
            stamp: None,
            unread: BTreeSet::new(),
            overtaken: false,
            held: 0,
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

impl Scan<'_> {
    fn run(&mut self) -> Result<()> {
        let replica = self.replica;
        replica.check_mail_root()?;
        let discovery = replica.discover(self.tx)?;
        self.check_root_is_not_empty(&discovery)?;
        for (dir, error) in &discovery.unreadable {
            self.problem("searching for folders in", replica.mail_root().join(dir), error);
        }
        for dir in &discovery.nameless {
            let advice = if dir.as_os_str().is_empty() {
                "is a Maildir itself, which config.toml denies: set inbox_at_root there, or move that mail"
            } else {
                "can't be the name of a folder, and the mail in it stays here: rename it, then scan again"
            };
            replica.note(format!("{} {advice}", replica.mail_root().join(dir).display()));
        }
        for (dir, name) in &discovery.doubles {
            replica.note(format!(
                "{} is a second directory of the folder {name}, and the mail in it stays here: move that to {}, then scan again",
                replica.mail_root().join(dir).display(),
                replica.dir(name).display()
            ));
        }
        let vanished = self.follow_folders(&discovery)?;
        let mut folders = self.list(&discovery, vanished)?;
        let mut gone = self.collect_gone(&mut folders)?;
        for (key, folder) in &folders {
            self.record_separator(*key, folder)?;
        }
        self.follow_renamed(&folders)?;
        self.follow_found(&folders, &mut gone)?;
        self.remove_unmatched(&folders, gone)?;
        for (key, folder) in &folders {
            self.record_listing(*key, folder)?;
        }
        self.reconsider()?;
        if self.options.folders.is_empty() && self.origin == Origin::Init {
            self.tx.initial_scan_done()?;
        }
        Ok(())
    }
}
