//! `deinit`: a replica is one no more. Its mail stays as it is; configuration, keys and state go.
//!
//! All that can be refused is refused first, and what is to be kept elsewhere is there, durably, before a file beside the
//! configuration says that it is decided. From then on no command works with the replica but this one, which goes on
//! where an interrupted one has ended.

mod carry;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use carry::Left;
use carry::{Leaving, carry_out, jobs_lock};

use super::safety::{DryRun, MassDelete};
use super::status::Unseen;
use super::trash::{BroughtBack, TrashOptions};
use super::{Home, Replica, ScanOptions, World};
use crate::disk::is_there;
use crate::error::{Error, Result};
use crate::model::Knowledge;
use crate::state::Totals;
use crate::text::{bytes, plural};

/// So many messages of the trash are counted in one go.
const BATCH: u32 = 512;

/// What becomes of the trash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TrashFate {
    /// It stays, under another name in the state directory, as plain files.
    #[default]
    Kept,
    /// Its messages move into this directory, as plain files.
    MovedTo(PathBuf),
    /// Its messages are removed for good.
    Removed,
}

/// Whether it may happen that something is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Losing {
    /// It is refused.
    #[default]
    Refuse,
    /// The person has read what would be lost.
    Allow,
}

/// How a replica becomes none.
#[derive(Clone, Debug, Default)]
pub struct LeaveOptions {
    /// What becomes of the trash.
    pub trash: TrashFate,
    /// Whether what nobody else has may be lost.
    pub losing: Losing,
    /// Whether to do it, or to tell what would be done.
    pub dry_run: DryRun,
    /// How long to wait for running jobs.
    pub lock_timeout: Duration,
}

/// What goes when a replica becomes none, and what others lack of it.
#[derive(Clone, Debug, Default)]
pub struct LeavePlan {
    /// What is alive and here, and stays.
    pub totals: Totals,
    /// How many messages are in the trash.
    pub trashed: u64,
    /// Their bytes.
    pub trashed_bytes: u64,
    /// Former keys, which go with the present one.
    pub former_keys: u64,
    /// The peers with which bundles are exchanged, sorted by name, and what each has not shown to know.
    pub peers: Vec<(String, Unseen)>,
    /// The peers of which only jobs come, sorted by name.
    pub distant: Vec<String>,
    /// Who was invited and has not answered, sorted by name.
    pub invited: Vec<String>,
    /// What none of the peers has shown to know.
    pub unseen: Unseen,
    /// Jobs for this replica, or by it, that are not over.
    pub open_jobs: u64,
    /// Folders in which something that came from others is still to be done.
    pub undone: u64,
    /// Whether the join that made it is not complete.
    pub joining: bool,
    /// Why it could not be found out what has changed in the mail.
    pub unlooked: Option<Error>,
}

impl LeavePlan {
    /// What would be lost, in words for people.
    pub fn losses(&self) -> Vec<String> {
        let Unseen { entries, bytes: size, jobs, .. } = self.unseen;
        let unseen = (entries > 0).then(|| {
            format!("no peer has shown to know what was changed here of {} ({})", plural(entries, "entry"), bytes(size))
        });
        let jobs =
            (jobs > 0).then(|| format!("no peer has shown to know what is said here about {}", plural(jobs, "job")));
        let undone = (self.undone > 0).then(|| {
            let folders = plural(self.undone, "folder");
            format!("what came from others is still to be done in {folders}, and messages may wait for that")
        });
        let joining = self
            .joining
            .then(|| String::from("its join is not complete, and a message that it has begun to write may be cut off"));
        let unlooked = self
            .unlooked
            .as_ref()
            .map(|error| format!("what has changed in the mail root could not be found out ({error})"));
        [unseen, jobs, undone, joining, unlooked].into_iter().flatten().collect()
    }

    /// Nothing may be lost of which the person has not said so.
    ///
    /// # Errors
    /// Something would be.
    pub fn check(&self, losing: Losing) -> Result<()> {
        let losses = self.losses();
        if losses.is_empty() || losing == Losing::Allow {
            return Ok(());
        }
        let advice = if self.joining {
            "repeat the join, or give --anyway"
        } else if self.undone > 0 || self.unlooked.is_some() {
            "see to that, or give --anyway"
        } else {
            "export for a peer, import its answer here, and run this again; or give --anyway"
        };
        Err(Error::refused(format!("making this replica none: {}", losses.join("; and "))).advise(advice))
    }
}

impl Replica {
    /// Ends what an interrupted command has begun, if there is such a one: it was decided then what becomes of the trash.
    /// In a dry run it is only found out.
    ///
    /// # Errors
    /// Another command is working on it, or something can't be removed; then this can be repeated.
    pub fn end_leaving(home: &Home, world: &World, dry_run: DryRun, lock_timeout: Duration) -> Result<Option<Left>> {
        let disk = &*world.disk;
        if !is_there(disk, &home.leaving_file())? {
            return Ok(None);
        }
        home.check_private(disk)?;
        if dry_run == DryRun::Yes {
            return Ok(Some(Left::default()));
        }
        let leaving = Leaving::read(disk, home)?;
        super::private::make_dir(disk, home.state_dir())
            .map_err(|error| Error::io("making the directory", home.state_dir(), error).advise(carry::AGAIN))?;
        let _locks = (home.lock(disk, lock_timeout)?, jobs_lock(disk, home, lock_timeout)?);
        // The one that was interrupted may have gone on meanwhile.
        if !is_there(disk, &home.leaving_file())? {
            return Ok(None);
        }
        carry_out(disk, home, &leaving).map(Some)
    }

    /// Finds out what goes when this replica becomes none, and what others lack of it. What was decided before is done
    /// first, where that can be.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn plan_to_leave(&self) -> Result<LeavePlan> {
        let mut plan = LeavePlan { joining: self.state.joining()?.is_some(), ..LeavePlan::default() };
        if !plan.joining {
            let done = self.check_root_is_known().and_then(|()| self.check_mail_root()).and_then(|()| self.roll_on());
            plan.unlooked = done.err();
        }
        plan.undone = self.state.folders_with_deliveries()?.len() as u64;
        plan.totals = self.state.totals();
        let mut after = 0;
        loop {
            let batch = self.state.trash_batch(after, BATCH)?;
            let Some(last) = batch.last() else { break };
            after = last.key;
            plan.trashed += batch.len() as u64;
            plan.trashed_bytes += batch.iter().map(|trashed| trashed.size).sum::<u64>();
        }
        plan.former_keys = self.former_keys().len() as u64;
        plan.distant = self.peers()?.into_iter().filter(|peer| peer.distant).map(|peer| peer.name).collect();
        plan.invited = self.open_invitations()?.into_iter().map(|invited| invited.name).collect();
        let jobs = self.count_jobs()?;
        plan.open_jobs = jobs.queued + jobs.running;
        self.rehearse(|| self.find_unseen(&mut plan))?;
        // Nobody else knows yet of a job that no command has taken into the state.
        plan.unseen.jobs += self.count_posted()?;
        Ok(plan)
    }

    /// Finds out what the peers have not shown to know, with what has changed on disk.
    fn find_unseen(&self, plan: &mut LeavePlan) -> Result<()> {
        let out = self.shut_outs()?;
        let mut peers = self.state.neighbours()?;
        peers.retain(|peer| out.get(&peer.id).is_none());
        // Without a peer nobody lacks anything. What a first scan or a join has not ended has changed nothing.
        if peers.is_empty() || plan.joining || self.state.initial_scan_due()? {
            return Ok(());
        }
        if plan.unlooked.is_none() {
            let options = ScanOptions { mass_delete: MassDelete::Allow, ..ScanOptions::default() };
            plan.unlooked = self.scan(&options).map_or_else(Some, |report| report.problems.into_iter().next());
        }
        let mut known = Knowledge::default();
        for peer in peers {
            let shown = peer.standing.shown.unwrap_or_default();
            plan.peers.push((peer.name, self.unseen_by(&shown, &peer.passes_over)?));
            known.join(&shown);
        }
        plan.unseen = self.unseen(&known)?;
        Ok(())
    }

    /// Makes this replica none. Nothing of the mail is touched, but for the file that says whose it is.
    ///
    /// # Errors
    /// Something would be lost; jobs are running; or something can't be written or removed: then this can be repeated.
    pub fn leave(self, plan: &LeavePlan, options: &LeaveOptions) -> Result<Left> {
        plan.check(options.losing)?;
        let copied = match &options.trash {
            TrashFate::MovedTo(dir) => self.move_trash(dir, options.dry_run)?,
            TrashFate::Kept | TrashFate::Removed => BroughtBack::default(),
        };
        if options.dry_run == DryRun::Yes {
            return Ok(Left { copied, ..Left::default() });
        }
        let Self { home, config, state, world, lock, .. } = self;
        let disk = &*world.disk;
        let _locks = (lock, jobs_lock(disk, &home, options.lock_timeout)?);
        let leaving = Leaving::decide(disk, &home, &config.mail_root, options.trash != TrashFate::Kept)?;
        leaving.write(disk, &home)?;
        drop(state);
        Ok(Left { copied, ..carry_out(disk, &home, &leaving)? })
    }

    /// Copies the trash into a directory, durably: all of it, or it is an error.
    fn move_trash(&self, dir: &Path, dry_run: DryRun) -> Result<BroughtBack> {
        let all = TrashOptions { dry_run, ..TrashOptions::default() };
        let copied = self.copy_trashed(&all, dir, &mut |_| Ok(()))?;
        match self.drain_problems().into_iter().next() {
            Some(error) => Err(error.about("moving the trash, of which nothing was removed")),
            None => Ok(copied),
        }
    }
}
