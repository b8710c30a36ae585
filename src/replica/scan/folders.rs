//! Folders that were made or removed.

use std::sync::Arc;

use super::discover::Discovery;
use super::pass::Scan;
use crate::error::{Error, Result};
use crate::model::FolderState;
use crate::replica::safety::{By, Loss, Losses, MassDelete, guard_losses};
use crate::state::{FolderKey, FolderRow, RootBefore};

impl Scan<'_> {
    /// Refuses a mail root that held mail and has no folder any more: an unmounted disk is more likely than a person's
    /// wish.
    pub(super) fn check_root_is_not_empty(&self, discovery: &Discovery) -> Result<()> {
        let empty = discovery.folders.is_empty() && discovery.unreadable.is_empty() && discovery.doubles.is_empty();
        if empty && self.options.mass_delete == MassDelete::Refuse && self.replica.state.has_files()? {
            let what = format!("scanning {}: no Maildir is left in it", self.replica.mail_root().display());
            return Err(Error::refused(what)
                .advise(
                    "mount the disk that holds your mail, or put the layout in config.toml right; if the mail is really gone, use \
                     --allow-mass-delete",
                ));
        }
        Ok(())
    }

    /// Writes the registers of folders that were made or removed. Returns the folders that vanished with files in them.
    pub(super) fn follow_folders(&mut self, discovery: &Discovery) -> Result<Vec<FolderKey>> {
        let state = &self.replica.state;
        let present = |row: &&Arc<FolderRow>| row.state.is_some_and(|state| state.present);
        let held = state.all_folders().iter().filter(present).count() as u64;
        for name in discovery.folders.keys() {
            let key = self.tx.folder(name)?;
            let row = state.folder_row(key)?;
            if row.on_disk {
                continue;
            }
            self.tx.set_folder_on_disk(key, true)?;
            // A folder left by an interrupted join is not a change made here, even if its register says that it was
            // removed since.
            let leftover = self.join == Some(RootBefore::Empty) && row.state.is_some();
            if !leftover && !row.state.is_some_and(|state| state.present) {
                let stamp = self.stamp()?;
                self.tx.set_folder_state(key, FolderState { stamp, present: true })?;
                self.report.folders_made += 1;
            }
        }
        let mut vanished = Vec::new();
        for row in state.all_folders() {
            if !row.on_disk || discovery.folders.contains_key(&row.name) {
                continue;
            }
            let dir = self.replica.relative_dir(&row.name);
            if discovery.hides(&dir) || self.replica.ignores(&dir) {
                continue;
            }
            self.tx.set_folder_on_disk(row.key, false)?;
            self.tx.set_particular_dir(row.key, None)?;
            self.tx.set_clean_listing(row.key, None)?;
            if row.state.is_some_and(|state| state.present) && !row.name.is_inbox() {
                let stamp = self.stamp()?;
                self.tx.set_folder_state(row.key, FolderState { stamp, present: false })?;
                self.report.folders_removed += 1;
            }
            if state.folder_has_files(row.key)? {
                vanished.push(row.key);
            }
        }
        let folders = Loss { gone: self.report.folders_removed, held };
        let losses = Losses { folders, ..Losses::default() };
        guard_losses(self.options.mass_delete, &self.replica.config.guard, By::Scan, &losses)?;
        Ok(vanished)
    }
}
