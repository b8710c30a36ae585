//! The repair of a replica that has taken in what can't be true: from a peer, by a fault, or before it was refused.
//! What is to be done is decided by the model; here it is carried out, in one transaction.

use std::collections::BTreeMap;
use std::path::Path;

use super::report::{Mending, MendingKind, Repaired};
use super::{BATCH, NewIdentity};
use crate::bundle::{JobLine, ReplicaLine, limits};
use crate::error::Result;
use crate::model::{
    Anew, Clock, Contents, Cut, CutWhy, Damage, FolderState, Incarnation, Knowledge, Repair, Stamp, Standpoint,
    WallClock,
};
use crate::replica::Replica;
use crate::replica::safety::{DryRun, MassDelete};
use crate::replica::scan::{Depth, Purpose, ScanOptions};
use crate::replica::transaction::Transaction;
use crate::state::{Action, By, EntryRow, Job, Occasion, ReplicaSaying, StatementKind};
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
    /// As for [`Replica::scan`]; then nothing was changed. Of a dry run that would be refused, the report about the scan
    /// says so.
    pub fn repair(&self, options: &RepairOptions, each: &mut dyn FnMut(&Mending)) -> Result<Repaired> {
        self.compare_with_peers()?;
        if options.dry_run == DryRun::No {
            let tx = self.begin()?;
            tx.set_leftovers(true)?;
            tx.commit()?;
        }
        let tx = self.begin()?;
        tx.on_occasion(Occasion { action: Action::Doctor, peer: None, bundle: None });
        // What follows is found by it.
        let derived = tx.mend_derived()?.count();
        let standpoint = self.standpoint()?;
        let repair = Repair::plan(&standpoint);
        let (extent, done) = (Extent::Everything, Repaired { derived, ..Repaired::default() });
        let mut mender = Mender { replica: self, tx: &tx, standpoint, repair, extent, stamp: None, each, done };
        if derived > 0 {
            let what = format!("{} beside the entries did not follow from them", plural(derived, "value"));
            mender.tell(MendingKind::Derived, what);
        }
        mender.mend_knowledge()?;
        mender.forget_ghosts()?;
        mender.forget_folders()?;
        mender.mend_entries()?;
        mender.mend_folders()?;
        mender.mend_jobs()?;
        mender.mend_replica_sayings()?;
        mender.trim_knowledge()?;
        let RepairOptions { dry_run, mass_delete } = *options;
        let scan = ScanOptions { depth: Depth::Contents, dry_run, mass_delete, ..ScanOptions::default() };
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
        } else if self.state.is_rehearsing() {
            tx.commit()?;
        }
        Ok(done)
    }

    /// Goes on as a new incarnation, and leaves behind what others have stamped far ahead of this machine's clock: that isn't
    /// known any more, and what it says becomes a change of this replica's, with clocks of today. Everything else that is
    /// known stays, be it proven or not.
    pub(super) fn leave_clocks_ahead(&self, tx: &Transaction<'_>) -> Result<NewIdentity> {
        let (wall, me) = (self.wall_clock(), self.state.incarnation()?);
        let is_of_others = |(incarnation, clock)| incarnation != me && wall.is_behind(clock);
        if !self.state.knowledge()?.iter().any(is_of_others) {
            return self.new_identity_within(tx);
        }
        let standpoint = self.standpoint()?;
        let repair = Repair::plan_clocks(&standpoint);
        let (each, done) = (&mut |_: &Mending| (), Repaired::default());
        let mut mender =
            Mender { replica: self, tx, standpoint, repair, extent: Extent::Clocks, stamp: None, each, done };
        mender.cut_knowledge()?;
        let mut changed = self.new_identity_within(tx)?;
        mender.judge_anew()?;
        tx.on_occasion(Occasion { action: Action::Doctor, peer: None, bundle: None });
        mender.mend_entries()?;
        mender.mend_folders()?;
        mender.mend_jobs()?;
        mender.mend_replica_sayings()?;
        changed.entries += mender.done.entries + mender.done.revived;
        changed.folders += mender.done.folders;
        Ok(changed)
    }

    /// What this replica says that it knows, and who vouches for it.
    fn standpoint(&self) -> Result<Standpoint> {
        let (state, wall, peers) = (&self.state, self.wall_clock(), self.state.neighbours()?);
        let (me, proven) = (state.incarnation()?, state.proven(&self.public_key().id())?);
        Ok(Standpoint {
            me,
            issued: state.newest_issued_after(Clock::ZERO, 1)?.pop().unwrap_or_default(),
            disowned: peers.iter().any(|peer| peer.disowns),
            wall,
            knowledge: state.knowledge()?,
            horizon: state.horizon()?,
            held: self.needed(wall)?,
            ghosts: self.ghosts(me, &proven)?,
            proven,
            denied: state.denied()?.into_iter().collect(),
            most: Knowledge::MOST_INCARNATIONS,
        })
    }

    /// For each incarnation the newest clock of what is here and of what removals have seen, as far as that is to be
    /// kept.
    fn needed(&self, wall: WallClock) -> Result<Knowledge> {
        let last = Repair::last_needed(wall);
        let mut held = self.state.newest_held(last)?;
        self.state.each_entry(|row| {
            held.extend(row.entry.removal.map(|removal| removal.seen).filter(|seen| seen.clock <= last));
            Ok(())
        })?;
        Ok(held)
    }

    fn is_ghost(&self, row: &EntryRow, me: Incarnation, proven: &Knowledge) -> Result<bool> {
        Ok(Repair::is_ghost(&row.entry, me, proven) && self.find_contents(&row.id.digest, Path::new(""))?.is_none())
    }

    /// When each incarnation has first delivered or moved a ghost.
    fn ghosts(&self, me: Incarnation, proven: &Knowledge) -> Result<BTreeMap<Incarnation, Clock>> {
        let mut ghosts: BTreeMap<Incarnation, Clock> = BTreeMap::new();
        let mut after = None;
        loop {
            let batch = self.state.missing_batch(after, BATCH)?;
            let Some(last) = batch.last() else { return Ok(ghosts) };
            after = Some(last.key);
            for row in batch {
                if !self.is_ghost(&row, me, proven)? {
                    continue;
                }
                for Stamp { clock, incarnation } in [row.entry.born, row.entry.location.0] {
                    let first = ghosts.entry(incarnation).or_insert(clock);
                    *first = clock.min(*first);
                }
            }
        }
    }
}

/// What a repair is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Whatever can't be true.
    Everything,
    /// Stamps that are far ahead.
    Clocks,
}

/// A repair under way.
struct Mender<'r> {
    replica: &'r Replica,
    tx: &'r Transaction<'r>,
    standpoint: Standpoint,
    repair: Repair,
    extent: Extent,
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
        self.cut_knowledge()?;
        self.tx.forget_unknown_incarnations()?;
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
        self.judge_anew()
    }

    /// Records what is known from here on, and what peers were thought to know of that.
    fn cut_knowledge(&mut self) -> Result<()> {
        self.tx.set_knowledge(&self.repair.knowledge)?;
        self.tx.set_horizon(&self.repair.horizon)?;
        let cut: Vec<_> = self.repair.known.iter().map(|cut| (cut.incarnation, cut.to)).collect();
        for peer in self.replica.state.neighbours()? {
            self.tx.cut_shown(&peer, &cut)?;
        }
        Ok(())
    }

    /// What follows is judged by what is known as the present incarnation.
    fn judge_anew(&mut self) -> Result<()> {
        let knowledge = self.replica.state.knowledge()?;
        self.repair = self.repair.clone().with_knowledge(&knowledge);
        Ok(())
    }

    /// What is nothing but a claim goes without a tombstone.
    fn forget_ghosts(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let batch = self.replica.state.missing_batch(after, BATCH)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(last.key);
            for row in batch {
                if self.replica.is_ghost(&row, self.standpoint.me, &self.standpoint.proven)? {
                    self.tx.delete_entry(&row)?;
                    self.done.forgotten += 1;
                    let what = "its contents are not here, and only others have told of it";
                    self.tell(MendingKind::Forgotten, format!("message {}: {what}", row.id.digest));
                }
            }
        }
    }

    /// Where folders take up more than half of the room for them, those go that were removed as others tell only.
    fn forget_folders(&mut self) -> Result<()> {
        if self.replica.state.count_folders() <= limits::FOLDERS / 2 {
            return Ok(());
        }
        let Standpoint { me, ref proven, .. } = self.standpoint;
        let only_told =
            |state: &FolderState| !state.present && state.stamp.incarnation != me && !proven.covers(state.stamp);
        for row in self.replica.state.all_folders() {
            if row.state.as_ref().is_some_and(only_told) {
                self.tx.forget_folder_state(row.key)?;
                self.done.folders_forgotten += 1;
            }
        }
        self.tx.forget_unused_folders()?;
        let count = self.done.folders_forgotten;
        if count > 0 {
            self.tell(
                MendingKind::Forgotten,
                format!("{} of which only others have told", plural(count, "removed folder")),
            );
        }
        Ok(())
    }

    fn mend_entries(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let batch = self.replica.state.entry_batch(after, BATCH)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(last.key);
            for row in batch {
                let in_place = row.at.is_some() && self.extent == Extent::Everything;
                if let Some(damage) = self.repair.damage(&row.entry, in_place) {
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
        // What the new identity has stamped anew is counted there.
        let is_new = |stamp: Stamp| stamp.incarnation == fresh.incarnation;
        let has_new = self.extent == Extent::Clocks && row.entry.stamps().any(is_new);
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
        *count += u64::from(!has_new);
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
                if self.extent == Extent::Clocks || self.replica.concerns(&job.requester, &job.target)? {
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

    fn mend_replica_sayings(&mut self) -> Result<()> {
        for saying in self.replica.state.replica_sayings()? {
            if let Some(untrue) = self.repair.of_replica(saying.line.stamp) {
                let about = saying.statement.about();
                let line = ReplicaLine { stamp: self.fresh()?, ..saying.line };
                self.tx.set_replica_saying(&ReplicaSaying { line, ..saying })?;
                self.done.statements += 1;
                self.tell(MendingKind::Statement, format!("replica {about}: {untrue}"));
            }
        }
        Ok(())
    }

    fn trim_knowledge(&mut self) -> Result<()> {
        let state = &self.replica.state;
        let held = self.replica.needed(self.standpoint.wall)?;
        let now = (&state.knowledge()?, &state.horizon()?);
        let (knowledge, horizon) = Repair::trimmed(&self.standpoint, state.incarnation()?, now, &held);
        self.tx.set_knowledge(&knowledge)?;
        self.tx.set_horizon(&horizon)?;
        self.tx.forget_unknown_incarnations()
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
        CutWhy::Unproven => "was only told by others: no bundle of that incarnation itself has shown it here",
        CutWhy::NotIssued => "is not what this replica has issued",
        CutWhy::ForgottenUnknown => "is more than is known",
    };
    format!("incarnation {}: {} {why}; it is {} from here on", cut.incarnation, cut.from, cut.to)
}
