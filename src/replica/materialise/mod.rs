//! Materialising: the disk is made to follow the state.
//!
//! Each change is first decided and committed ([`Replica::decide_move`]), then done ([`Replica::materialise`]), then
//! committed as done. Every step can be repeated: a step that was done already is recognised. Nothing is overwritten,
//! and nothing is removed that isn't in the trash first. A file that somebody else has changed meanwhile is left to the
//! next scan.

mod decide;
mod durable;
mod files;
mod folders;
mod leftovers;
mod relocate;
mod work;

pub(super) use work::DiskWork;

use crate::error::Result;
use crate::model::WallClock;
use crate::replica::Replica;
use crate::state::{EntryRow, Pending};

/// This many pending entries are read from the state at a time.
const BATCH: u32 = 512;

impl Replica {
    /// Does all pending work on disk, and records it as done.
    ///
    /// # Errors
    /// Something could not be done, for example in a folder without permission. Everything else was done, and the next
    /// command tries the rest again.
    pub(in crate::replica) fn materialise(&self) -> Result<()> {
        let mut progress = DiskWork::default();
        self.make_folders(&mut progress)?;
        // New folders become durable first: a power cut could otherwise lose a folder with the mail just moved into it.
        self.sync_dirs(&std::mem::take(&mut progress.touched))?;
        let mut after = None;
        loop {
            let batch = self.state.pending_batch(after, BATCH)?;
            let Some((last, _)) = batch.last() else { break };
            after = Some(last.key);
            for (row, pending) in batch {
                if let Err(error) = self.carry_out(&row, &pending, &mut progress) {
                    progress.fail(error)?;
                    progress.undone.push((row.key, pending));
                }
            }
        }
        let mut after = 0;
        loop {
            let batch = self.state.discard_batch(after, BATCH)?;
            let Some(last) = batch.last() else { break };
            after = last.key;
            for discard in batch {
                match self.discard(&discard, &mut progress) {
                    Ok(file) => progress.trashed.push((discard, file)),
                    Err(error) => progress.fail(error)?,
                }
            }
        }
        self.remove_folders(&mut progress)?;
        self.sync_dirs(&progress.touched)?;
        let problem = progress.problem();
        self.record_done(progress)?;
        problem.map_or(Ok(()), Err)
    }

    fn record_done(&self, progress: DiskWork) -> Result<()> {
        let leftovers = self.state.leftovers()?;
        if !leftovers
            && self.state.count_pending()? == 0
            && progress.folders_made.is_empty()
            && progress.folders_removed.is_empty()
            && progress.trashed.is_empty()
        {
            return Ok(());
        }
        let tx = self.begin()?;
        for key in progress.folders_made {
            tx.set_folder_on_disk(key, true)?;
        }
        for key in progress.folders_removed {
            tx.set_folder_on_disk(key, false)?;
        }
        for (key, place) in progress.renamed {
            tx.set_place(key, Some(&place))?;
        }
        for key in progress.lost {
            tx.set_place(key, None)?;
            tx.add_missing(key)?;
        }
        for (key, place) in progress.disturbed {
            tx.set_place(key, Some(&place))?;
            tx.set_pending(key, &Pending::Reconsider)?;
            // The next scan lists the folder, whatever its times say.
            tx.set_clean_listing(place.folder, None)?;
        }
        let date = self.date_of_removal()?;
        for (discard, file) in progress.trashed {
            if let Some(file) = file {
                let folder = self.state.folder_row(discard.at.folder)?.name.clone();
                tx.add_trash(&file, &discard, &folder, date)?;
            }
            tx.remove_discard(discard.key)?;
        }
        tx.clear_done()?;
        for (key, pending) in &progress.undone {
            tx.set_pending(*key, pending)?;
        }
        // The changes that are left to do still need the files in tmp/.
        if leftovers && progress.undone.is_empty() {
            tx.set_leftovers(false)?;
        }
        tx.commit()
    }

    fn carry_out(&self, row: &EntryRow, pending: &Pending, progress: &mut DiskWork) -> Result<()> {
        let Some(at) = row.at.clone() else { return Ok(()) };
        match pending {
            Pending::Reconsider => Ok(()),
            Pending::Await | Pending::Deliver => self.deliver_file(row, at, progress),
            Pending::Move(from) => self.move_file(row, from, &at, progress),
        }
    }

    /// From when on the trash keeps what is removed now: the latest change that is known, if that is after now, but no
    /// more than a day ahead. A purge mends what was dated by a clock that was wrong.
    fn date_of_removal(&self) -> Result<u64> {
        let (now, newest) = (self.now(), self.state.knowledge()?.newest().millis());
        Ok(newest.clamp(now, now.saturating_add(WallClock::MOST_AHEAD)))
    }
}
