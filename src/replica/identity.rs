//! Recognition of the state: if it was copied or restored, the replica goes on as a new incarnation.

use super::Replica;
use super::import::APART;
use super::transaction::Transaction;
use crate::error::Result;
use crate::model::{Clock, Incarnation};
use crate::state::{Action, Identity};

impl Replica {
    /// Finds out whether the state was copied, moved or restored since the last command. If so, it may have forgotten
    /// stamps that it had issued. A new incarnation makes sure that none of them is issued again.
    pub(super) fn recognise_home(&self) -> Result<()> {
        if self.state.home()?.as_ref() == Some(&self.identity()?) {
            return Ok(());
        }
        let tx = self.begin()?;
        self.recognise_home_within(&tx)?;
        tx.commit()
    }

    /// The same, as a part of more.
    pub(super) fn recognise_home_within(&self, tx: &Transaction<'_>) -> Result<()> {
        let here = self.identity()?;
        let recorded = self.state.home()?;
        // An earlier version of mailsync may not have recorded this value: its absence tells nothing.
        let same = |recorded: &Identity| {
            recorded.inode == here.inode
                && recorded.machine == here.machine
                && recorded.born.zip(here.born).is_none_or(|(recorded, here)| recorded == here)
        };
        if recorded.as_ref() == Some(&here) {
            return Ok(());
        }
        if recorded.is_some_and(|recorded| !same(&recorded)) {
            // What it issued after that state was recorded is forgotten: of its past nothing is proven.
            self.go_on_as(tx, Incarnation((self.world.random)()), Clock::ZERO)?;
            self.forget_what_was_run(tx)?;
            let text = "the state was copied, moved or restored from a backup; it goes on as a new incarnation";
            tx.record(self.now(), Action::Open, None, text)?;
            self.note(format!("{text}; {APART}"));
        }
        tx.set_home(&here)
    }

    /// Goes on as a new incarnation. The one that is left stays known as this replica's own, and what it issued up to
    /// `sure` counts as shown by itself; [`Clock::ZERO`] if that isn't known.
    pub(super) fn go_on_as(&self, tx: &Transaction<'_>, new: Incarnation, sure: Clock) -> Result<()> {
        tx.set_proven(&self.public_key().id(), self.state.incarnation()?, sure)?;
        tx.set_incarnation(new)
    }

    pub(super) fn identity(&self) -> Result<Identity> {
        let (inode, born) = self.home.database_identity()?;
        Ok(Identity { inode, born, machine: self.world.machine.clone()? })
    }

    /// Records that the replica's past is uncertain: a job from that time may have been run. A replica that runs jobs
    /// issues the first stamp of its new incarnation at once. So others learn about it, and their later requests can
    /// show that they are later.
    pub(super) fn forget_what_was_run(&self, tx: &Transaction<'_>) -> Result<()> {
        tx.set_was_restored()?;
        if self.config.allow.is_empty() { Ok(()) } else { tx.issue(self.now()).map(drop) }
    }
}
