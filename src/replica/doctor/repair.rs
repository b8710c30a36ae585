//! The repair of a replica that has taken in what can't be true: from a peer, by a fault, or before it was refused.
//! What is to be done is decided by the model; here it is carried out, in one transaction.

use std::path::Path;

use super::BATCH;
use super::report::{Mending, MendingKind, Repaired};
use crate::bundle::JobLine;
use crate::error::Result;
use crate::model::{Anew, Clock, Contents, Cut, CutWhy, Damage, FolderState, Repair, Stamp, Standpoint};
use crate::replica::Replica;
use crate::replica::safety::{DryRun, MassDelete};
use crate::replica::scan::{Depth, Purpose, ScanOptions};
use crate::replica::transaction::Transaction;
use crate::state::{Action, By, EntryRow, Job, StatementKind};
use crate::text::plural;

/// How to repair.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepairOptions {
    /// Whether to do it, or to tell what would be done.
    pub dry_run: DryRun,
    /// Whether reading all files may find that much was removed.
    pub mass_delete: MassDelete,
}

impl Replica {
    /// Mends what can't be true in the state of this replica, and reads all its files: see [`Repair`]. `each` is told
    /// of every single thing. What is mended becomes a change of this replica's, which its next bundles carry.
    /// Repeated, it finds nothing to do.
    ///
    /// # Errors
    /// As for [`Replica::scan`]; then nothing was changed.
    pub fn repair(&self, options: &RepairOptions, each: &mut dyn FnMut(&Mending)) -> Result<Repaired> {
        self.compare_clocks()?;
        if options.dry_run == DryRun::No {
            let tx = self.begin()?;
            tx.set_leftovers(true)?;
            tx.commit()?;
        }
        let tx = self.begin()?;
        // What follows is found by it.
        let derived = tx.mend_derived()?.count();
        let repair = Repair::plan(&self.standpoint()?);
        let done = Repaired { derived, ..Repaired::default() };
        let mut mender = Mender { replica: self, tx: &tx, repair, stamp: None, each, done };
        if derived > 0 {
            let what = format!("{} beside the entries did not follow from them", plural(derived, "value"));
            mender.tell(MendingKind::Derived, what);
        }
        mender.mend_knowledge()?;
        mender.mend_entries()?;
        mender.mend_folders()?;
        mender.mend_jobs()?;
        let scan = ScanOptions { depth: Depth::Contents, mass_delete: options.mass_delete, ..ScanOptions::default() };
        mender.done.scan = self.scan_within(&tx, &scan, Purpose::Repair)?;
        mender.done.contents = self.recover_missing(&tx, options.dry_run, &mut |_, _| Ok(()))?;
        mender.mend_digest()?;
        let done = mender.done;
        if options.dry_run == DryRun::No {
            if done.has_changes() {
                tx.record(self.now(), Action::Doctor, None, &format!("repair: {done}"))?;
            }
            tx.commit()?;
            self.materialise()?;
        }
        Ok(done)
    }

    /// What this replica says that it knows, and who vouches for it.
    fn standpoint(&self) -> Result<Standpoint> {
        let (state, wall, peers) = (&self.state, self.wall_clock(), self.state.neighbours()?);
        let is_peer = |id| peers.iter().any(|peer| peer.id == id);
        let tellers = state.tellers()?.into_iter().filter(|(_, id)| !is_peer(*id));
        Ok(Standpoint {
            me: state.incarnation()?,
            issued: state.newest_issued_after(Clock::ZERO, 1)?.pop().unwrap_or_default(),
            disowned: peers.iter().any(|peer| peer.disowns),
            wall,
            knowledge: state.knowledge()?,
            horizon: state.horizon()?,
            held: state.newest_held(Repair::last_kept(wall))?,
            told_by_nobody: tellers.map(|(incarnation, _)| incarnation).collect(),
            shown: peers.into_iter().filter_map(|peer| peer.standing.shown).collect(),
        })
    }
}

/// A repair under way.
struct Mender<'r> {
    replica: &'r Replica,
    tx: &'r Transaction<'r>,
    repair: Repair,
    /// The one stamp of all that is stamped anew.
    stamp: Option<Stamp>,
    each: &'r mut dyn FnMut(&Mending),
    done: Repaired,
}

impl Mender<'_> {
    fn tell(&mut self, kind: MendingKind, what: String) {
        (self.each)(&Mending { kind, what });
    }

    fn fresh(&mut self) -> Result<Stamp> {
        if let Some(stamp) = self.stamp {
            return Ok(stamp);
        }
        Ok(*self.stamp.insert(self.tx.issue(self.replica.now())?))
    }

    /// What is known and forgotten, and the identity.
    fn mend_knowledge(&mut self) -> Result<()> {
        for cut in self.repair.known.clone() {
            self.done.knowledge += 1;
            self.tell(MendingKind::Knowledge, known(&cut));
        }
        for cut in self.repair.forgotten.clone() {
            self.done.horizon += 1;
            self.tell(MendingKind::Horizon, known(&cut));
        }
        self.tx.set_knowledge(&self.repair.knowledge)?;
        self.tx.set_horizon(&self.repair.horizon)?;
        if let Some(why) = self.repair.anew {
            let changed = self.replica.new_identity_within(self.tx)?;
            self.done.new_identity = true;
            self.done.entries += changed.entries;
            self.done.folders += changed.folders;
            let why = match why {
                Anew::Ahead => "changes made here are dated more than a day ahead of this machine's clock",
                Anew::NotIssued => "the state doesn't know what this replica has issued",
                Anew::Disowned => "peers know of changes made here that this replica never made",
            };
            self.tell(MendingKind::Identity, why.to_owned());
        }
        self.replica.recognise_home_within(self.tx)?;
        let knowledge = self.replica.state.knowledge()?;
        self.repair = self.repair.clone().with_knowledge(&knowledge);
        Ok(())
    }

    fn mend_entries(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let batch = self.replica.state.entry_batch(after, BATCH)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(last.key);
            for row in batch {
                if let Some(damage) = self.repair.damage(&row.entry, row.at.is_some()) {
                    self.mend_entry(row, &damage)?;
                }
            }
        }
    }

    fn mend_entry(&mut self, row: EntryRow, damage: &Damage) -> Result<()> {
        let contents = if row.at.is_some() {
            Contents::InPlace
        } else if self.replica.find_contents(&row.id.digest, Path::new(""))?.is_some() {
            Contents::Here
        } else {
            Contents::Nowhere
        };
        let fresh = self.fresh()?;
        let entry = self.repair.mended(&row.entry, contents, fresh);
        let revived = entry.alive() && !row.entry.alive();
        let why = match damage {
            Damage::Untrue(untrue) => untrue.to_string(),
            Damage::DeadInPlace => String::from("it was removed, and its file is there"),
        };
        let what = format!("message {} in {}: {why}", row.id.digest, row.entry.location.1);
        self.tx.update_entry(&row, &entry)?;
        let row = EntryRow { entry, ..row };
        if row.at.is_some() {
            self.replica.decide_move(self.tx, &row, &By::Here)?;
        } else if revived {
            self.tx.add_missing(row.key)?;
        }
        let (count, kind) = if revived {
            (&mut self.done.revived, MendingKind::Revived)
        } else {
            (&mut self.done.entries, MendingKind::Entry)
        };
        *count += 1;
        self.tell(kind, what);
        Ok(())
    }

    fn mend_folders(&mut self) -> Result<()> {
        for row in self.replica.state.all_folders() {
            let Some(state) = row.state else { continue };
            if let Some(untrue) = self.repair.folder(state) {
                let stamp = self.fresh()?;
                self.tx.set_folder_state(row.key, FolderState { stamp, ..state })?;
                self.done.folders += 1;
                self.tell(MendingKind::Folder, format!("folder {}: {untrue}", row.name));
            }
        }
        Ok(())
    }

    /// Jobs that concern nobody here go; what is said about the others is stamped anew.
    fn mend_jobs(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let batch = self.replica.state.job_batch(after, BATCH)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some((last.made, last.key));
            for job in batch {
                if self.replica.concerns(&job.requester, &job.target)? {
                    self.mend_statements(&job)?;
                } else {
                    self.replica.forget(self.tx, &job)?;
                    self.done.jobs += 1;
                    let what = "nobody here knows both who asks for it and who is to run it";
                    self.tell(MendingKind::Job, format!("job {}: {what}", job.id));
                }
            }
        }
    }

    fn mend_statements(&mut self, job: &Job) -> Result<()> {
        for kind in [StatementKind::Request, StatementKind::Cancel, StatementKind::Report] {
            let Some(line) = self.replica.state.statement(job.key, kind)? else { continue };
            if let Some(untrue) = self.repair.statement(line.stamp) {
                let stamp = self.fresh()?;
                self.tx.set_statement(job.key, kind, &JobLine { stamp, ..line })?;
                self.done.statements += 1;
                self.tell(MendingKind::Statement, format!("job {}: {untrue}", job.id));
            }
        }
        Ok(())
    }

    fn mend_digest(&mut self) -> Result<()> {
        let digest = self.replica.state.digest_from_scratch()?;
        if digest != self.replica.state.digest() {
            self.tx.set_digest(digest);
            self.done.state_digest = true;
            self.tell(MendingKind::StateDigest, String::from("it was not that of what is here"));
        }
        Ok(())
    }
}

fn known(cut: &Cut) -> String {
    let why = match cut.why {
        CutWhy::Ahead => "is more than a day ahead of this machine's clock, or beyond the last one",
        CutWhy::OnlyTold => "was told by a replica that is no peer any more, and no peer has shown it",
        CutWhy::NotIssued => "is not what this replica has issued",
        CutWhy::ForgottenUnknown => "is more than is known",
    };
    format!("incarnation {}: {} {why}; it is {} from here on", cut.incarnation, cut.from, cut.to)
}
