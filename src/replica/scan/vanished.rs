//! What becomes of what vanished and was not found again: it is removed, if the guard allows that; or, for a person who
//! wants it back, its contents are missing; or it is left to a later scan, since it may be where nobody could look.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::copies::ByFolder;
use super::discover::Discovery;
use super::follow::Gone;
use super::list::FolderScan;
use super::pass::Scan;
use super::report::{Depth, Purpose};
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::model::{Digest, Entry, FolderState};
use crate::replica::safety::{ALLOW_DELETE, By, DryRun, Loss, Losses, MassDelete, RESTORE, guard_losses, refusal};
use crate::state::{FolderKey, FolderRow};
use crate::text::plural;

/// What becomes of an entry whose file vanished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was removed here.
    Removed,
    /// It is wanted back.
    Missing,
    /// The next scan decides.
    Unknown,
}

/// What became of the files that vanished from one folder.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    removed: u64,
    unknown: u64,
    missing: u64,
}

const MOUNT: &str = "mount the disk that holds your mail";

/// The refusal of a mail root that held mail and has no folder any more; `why` ends what is wrong.
pub(super) fn no_maildir_left(root: &Path, why: &str, by: By, dry_run: DryRun) -> Error {
    let what = format!("scanning {}: no Maildir is left in it", root.display());
    let advice = format!(
        "{MOUNT}, or put the layout in config.toml right; `{RESTORE} --all` gets the mail back if it was removed by mistake; if \
         it is really to be gone, run `{}`",
        by.confirmation()
    );
    refusal(dry_run, by, ALLOW_DELETE, (&what, why), &advice)
}

impl Scan<'_> {
    /// Refuses a mail root that held mail and has no folder any more: an unmounted disk is more likely than a person's
    /// wish.
    pub(super) fn check_root_is_not_empty(&mut self, discovery: &Discovery) -> Result<()> {
        if let Purpose::Restore(_) = self.purpose {
            if !discovery.remounted {
                return Ok(());
            }
            let root = self.replica.mail_root().display();
            let what = format!("restoring mail to {root}: something else was mounted there before");
            return Err(Error::refused(what).advise(format!(
                "{MOUNT}; if it is lost, begin anew in an empty mail root, with `mailsync join` and an invitation by a peer"
            )));
        }
        let empty = discovery.folders.is_empty() && discovery.unreadable.is_empty() && discovery.doubles.is_empty();
        if !empty || self.options.mass_delete == MassDelete::Allow || !self.replica.state.has_files()? {
            return Ok(());
        }
        let why = if discovery.remounted { ", and something else was mounted there before" } else { "" };
        let refusal = no_maildir_left(self.replica.mail_root(), why, self.by(), self.options.dry_run);
        self.heed(Err(refusal))
    }

    /// By which command a person confirms what this scan takes away.
    fn by(&self) -> By {
        match (self.purpose, self.options.depth) {
            (Purpose::MovedRoot, _) => By::MovedRoot,
            (Purpose::Repair, _) => By::Repair,
            (_, Depth::Contents) => By::DeepScan,
            _ => By::Scan,
        }
    }

    /// The folders that were there at the last look and are gone; and those that are gone since, if files were seen
    /// there: a move that seemed to fail may have been done, and its folder removed.
    pub(super) fn vanished_folders(&self, discovery: &Discovery) -> Result<Vec<Arc<FolderRow>>> {
        let mut vanished = Vec::new();
        for row in self.replica.state.all_folders() {
            let dir = self.replica.relative_dir(&row.name);
            if discovery.folders.contains_key(&row.name) || discovery.hides(&dir) || self.replica.ignores(&dir) {
                continue;
            }
            if row.on_disk || self.held_files(row.key)? {
                vanished.push(row);
            }
        }
        Ok(vanished)
    }

    /// Whether files were last seen in a folder; not those that are only to be delivered.
    fn held_files(&self, folder: FolderKey) -> Result<bool> {
        let mut held = false;
        self.replica.state.files_in(folder, |_, _, _, undelivered| {
            held |= !undelivered;
            Ok(())
        })?;
        Ok(held)
    }

    /// Settles what vanished and was not found elsewhere.
    ///
    /// # Errors
    /// More would be removed than the guard allows.
    pub(super) fn settle_vanished(
        &mut self,
        folders: &BTreeMap<FolderKey, FolderScan>,
        gone: HashMap<Digest, ByFolder<Gone>>,
        vanished: &[Arc<FolderRow>],
    ) -> Result<()> {
        let held_folders = self.replica.state.all_folders().iter().filter(|row| row.is_present()).count() as u64;
        let mut outcomes: BTreeMap<FolderKey, Outcome> = BTreeMap::new();
        let mut removed = Vec::new();
        for gone in gone.into_values().flat_map(ByFolder::into_all).filter(|gone| gone.row.entry.alive()) {
            let outcome = outcomes.entry(gone.from.folder).or_default();
            match self.fate(&gone)? {
                Fate::Removed => {
                    outcome.removed += 1;
                    removed.push(gone.row);
                }
                Fate::Missing => {
                    outcome.missing += 1;
                    self.report.missing += 1;
                    self.tx.add_missing(gone.row.key)?;
                }
                Fate::Unknown => {
                    outcome.unknown += 1;
                    self.leave(&gone)?;
                }
            }
        }
        if self.blind {
            self.tell_what_is_left(outcomes.values().map(|outcome| outcome.unknown).sum());
        }
        let gone_folders = self.settle_folders(vanished, &outcomes, folders)?;
        // In another mail root, mail that seems to be moved shows that the layout is wrong.
        let moved = if self.purpose == Purpose::MovedRoot { self.report.moved } else { 0 };
        let mut losses = Losses {
            all: Loss { gone: removed.len() as u64 + moved, held: self.held, before: 0, moved: 0 },
            folders: Loss { gone: gone_folders, held: held_folders, before: 0, moved: 0 },
            ..Losses::default()
        };
        for (folder, outcome) in outcomes.iter().filter(|(_, outcome)| outcome.removed > 0) {
            let name = self.replica.state.folder_row(*folder)?.name.to_string();
            losses
                .by_folder
                .push((name, Loss { gone: outcome.removed, held: folders[folder].known, before: 0, moved: 0 }));
        }
        let allowed = (self.options.mass_delete, self.options.dry_run);
        self.heed(guard_losses(allowed, &self.limits(), self.by(), &losses))?;
        if removed.is_empty() {
            return Ok(());
        }
        let stamp = self.stamp()?;
        removed.sort_by_key(|row| row.key);
        for row in removed {
            let mut entry: Entry = row.entry.clone();
            entry.remove(stamp);
            self.tx.update_entry(&row, &entry)?;
            self.report.removed += 1;
        }
        Ok(())
    }

    fn tell_what_is_left(&self, vanished: u64) {
        if vanished > 0 {
            self.replica.note(format!(
                "{} vanished, and may be where this scan could not look: nothing is taken for removed until it can",
                plural(vanished, "message")
            ));
        }
        if self.left > 0 {
            self.replica.note(format!(
                "{} may come from where this scan could not look: what came is recorded when it can",
                plural(self.left, "message")
            ));
        }
    }

    /// From how much on the guard refuses. If this may be another mail root, no loss is small.
    fn limits(&self) -> Limits {
        let limits = self.replica.config.guard;
        if self.elsewhere { Limits { all: 0, folders: 0, ..limits } } else { limits }
    }

    fn fate(&self, gone: &Gone) -> Result<Fate> {
        // If another file has its place, nobody will find it there.
        let is_taken = || Ok::<_, Error>(self.replica.state.entry_at(&gone.from)?.is_some());
        if (self.unsettled || self.blind) && !is_taken()? {
            return Ok(Fate::Unknown);
        }
        let Purpose::Restore(selection) = self.purpose else { return Ok(Fate::Removed) };
        let folder = self.replica.state.folder_row(gone.from.folder)?;
        let selected = selection.has(&folder.name, &gone.row.id.digest);
        Ok(if selected || is_taken()? { Fate::Missing } else { Fate::Unknown })
    }

    /// Leaves an entry as it was, for the next scan.
    fn leave(&mut self, gone: &Gone) -> Result<()> {
        self.tx.set_place(gone.row.key, Some(&gone.from))?;
        if let Some(pending) = &gone.pending {
            self.tx.set_pending(gone.row.key, pending)?;
        }
        self.unread.insert(gone.from.folder);
        self.report.undecided += 1;
        Ok(())
    }

    /// Settles the folders that vanished. Returns how many are lost: one whose mail is all elsewhere was renamed.
    fn settle_folders(
        &mut self,
        vanished: &[Arc<FolderRow>],
        outcomes: &BTreeMap<FolderKey, Outcome>,
        folders: &BTreeMap<FolderKey, FolderScan>,
    ) -> Result<u64> {
        let mut lost = 0;
        for row in vanished {
            let outcome = outcomes.get(&row.key).copied().unwrap_or_default();
            if self.blind || self.held_files(row.key)? {
                continue;
            }
            let held = folders.get(&row.key).map_or(0, |folder| folder.known);
            let was_renamed = held > 0 && outcome.removed + outcome.missing == 0;
            let is_wanted = match self.purpose {
                Purpose::Restore(selection) => outcome.missing > 0 || selection.has_folder(&row.name),
                _ => false,
            };
            if matches!(self.purpose, Purpose::Restore(_)) && !is_wanted && !was_renamed {
                continue;
            }
            self.tx.set_folder_on_disk(row.key, false)?;
            self.tx.set_particular_dir(row.key, None)?;
            self.tx.set_clean_listing(row.key, None)?;
            if !row.is_present() || row.name.is_inbox() {
                continue;
            }
            if is_wanted && !was_renamed {
                self.report.folders_missing.push(row.name.clone());
                continue;
            }
            let stamp = self.stamp()?;
            self.tx.set_folder_state(row.key, FolderState { stamp, present: false })?;
            self.report.folders_removed += 1;
            lost += u64::from(!was_renamed);
        }
        Ok(lost)
    }
}
