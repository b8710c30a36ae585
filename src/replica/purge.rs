//! Purging: forgetting what nobody needs any more.

use serde::Serialize;

use super::Replica;
use crate::disk::remove_if_there;
use crate::error::{Error, Result};
use crate::model::{Knowledge, Stamp, purgeable};
use crate::state::EntryKey;
use crate::text::plural;

/// How much is looked at in one go.
const BATCH: u32 = 512;
const DAY: u64 = 24 * 60 * 60 * 1000;

/// What was purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// Tombstones that every peer has.
    pub tombstones: u64,
    /// Tombstones that some peer has not shown to have.
    pub tombstones_kept: u64,
    /// Messages in the trash.
    pub trashed: u64,
    /// Their bytes.
    pub trashed_bytes: u64,
    /// Lines of the history.
    pub history: u64,
    /// Finished jobs.
    pub jobs: u64,
}

impl Replica {
    /// Forgets tombstones that every peer has shown to have, what has been in the trash for long enough and has no tombstone
    /// any more, jobs that have been finished for long enough and of which every peer has heard, and old history. The days are
    /// the configuration's.
    pub fn purge(&self) -> Result<Purged> {
        let mut purged = Purged::default();
        self.purge_tombstones(&mut purged)?;
        self.purge_trash(&mut purged)?;
        self.purge_jobs(&mut purged)?;
        let tx = self.begin()?;
        let before = self.now().saturating_sub(u64::from(self.config.history_days) * DAY);
        purged.history = tx.purge_history(before)?;
        if purged.tombstones + purged.trashed + purged.history + purged.jobs > 0 {
            tx.record(self.now(), "purge", None, &purged.to_string())?;
        }
        tx.commit()?;
        Ok(purged)
    }

    /// What each replica with which bundles are exchanged has shown to know.
    fn shown_by_all(&self) -> Result<Vec<Knowledge>> {
        let peers = self.state.neighbours()?.into_iter().map(|peer| peer.standing.shown.unwrap_or_default());
        let invited = self.open_invitations()?.into_iter().map(|invited| invited.shown);
        Ok(peers.chain(invited).collect())
    }

    /// A job that was for this replica leaves its id behind: it is never taken for a new one.
    fn purge_jobs(&self, purged: &mut Purged) -> Result<()> {
        let before = self.now().saturating_sub(u64::from(self.config.jobs_days) * DAY);
        let me = self.public_key().id();
        let shown = self.shown_by_all()?;
        let mut after = None;
        loop {
            let batch = self.state.job_batch(after, BATCH)?;
            let Some(last) = batch.last() else { break };
            after = Some((last.made, last.key));
            let tx = self.begin()?;
            for job in batch {
                // A job that was taken back, and that its target has not reported on, is over for everybody but the target.
                let cancelled = if job.target == me { None } else { self.cancelled_at(&job)? };
                let over = job.final_since.or(cancelled).is_some_and(|since| since <= before);
                let known = |stamp: &Stamp| shown.iter().all(|shown| shown.covers(*stamp));
                if !over || !self.state.statement_stamps(job.key)?.iter().all(known) {
                    continue;
                }
                for digest in self.state.attachments_of(job.key)? {
                    tx.drop_attachment(job.key, &digest)?;
                }
                tx.forget_job(&job, job.target == me || job.requester == me)?;
                purged.jobs += 1;
            }
            tx.commit()?;
        }
        self.sweep_attachments()
    }

    fn purge_tombstones(&self, purged: &mut Purged) -> Result<()> {
        let tx = self.begin()?;
        let shown = self.shown_by_all()?;
        let mut horizon = self.state.horizon()?;
        let mut after: Option<EntryKey> = None;
        loop {
            let batch = self.state.tombstone_batch(after, BATCH)?;
            let Some(last) = batch.last() else { break };
            after = Some(last.key);
            for row in batch {
                if !purgeable(&row.entry, shown.iter()) {
                    purged.tombstones_kept += 1;
                    continue;
                }
                row.entry.stamps().filter(|&stamp| stamp != Stamp::ZERO).for_each(|stamp| horizon.learn(stamp));
                tx.delete_entry(&row)?;
                purged.tombstones += 1;
            }
        }
        if purged.tombstones > 0 {
            tx.set_horizon(&horizon)?;
        }
        tx.commit()
    }

    /// Each file goes before its record does: one that is gone already is no obstacle.
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
                // A peer may still ask for it: an entry that is alive, and whose contents are nowhere else.
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
            "{}, {} in the trash ({}), {}, {} of history",
            plural(self.tombstones, "tombstone"),
            plural(self.trashed, "message"),
            plural(self.trashed_bytes, "byte"),
            plural(self.jobs, "job"),
            plural(self.history, "line")
        )
    }
}
