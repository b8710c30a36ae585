//! Materialising: the disk is made to follow the state.
//!
//! Each change is first decided and committed ([`Replica::decide_move`]), then done ([`Replica::materialise`]), then
//! committed as done. Every step can be repeated: a step that was done already is recognised. Nothing is overwritten,
//! and nothing is removed that isn't in the trash first. A file that somebody else has changed meanwhile is left to the
//! next scan.

mod ahead;
mod decide;
mod durable;
mod files;
mod folders;
mod held;
mod keywords;
mod leftovers;
mod quota;
mod relocate;
mod work;

pub(super) use held::Held;
pub(super) use work::DiskWork;

use crate::error::{Error, Result};
use crate::model::WallClock;
use crate::replica::Replica;
use crate::state::{EntryRow, Hindered, Pending};

/// This many discards are read from the state at a time.
const BATCH: u32 = 512;

impl Replica {
    /// Does all pending work on disk, and records it as done. What one place keeps from being done, such as a folder
    /// without permission, is left for the next command, and no reason to stop: [`Replica::hindrance`] tells of it.
    ///
    /// # Errors
    /// A disk or this machine has kept something from being done. All else was, unless nothing seems to work, and what
    /// is left is tried again by the next command.
    pub(in crate::replica) fn materialise(&self) -> Result<()> {
        let mut progress = DiskWork::default();
        self.state.clear_hindered()?;
        self.make_folders(&mut progress)?;
        // New folders become durable first: a power cut could otherwise lose a folder with the mail just moved into it.
        self.sync_dirs(&progress.touched.take())?;
        self.give_letters(&mut progress)?;
        self.carry_out_all(&mut progress)?;
        let mut after = 0;
        loop {
            let batch = self.state.discard_batch(after, BATCH)?;
            let Some(last) = batch.last() else { break };
            after = last.key;
            for discard in batch {
                match self.discard(&discard, &mut progress) {
                    Ok(file) => progress.trashed.push((discard, file)),
                    Err(error) => progress.fail(&self.state, Hindered::Discard(discard.key), &error)?,
                }
            }
        }
        self.remove_folders(&mut progress)?;
        let mut touched = progress.touched.take();
        if !progress.folders_removed.is_empty() {
            self.settle_names(&progress.folders_made, &mut touched)?;
        }
        self.sync_dirs(&touched)?;
        // Before it is recorded: an interruption has it done again.
        if progress.mail_came_or_went {
            self.recount_quota();
        }
        let failure = progress.failure();
        let hindrance = match progress.hindrance() {
            Some(error) => Some((error, self.state.count_newly_hindered()?)),
            None => None,
        };
        self.hindrance.replace(hindrance);
        let may_hold = self.state.leftovers()? || self.state.is_hindered()?;
        self.record_done(progress)?;
        if may_hold {
            self.sweep_held()?;
        }
        failure.map_or(Ok(()), Err)
    }

    /// What places on the disk have kept the latest command from doing, summed up. It is tried again by every command.
    pub fn hindrance(&self) -> Option<Error> {
        self.hindrance.borrow().as_ref().map(|(error, _)| error.clone())
    }

    /// How many changes of the latest command places on the disk have kept from being done, besides those that waited before.
    pub(super) fn newly_hindered(&self) -> u64 {
        self.hindrance.borrow().as_ref().map_or(0, |(_, newly)| *newly)
    }

    fn record_done(&self, progress: DiskWork) -> Result<()> {
        let leftovers = self.state.leftovers()?;
        if !leftovers
            && self.state.count_pending()? == 0
            && progress.folders_made.is_empty()
            && progress.folders_removed.is_empty()
            && progress.trashed.is_empty()
            && !self.state.is_hindered()?
        {
            return Ok(());
        }
        let tx = self.begin()?;
        let stopped = progress.failure().is_some();
        for key in progress.folders_made {
            tx.set_folder_on_disk(key, true)?;
        }
        for key in progress.folders_removed {
            tx.set_folder_on_disk(key, false)?;
            tx.set_particular_dir(key, None)?;
        }
        for (key, separator) in progress.separators {
            tx.set_separator(key, separator)?;
        }
        for (key, place) in progress.renamed {
            tx.set_place(key, Some(&place))?;
        }
        for key in progress.lost {
            tx.set_place(key, None)?;
            tx.add_missing(key)?;
        }
        tx.add_mislaid(&progress.mislaid)?;
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
        tx.record_hindered()?;
        // After a failure of a disk nobody knows how far a move came: it is tried again before anything else is done.
        if !stopped {
            tx.take_back_moves()?;
        }
        // The messages that are left to deliver still need their files in tmp/.
        if leftovers && self.state.folders_with_deliveries()?.is_empty() {
            tx.set_leftovers(false)?;
        }
        tx.commit()
    }

    fn carry_out(&self, row: &EntryRow, pending: &Pending, progress: &mut DiskWork) -> Result<()> {
        let Some(at) = row.at.clone() else { return Ok(()) };
        let lost = progress.lost.len();
        match pending {
            Pending::Reconsider => {}
            Pending::Await | Pending::Deliver => self.deliver_file(row, &at, at.clone(), progress)?,
            Pending::DeliverFrom(from) => self.deliver_file(row, from, at, progress)?,
            Pending::Move(from) => self.move_file(row, from, &at, progress)?,
        }
        if progress.lost.len() > lost && *pending != Pending::Await {
            progress.mislaid.push(row.key);
        }
        Ok(())
    }

    /// From when on the trash keeps what is removed now: the latest change that is known, if that is after now, but no
    /// more than a day ahead. A purge mends what was dated by a clock that was wrong.
    fn date_of_removal(&self) -> Result<u64> {
        let (now, newest) = (self.now(), self.state.knowledge()?.newest().millis());
        Ok(newest.clamp(now, now.saturating_add(WallClock::MOST_AHEAD)))
    }
}
