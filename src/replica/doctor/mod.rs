//! What a person has done to a replica when something is wrong with it: a check whether the state is whole, a new
//! identity where the state was put back to an earlier one in place, and the repair of what can't be true.

mod repair;
mod report;

pub use repair::RepairOptions;
pub use report::{Mending, MendingKind, Repaired};

use super::Replica;
use super::transaction::Transaction;
use crate::bundle::limits;
use crate::error::{Error, Result};
use crate::model::{Clock, FolderState, Incarnation, Restamping};
use crate::state::{Action, EntryRow};
use crate::text::plural;

/// This many entries are looked at in one go.
const BATCH: u32 = 512;

/// The changes that a new identity has made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewIdentity {
    /// Entries that were stamped anew.
    pub entries: u64,
    /// Folders that were stamped anew.
    pub folders: u64,
}

impl Replica {
    /// Checks that the state database is whole.
    ///
    /// # Errors
    /// It is damaged, or can't be read.
    pub fn check_state(&self) -> Result<()> {
        match self.state.integrity()?.first() {
            None => Ok(()),
            Some(first) => {
                let what = format!("checking {}: it is damaged: {}", self.state.path().display(), damage(first));
                Err(Error::failed(what)
                    .advise("put the state directory back from a backup; your mail itself was not touched"))
            }
        }
    }

    /// Checks that what the state keeps beside its entries, for its queries, follows from them. All entries are read.
    ///
    /// # Errors
    /// It doesn't: a repair makes it good.
    pub fn check_entries(&self) -> Result<()> {
        let found = self.state.underived()?.count();
        if found == 0 {
            return Ok(());
        }
        let what = format!(
            "checking {}: {} beside its entries {} not follow from them",
            self.state.path().display(),
            plural(found, "value"),
            if found == 1 { "does" } else { "do" }
        );
        Err(Error::failed(what).advise("run `mailsync doctor --repair`; your mail itself was not touched"))
    }

    /// Draws a new incarnation, and gives new stamps to changes of the present incarnation that may have been stamped
    /// twice. A stamp is sure to have been issued only once if every peer that was heard of has shown to know it; all
    /// later stamps are replaced. So a change that nobody else has seen yet keeps its place. If somebody changed the
    /// same entry meanwhile, the change made here wins, and mail is kept.
    ///
    /// What was stamped while this machine's clock was far ahead is stamped anew, too, with clocks of today. So is what
    /// others have stamped far ahead, if that was accepted here: else every later stamp would be above it.
    ///
    /// # Errors
    /// The clock is used up.
    pub fn new_identity(&self) -> Result<NewIdentity> {
        self.compare_with_peers()?;
        let tx = self.begin()?;
        let changed = self.leave_clocks_ahead(&tx)?;
        let text = format!("new identity: {} stamped anew", plural(changed.entries, "entry"));
        tx.record(self.now(), Action::Doctor, None, &text)?;
        tx.commit()?;
        Ok(changed)
    }

    /// The same, as a part of more.
    fn new_identity_within(&self, tx: &Transaction<'_>) -> Result<NewIdentity> {
        let old = self.state.incarnation()?;
        let new = Incarnation((self.world.random)());
        let mut knowledge = self.state.knowledge()?;
        let peers = self.state.peers()?;
        let shown = peers.iter().filter_map(|peer| peer.standing.shown.as_ref()).map(|shown| shown.get(old));
        let issued = self.state.issued_after(Clock::ZERO)?;
        let wall = self.wall_clock();
        let last = Restamping::last_sure(shown, &issued, wall);
        // What was forgotten is known: else nobody would believe this replica.
        knowledge.set(old, last.max(self.state.horizon()?.get(old)));
        let plan = Restamping::plan(old, new, issued.into_iter(), last, wall.0, &knowledge).ok_or_else(|| {
            Error::failed("making new stamps: the clock that the peers have shown is at its end")
                .advise("run `mailsync doctor --repair`, which takes that clock back")
        })?;
        let mut changed = NewIdentity::default();
        let mut after = None;
        loop {
            let batch = self.state.entry_batch(after, BATCH)?;
            let Some(last) = batch.last() else { break };
            after = Some(last.key);
            for row in batch {
                changed.entries += u64::from(Self::restamp(tx, &row, &plan)?);
            }
        }
        for row in self.state.all_folders() {
            let Some(state) = row.state else { continue };
            let stamp = plan.anew(state.stamp);
            if stamp != state.stamp {
                tx.set_folder_state(row.key, FolderState { stamp, ..state })?;
                changed.folders += 1;
            }
        }
        Self::restamp_jobs(tx, old, |stamp| plan.anew(stamp))?;
        Self::restamp_replicas(tx, old, |stamp| plan.anew(stamp))?;
        self.go_on_as(tx, new, knowledge.get(old))?;
        // So its bundles that lie about are known to be no copy's.
        tx.set_heard_number(&self.public_key().id(), old, self.state.last_number()?, limits::INCARNATIONS as u64)?;
        for clock in plan.issued() {
            knowledge.set(new, clock);
            tx.record_issued(clock)?;
        }
        tx.set_knowledge(&knowledge)?;
        self.forget_what_was_run(tx)?;
        Ok(changed)
    }

    fn restamp(tx: &Transaction<'_>, row: &EntryRow, plan: &Restamping) -> Result<bool> {
        let mut entry = row.entry.clone();
        entry.restamp(|stamp| plan.anew(stamp));
        let changed = entry != row.entry;
        if changed {
            tx.update_entry(row, &entry)?;
        }
        Ok(changed)
    }
}

/// What is wrong with a database, of what `SQLite` says of it: before that comes a line that names the database.
fn damage(said: &str) -> &str {
    said.lines().find(|line| !line.starts_with("***")).unwrap_or(said)
}

#[cfg(test)]
mod tests {
    #[test]
    fn of_several_lines_about_a_damaged_database_one_is_told() {
        for (said, told) in [
            (
                "*** in database main ***\nTree 4 page 4: btreeInitPage() returns error code 11\nPage 5: never used",
                "Tree 4 page 4: btreeInitPage() returns error code 11",
            ),
            ("row 3 missing from index entry_by_digest", "row 3 missing from index entry_by_digest"),
            ("*** in database main ***", "*** in database main ***"),
        ] {
            assert_eq!(super::damage(said), told);
        }
    }
}
