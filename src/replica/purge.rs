//! `purge`: forgets things that nobody needs any more.

use super::tally::Tally;
use super::{Doubts, Replica};
use crate::disk::remove_if_there;
use crate::error::{Error, Result};
use crate::model::{Knowledge, PassesOver, Stamp, WallClock, purgeable, purgeable_folder};
use crate::state::{Action, EntryKey};
use crate::text::{bytes, local_time, plural};

/// This many rows are looked at in one go.
const BATCH: u32 = 512;
const DAY: u64 = 24 * 60 * 60 * 1000;

/// The report about a purge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Tombstones that every peer has.
    pub tombstones: u64,
    /// Tombstones that some peer has not shown to have.
    pub tombstones_kept: u64,
    /// Registers of folders that were removed, as every peer knows.
    pub folders: u64,
    /// Messages in the trash.
    pub trashed: u64,
    /// Their bytes.
    pub trashed_bytes: u64,
    /// Lines of the history, and of that of messages.
    pub history: u64,
    /// Finished jobs.
    pub jobs: u64,
}

impl Replica {
    /// Forgets tombstones and folders that were removed, as far as every peer has shown to know of it, what has been in
    /// the trash for long enough and has no tombstone any more, jobs that have been finished for long enough and of
    /// which every peer has heard, or that were asked for by a replica that was revoked, jobs that don't concern this
    /// replica any more, and old history. The days are the configuration's. As long as nobody knows what time it is,
    /// nothing goes by its age; `doubts` says whether a person has looked at a clock that is in doubt.
    ///
    /// # Errors
    /// The state or the disk can't be read or written.
    pub fn purge(&self, doubts: Doubts) -> Result<Purged> {
        let mut purged = Purged::default();
        self.purge_tombstones(&mut purged)?;
        let wall = self.wall_clock();
        let wrong = self.what_forbids_ages(wall, doubts)?;
        match &wrong {
            None => {
                self.mend_dates(wall)?;
                self.purge_trash(&mut purged)?;
                self.purge_jobs(&mut purged)?;
            }
            Some(words) => self.note(words),
        }
        let tx = self.begin()?;
        if wrong.is_none() {
            // By now a person has said so.
            if self.clock_doubt()?.is_some() {
                tx.confirm_clock(wall.0)?;
            }
            let before = wall.0.saturating_sub(u64::from(self.config.history_days) * DAY);
            purged.history = tx.purge_history(before)? + tx.purge_happenings(before)?;
        }
        if purged.tombstones + purged.folders + purged.trashed + purged.history + purged.jobs > 0 {
            tx.record(self.now(), Action::Purge, None, &purged.to_string())?;
        }
        tx.commit()?;
        Ok(purged)
    }

    /// Why nothing may be taken for old by this clock, if that is so: there is none, it has gone on by weeks since it was
    /// looked at last, or it is ahead of those of all peers.
    fn what_forbids_ages(&self, wall: WallClock, doubts: Doubts) -> Result<Option<String>> {
        const NOTHING: &str = "nothing is purged by its age";
        if !wall.is_set() {
            return Ok(Some(format!(
                "the clock of this machine says a time when there was no mailsync yet: {NOTHING} until it is set"
            )));
        }
        if doubts == Doubts::Overrule {
            return Ok(None);
        }
        let forced = "if it is right, run `mailsync purge --anyway`";
        let doubt = self.clock_doubt()?;
        if let Some(since) = doubt {
            if doubt != self.state.clock_doubted()? {
                let tx = self.begin()?;
                tx.set_clock_doubted(doubt)?;
                tx.commit()?;
            }
            let days = plural((wall.0 - since) / DAY, "day");
            return Ok(Some(format!(
                "the clock of this machine has gone on by {days} since {}, when the mail was scanned last: {NOTHING} until a peer's bundle shows that it is right; set it if it is wrong; {forced}",
                local_time(since)
            )));
        }
        Ok(self.ahead_of_all_peers()?.then(|| {
            format!(
                "the clock of this machine is ahead of that of every peer: {NOTHING}; set it if it is wrong; {forced}"
            )
        }))
    }

    /// What was dated by a clock that was wrong counts as done today: so it is neither purged at once, nor kept for
    /// ever.
    fn mend_dates(&self, wall: WallClock) -> Result<()> {
        let (from, to) = (WallClock::PROGRAM.0, wall.0.saturating_add(WallClock::MOST_AHEAD));
        let tx = self.begin()?;
        let trashed = tx.date_trash_anew(from, to, wall.0)?;
        tx.date_history_anew(from, to, wall.0)?;
        tx.date_occasions_anew(from, to, wall.0)?;
        tx.date_jobs_anew(from, to, wall.0)?;
        if trashed > 0 {
            self.note(format!(
                "{} in the trash came there when the clock of this machine was wrong, and will be kept from today on",
                plural(trashed, "message")
            ));
        }
        tx.commit()
    }

    /// The knowledge that each neighbour and each invited replica has shown.
    pub(super) fn shown_by_all(&self) -> Result<Vec<Knowledge>> {
        Ok(self.all_shown()?.into_iter().map(|(shown, _)| shown).collect())
    }

    /// The same, with what each passes over.
    fn all_shown(&self) -> Result<Vec<(Knowledge, PassesOver)>> {
        let peers = self.neighbours()?.into_iter();
        let peers = peers.map(|peer| (peer.standing.shown.unwrap_or_default(), peer.passes_over));
        let invited = self.open_invitations()?.into_iter().map(|invited| (invited.shown, PassesOver::default()));
        Ok(peers.chain(invited).collect())
    }

    /// A job that was by this replica or for it leaves its id behind: it is never taken for a new one.
    fn purge_jobs(&self, purged: &mut Purged) -> Result<()> {
        let wall = self.wall_clock();
        let before = wall.0.saturating_sub(u64::from(self.config.jobs_days) * DAY);
        let me = self.public_key().id();
        let (shown, out) = (self.shown_by_all()?, self.shut_outs()?);
        let mut after = None;
        loop {
            let batch = self.state.job_batch(after, BATCH)?;
            let Some(last) = batch.last() else { break };
            after = Some((last.made, last.key));
            let tx = self.begin()?;
            for job in batch {
                // If a job was cancelled and its target has not reported on it, it is over for everybody but the
                // target.
                let cancelled = if job.target == me { None } else { self.cancelled_at(&job)? };
                // The requester's clock may be wrong: by a date that can't be, the job is over as well.
                let taken_back = |since| since <= before || !wall.can_date(since);
                // Nobody waits for what becomes of a job of a replica that was revoked: whoever hears of that passes it over.
                let shut_out = out.get(&job.requester).filter(|_| !self.is_me(&job.requester));
                let since_heard = shut_out.and_then(|out| out.by.iter().map(|heard| heard.heard).min());
                let passed_on = since_heard.is_some_and(|heard| job.target != me && taken_back(heard));
                let over = job
                    .final_since
                    .map_or_else(|| cancelled.is_some_and(taken_back) || passed_on, |since| since <= before);
                let known = |stamp: &Stamp| shut_out.is_some() || shown.iter().all(|shown| shown.covers(*stamp));
                // What is passed on for those whom nobody here knows (any more) is nobody's business.
                let concerns = self.concerns(&job.requester, &job.target)?;
                if concerns && (!over || !self.state.statement_stamps(job.key)?.iter().all(known)) {
                    continue;
                }
                self.forget(&tx, &job)?;
                purged.jobs += 1;
            }
            tx.commit()?;
        }
        self.sweep_outbox()?;
        self.sweep_attachments()
    }

    fn purge_tombstones(&self, purged: &mut Purged) -> Result<()> {
        let tx = self.begin()?;
        Tally::end_old(&tx, self.now())?;
        let (shown, caps) = (self.all_shown()?, self.caps(&self.state.knowledge()?)?);
        let mut horizon = self.state.horizon()?;
        let mut after: Option<EntryKey> = None;
        loop {
            let batch = self.state.tombstone_batch(after, BATCH)?;
            let Some(last) = batch.last() else { break };
            after = Some(last.key);
            for row in batch {
                if !purgeable(&row.entry, &caps, shown.iter()) {
                    purged.tombstones_kept += 1;
                    continue;
                }
                row.entry.stamps().filter(|&stamp| stamp != Stamp::ZERO).for_each(|stamp| horizon.learn(stamp));
                tx.delete_entry(&row)?;
                purged.tombstones += 1;
            }
        }
        for row in self.state.all_folders() {
            if let Some(state) =
                row.state.filter(|state| purgeable_folder(*state, shown.iter().map(|(shown, _)| shown)))
            {
                horizon.learn(state.stamp);
                tx.forget_folder_state(row.key)?;
                purged.folders += 1;
            }
        }
        tx.forget_unused_folders()?;
        if purged.tombstones + purged.folders > 0 {
            tx.set_horizon(&horizon)?;
        }
        tx.commit()
    }

    /// Purges the trash. Each file is removed before its record. A file that is gone already is no obstacle.
    fn purge_trash(&self, purged: &mut Purged) -> Result<()> {
        let before = self.now().saturating_sub(u64::from(self.config.trash_days) * DAY);
        let mut after = 0;
        loop {
            let batch = self.state.trash_batch(after, BATCH)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = last.key;
            let tx = self.begin()?;
            for trashed in batch {
                let tombstone = self.state.entry_by_id(&trashed.id)?.is_some_and(|row| !row.entry.alive());
                // The message may still be needed: a living entry may lack its contents, which are nowhere else.
                let needed = !self.state.missing_of(&trashed.id.digest)?.is_empty();
                if trashed.removed > before || tombstone || needed {
                    continue;
                }
                let file = self.trash_file(&trashed);
                remove_if_there(self.world.disk.unlink(&file))
                    .map_err(|error| Error::io("removing", &file, error).advise("run this again"))?;
                tx.remove_trash(trashed.key)?;
                purged.trashed += 1;
                purged.trashed_bytes += trashed.size;
            }
            tx.commit()?;
        }
    }
}

impl std::fmt::Display for Purged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} that every peer knows of ({} still needed)",
            plural(self.tombstones, "removal"),
            self.tombstones_kept
        )?;
        if self.folders > 0 {
            write!(f, ", {}", plural(self.folders, "removed folder"))?;
        }
        write!(
            f,
            ", {} in the trash ({}), {}, {} of history",
            plural(self.trashed, "message"),
            bytes(self.trashed_bytes),
            plural(self.jobs, "job"),
            plural(self.history, "line")
        )
    }
}
